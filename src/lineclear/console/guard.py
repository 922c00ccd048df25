"""What every answer of the console carries and every form must: headers, cookie, same-origin proof.

In: requests and answers. Out: the same, guarded, or a refusal. Must not know a page.
"""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from lineclear.console.page import FORM_BYTES_MAX
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.sessions.sessions import IDLE_LIFE_S, Session

FORM_FIELDS_MAX = 64
BINDING_LIFE_S = 600
FORM_TOKEN = "form_token"  # noqa: S105 - a field's name
CONTENT_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: browsers would send `Origin: null` with our own forms then.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


def guarded(response: Response, *, is_cacheable: bool = False) -> Response:
    """The answer with every header that keeps others out of the page."""
    for name, value in HEADERS.items():
        response.headers[name] = value
    if not is_cacheable:
        response.headers["cache-control"] = "no-store"
    return response


class Cookie:
    """The session's cookie: whose it is depends on the server, since ports of one host share cookies."""

    def __init__(self, server_name: str, root_path: str) -> None:
        self._own_name = "lineclear_" + hashlib.sha256(server_name.encode()).hexdigest()[:8]
        self._path = root_path or "/"

    def read(self, request: Request) -> str:
        """The token that came, empty if none."""
        return request.cookies.get(self._name(request), "")

    def write(self, request: Request, response: Response, session: Session) -> None:
        """Sign this browser in."""
        response.set_cookie(
            self._name(request),
            session.token.reveal(),
            max_age=IDLE_LIFE_S,
            path=self._path,
            secure=is_encrypted(request),
            httponly=True,
            samesite="strict",
        )

    def write_binding(self, request: Request, response: Response, value: str) -> None:
        """Mark this browser for its way to an identity provider and back: `lax`, since it comes back from outside."""
        response.set_cookie(
            self._name(request),
            value,
            max_age=BINDING_LIFE_S,
            path=self._path,
            secure=is_encrypted(request),
            httponly=True,
            samesite="lax",
        )

    def remove(self, request: Request, response: Response) -> None:
        """Sign this browser out."""
        response.delete_cookie(
            self._name(request), path=self._path, secure=is_encrypted(request), httponly=True, samesite="strict"
        )

    def _name(self, request: Request) -> str:
        """Over TLS a name that no other host, path or unencrypted page can set: RFC 6265bis §4.1.3."""
        if not is_encrypted(request):
            return self._own_name
        return ("__Host-" if self._path == "/" else "__Secure-") + self._own_name


def is_encrypted(request: Request) -> bool:
    """Whether the browser speaks TLS, to us or to the proxy in front.

    A lie in `x-forwarded-proto` can only keep its own sender's cookie from being sent in the clear.
    """
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "") == "https"


def demand_same_origin(request: Request) -> None:
    """Refuse a form that a page of somebody else sent.

    Raises:
        Refused: `forbidden`.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    elif origin is not None:
        is_ours = urlsplit(origin).netloc == request.headers.get("host", "")
    else:
        # Every browser sends one of them with a POST; what sends neither has no page that could trick it.
        is_ours = True
    if not is_ours:
        raise Refused(AdminCode.FORBIDDEN, "this form came from another site", hint="open the page here and try again")


async def read_form(request: Request, bytes_max: int = FORM_BYTES_MAX) -> dict[str, str]:
    """The fields of a form.

    Raises:
        Refused: if it is none, is too long, or repeats a field.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise Refused(AdminCode.INVALID_REQUEST, "this is not a form")
    received = bytearray()
    async for part in request.stream():
        received += part
        if len(received) > bytes_max:
            raise Refused(AdminCode.BODY_TOO_LARGE, f"the form is longer than {bytes_max} bytes")
    # Not on the loop: megabytes take a third of a second, and every other request would wait.
    return await run_in_threadpool(_fields, received)


def _fields(received: bytearray) -> dict[str, str]:
    try:
        fields = parse_qs(
            received.decode("ascii"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX, errors="strict"
        )
    except (UnicodeDecodeError, ValueError) as error:
        raise Refused(AdminCode.INVALID_REQUEST, "the form cannot be read") from error
    if any(len(values) > 1 for values in fields.values()):
        raise Refused(AdminCode.INVALID_REQUEST, "a field of the form stands twice")
    return {name: values[0] for name, values in fields.items()}


def has_form_token(session: Session, form: Mapping[str, str]) -> bool:
    """Whether a page of this session made the form."""
    return hmac.compare_digest(form.get(FORM_TOKEN, "").encode(), session.form_token.encode())


def demand_form_token(session: Session, form: Mapping[str, str]) -> None:
    """Refuse a form that no page of this session made.

    Raises:
        Refused: `forbidden`.
    """
    if not has_form_token(session, form):
        raise Refused(
            AdminCode.FORBIDDEN,
            "the form is older than your sign-in, or did not come from this console",
            hint="reload the page and try again",
        )
