"""The admin API over the standard library's HTTP client: JSON in, JSON out, problems as `AdminError`.

In: a server's address and token. Out: decoded answers. Must not print, retry or read files.
"""

import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from lineclear.base.certificate import pinned_context
from lineclear.base.secret import Secret

TIMEOUT_S = 30.0
ADMIN_EXAMPLE = "http://127.0.0.1:4101"
INVALID_ANSWER = "invalid_answer"
"""Code of a refusal that is none of the admin API's."""
ANSWER_BYTES_MAX = 256 * 1024 * 1024
"""An answer above this is refused rather than read into memory."""


@dataclass(frozen=True)
class Server:
    """Where the admin port is and how to be let in."""

    url: str
    """`http://host:port` or `https://host:port`, perhaps with a path prefix."""
    token: Secret
    ca_file: Path | None = None
    """PEM file of the authorities to trust instead of the system's."""
    certificate: str | None = None
    """The one certificate to accept, PEM, whatever name it bears; None = whoever an authority vouches for."""


_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"})
"""OpenSSL's reasons where what came back is no TLS at all."""
NO_TLS = "it does not speak TLS there; give the address with http://"


class AdminError(Exception):
    """The server said no."""

    def __init__(
        self, status: int, code: str, message: str, hint: str, findings: tuple[Mapping[str, Any], ...]
    ) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status."""
        self.code = code
        """Stable code of docs/errors.md."""
        self.message = message
        self.hint = hint
        self.findings = findings
        """What is wrong where, for manifests: objects with file, line, column, path, code, message."""


class CallInvalid(Exception):
    """What was given cannot be part of a request."""


class AdminUnreachable(Exception):
    """No answer came: the server is away, or the connection broke."""


class AdminClient:
    """One server; a connection per call, since a command makes one or two."""

    def __init__(
        self,
        server: Server,
        timeout_s: float = TIMEOUT_S,
        around: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        """A client of one server; `around` is given words for each call and entered while it lasts."""
        self._server = server
        self._timeout_s = timeout_s
        self._around = around

    @property
    def url(self) -> str:
        """The server's address as it was given or found."""
        return self._server.url

    def get(self, path: str, query: Mapping[str, str | int | None] | None = None) -> Any:
        """The decoded JSON of `GET path`; parameters that are None are not sent.

        Raises:
            AdminError: if the server refused. AdminUnreachable: if there was no answer.
        """
        return self._call("GET", path, query, None)

    def post(self, path: str, body: object) -> Any:
        """The decoded JSON of `POST path` with `body` as JSON, None for no body. Raises as `get`."""
        try:
            sent = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise CallInvalid("something of what was given is no text in UTF-8") from error
        return self._call("POST", path, None, sent)

    def delete(self, path: str, query: Mapping[str, str | int | None] | None = None) -> Any:
        """The decoded JSON of `DELETE path`; parameters as in `get`. Raises as `get`."""
        return self._call("DELETE", path, query, None)

    def _call(self, method: str, path: str, query: Mapping[str, str | int | None] | None, body: bytes | None) -> Any:
        given = {name: str(value) for name, value in (query or {}).items() if value is not None}
        try:
            target = path + ("?" + urlencode(given) if given else "")
        except UnicodeEncodeError as error:
            raise CallInvalid(f"{error.object!r} is no text in UTF-8") from error
        headers = {"authorization": f"Bearer {self._server.token.reveal()}", "accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/json"
        with self._around(f"waiting for {self._server.url}"):
            status, media_type, answer = self._exchange(method, target, body, headers)
        value = _decode(answer)
        # The admin API has no pages; the console beside it, and proxies, have.
        if 200 <= status < 300 and media_type != "text/html":
            return value
        problem = value if isinstance(value, dict) else {}
        if not isinstance(problem.get("code"), str):
            raise _not_an_admin_port(self._server.url, f"{method} {path}", status)
        raise AdminError(
            status,
            problem["code"],
            str(problem.get("message") or f"{method} {path} answered {status}"),
            str(problem.get("hint", "")),
            tuple(problem.get("findings", ())),
        )

    def _tls(self) -> ssl.SSLContext:
        server = self._server
        if server.certificate is not None and server.ca_file is None:
            return pinned_context(server.certificate)
        try:
            return ssl.create_default_context(cafile=None if server.ca_file is None else str(server.ca_file))
        except OSError as error:  # ssl.SSLError is one
            raise AdminUnreachable(f"the authorities in {server.ca_file} cannot be read: {error}") from error

    def _exchange(
        self, method: str, target: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, str, bytes]:
        """Status, media type and body of the answer."""
        url = urlsplit(self._server.url)
        host = url.hostname or ""
        if url.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, url.port, timeout=self._timeout_s, context=self._tls()
            )
        else:
            connection = http.client.HTTPConnection(host, url.port, timeout=self._timeout_s)
        try:
            connection.request(method, url.path.rstrip("/") + target, body, headers)
            response = connection.getresponse()
            answer = response.read(ANSWER_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            why = NO_TLS if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS else error
            raise AdminUnreachable(f"no answer from {self._server.url}: {why}") from error
        finally:
            connection.close()
        if len(answer) > ANSWER_BYTES_MAX:
            raise AdminUnreachable(f"{self._server.url} answered more than {ANSWER_BYTES_MAX} bytes")
        return response.status, response.headers.get_content_type(), answer


def _not_an_admin_port(url: str, asked: str, status: int) -> AdminError:
    return AdminError(
        status,
        INVALID_ANSWER,
        f"{url} is no admin port: {asked} answered {status}, and not as the admin API does",
        "--url and LINECLEAR_URL take the address of the admin port, without a path behind it unless a proxy has one;"
        f" the data port is another one. `lineclear up` prints both; by itself it is {ADMIN_EXAMPLE}",
        (),
    )


def path_of(*parts: str) -> str:
    """An API path with each part percent-encoded: `path_of("keys", id)` = `/api/v1/keys/<id>`.

    Raises:
        CallInvalid: a part would lead to another path, or cannot be sent.
    """
    for part in parts:
        if part in ("", ".", "..") or "/" in part or not part.isprintable():
            raise CallInvalid(
                f"{part!r} is neither a name nor an id; the lists show both, `lineclear logs` ids of requests"
            )
    return "/api/v1/" + "/".join(quote(part, safe="") for part in parts)


def _decode(answer: bytes) -> Any:
    if not answer:
        return None
    try:
        return json.loads(answer)
    except ValueError:
        # Not JSON: a proxy's page or a text endpoint. The caller sees it as text.
        return answer.decode("utf-8", "replace")
