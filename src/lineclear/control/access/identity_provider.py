"""Signing in through an identity provider: authorization code with PKCE, state and nonce (OpenID Connect Core 1.0).

In: settings, the provider's answers. Out: the address to go to, then a principal. A person is who the provider's issuer
and subject say, never a name; groups become grants by `group:NAME`. Must not keep or log a token of the provider.
"""

import base64
import hashlib
import hmac
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.base.secret import Secret
from lineclear.control import audit
from lineclear.control.access.fetch import FetchFailed, fetch_json
from lineclear.control.access.id_token import KEY_TYPES, KEYS_MAX, Expected, IdTokenRefused, verify_id_token
from lineclear.control.access.members import add_member
from lineclear.control.access.principals import ACTIVE, read_principal
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.access import Principal, PrincipalKind
from lineclear.store import access_rows as rows
from lineclear.store.access_rows import PrincipalRow
from lineclear.store.database import Database

PENDING_LIFE_S = 600.0
PENDING_MAX = 1_000
"""Sign-ins under way; beyond it the oldest is forgotten."""
FACTS_LIFE_S = 3_600.0
KEYS_WAIT_S = 60.0
"""Keys are fetched again for a key that is not known at most so often."""
GROUPS_MAX = 500
GROUP_CHARS_MAX = 200
SYSTEM = "identity-provider"
"""Who adds people at their first sign-in."""
_UNFIT = re.compile(r"[^a-z0-9._@+-]+")


@dataclass(frozen=True)
class IdentityProviderSettings:
    """What the operator says of the provider."""

    issuer: str
    client_id: str
    client_secret: Secret | None
    """None = a public client, held by PKCE alone."""
    algorithm: str = "RS256"
    groups_claim: str = "groups"
    scopes: str = "openid profile email"
    private_network: bool = False

    def __post_init__(self) -> None:
        if self.algorithm not in KEY_TYPES:
            raise ValueError(f"LINECLEAR_OIDC_ALGORITHM is one of {', '.join(KEY_TYPES)}, not {self.algorithm!r}")


@dataclass(frozen=True)
class Departure:
    """The way to the provider, and what the browser has to bring back."""

    url: str
    binding: str
    """For a cookie: the answer is taken only from the browser that asked."""


@dataclass(frozen=True)
class _Pending:
    nonce: str
    verifier: str
    binding_hash: str
    onward: str
    since_ns: int


class IdentityProvider:
    """One provider that people sign in through."""

    def __init__(self, settings: IdentityProviderSettings, redirect_uri: str, database: Database, clock: Clock) -> None:
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._database = database
        self._clock = clock
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        self._facts: tuple[int, Mapping[str, Any]] | None = None
        self._keys: tuple[int, Sequence[Mapping[str, Any]]] | None = None
        self._lock = threading.Lock()

    def depart(self, onward: str) -> Departure:
        """Begin a sign-in that leads on to `onward`.

        Raises:
            Refused: `unavailable` if the provider does not answer.
        """
        endpoint = self._endpoint("authorization_endpoint")
        state, nonce, verifier, binding = (secrets.token_urlsafe(32) for _ in range(4))
        pending = _Pending(nonce, verifier, _hash(binding), onward, self._clock.monotonic_ns())
        with self._lock:
            self._pending[state] = pending
            while len(self._pending) > PENDING_MAX:
                self._pending.popitem(last=False)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": self._settings.scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return Departure(f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}", binding)

    def arrive(self, query: Mapping[str, str], binding: str) -> tuple[Principal, str]:
        """Who came back from the provider, and where they wanted to go.

        Raises:
            Refused: `unauthenticated` if anything is not as it was asked; `forbidden` for who has no access here;
                `unavailable` if the provider does not answer.
        """
        with self._lock:
            pending = self._pending.pop(query.get("state", ""), None)
        age_s = 0.0 if pending is None else (self._clock.monotonic_ns() - pending.since_ns) / 1e9
        if pending is None or age_s > PENDING_LIFE_S or not hmac.compare_digest(pending.binding_hash, _hash(binding)):
            raise _failed("this sign-in was not begun in this browser, or too long ago")
        if "error" in query or not query.get("code"):
            raise _failed("the identity provider refused")
        # RFC 9207: a provider that says who it is has to be the one that was asked.
        if query.get("iss", self._settings.issuer) != self._settings.issuer:
            raise _failed("the answer came from another identity provider")
        text = self._exchange(query["code"], pending.verifier)
        expected = Expected(self._settings.issuer, self._settings.client_id, pending.nonce, self._settings.algorithm)
        return self._member(self._claims(text, expected)), pending.onward

    def _exchange(self, code: str, verifier: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "client_id": self._settings.client_id,
            "code_verifier": verifier,
        }
        secret = self._settings.client_secret
        answer = self._fetch(
            self._endpoint("token_endpoint"),
            form=form,
            client=None if secret is None else (self._settings.client_id, secret),
        )
        text = answer.get("id_token")
        if not isinstance(text, str):
            raise _failed("the identity provider sent no ID token")
        return text

    def _claims(self, text: str, expected: Expected) -> Mapping[str, Any]:
        now_s = self._clock.unix_us() // 1_000_000
        keys = self._current_keys()
        try:
            return verify_id_token(text, keys, expected, now_s)
        except IdTokenRefused as error:
            # Perhaps the provider has a new key; asked for at most once in KEYS_WAIT_S.
            newer = self._current_keys(older_than_s=KEYS_WAIT_S)
            if newer is keys:
                raise _failed(f"the ID token was refused: {error}") from error
        try:
            return verify_id_token(text, newer, expected, now_s)
        except IdTokenRefused as error:
            raise _failed(f"the ID token was refused: {error}") from error

    def _member(self, claims: Mapping[str, Any]) -> Principal:
        now_us, groups = self._clock.unix_us(), _groups(claims.get(self._settings.groups_claim))
        issuer, subject = self._settings.issuer, str(claims["sub"])
        with self._database.write() as tx:
            row = rows.find_subject(tx, issuer, subject)
            if row is None:
                row = PrincipalRow(
                    name=_name(claims),
                    kind=PrincipalKind.PERSON.value,
                    team="",
                    display=str(claims.get("name", ""))[:200],
                    state=ACTIVE,
                    issuer=issuer,
                    subject=subject,
                    created_us=now_us,
                    created_by=SYSTEM,
                )
                add_member(tx, row)
                self._record(tx, AuditAction.MEMBER_ADDED, row.name, after="person")
            before = rows.groups_of(tx, row.name)
            if sorted(before) != groups:
                rows.put_groups(tx, row.name, groups, now_us)
                after = ", ".join(groups)
                self._record(tx, AuditAction.MEMBER_GROUPS_CHANGED, row.name, before=", ".join(before), after=after)
            principal = read_principal(tx, row.name, now_us)
        if principal is None:
            raise Refused(AdminCode.FORBIDDEN, f"{row.name!r} is disabled here")
        if not principal.grants:
            raise Refused(
                AdminCode.FORBIDDEN,
                f"{row.name!r} has no role here, nor has any of their groups",
                hint=f"an administrator gives one: `lineclear access grant {row.name} ROLE`",
            )
        return principal

    def _endpoint(self, name: str) -> str:
        found = self._discovered().get(name)
        if not isinstance(found, str):
            raise _failed(f"the identity provider names no {name}")
        return found

    def _discovered(self) -> Mapping[str, Any]:
        now_ns = self._clock.monotonic_ns()
        known = self._facts
        if known is not None and (now_ns - known[0]) / 1e9 < FACTS_LIFE_S:
            return known[1]
        facts = self._fetch(self._settings.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if facts.get("issuer") != self._settings.issuer:
            raise _failed("the identity provider calls itself by another issuer than LINECLEAR_OIDC_ISSUER")
        self._facts = (now_ns, facts)
        return facts

    def _current_keys(self, older_than_s: float = FACTS_LIFE_S) -> Sequence[Mapping[str, Any]]:
        now_ns = self._clock.monotonic_ns()
        known = self._keys
        if known is not None and (now_ns - known[0]) / 1e9 < older_than_s:
            return known[1]
        found = self._fetch(self._endpoint("jwks_uri")).get("keys")
        if not isinstance(found, list) or not all(isinstance(key, dict) for key in found) or len(found) > KEYS_MAX:
            raise _failed("the identity provider's keys cannot be read")
        self._keys = (now_ns, tuple(found))
        return self._keys[1]

    def _fetch(
        self, url: str, form: Mapping[str, str] | None = None, client: tuple[str, Secret] | None = None
    ) -> dict[str, Any]:
        try:
            return fetch_json(
                url, self._clock, private_network=self._settings.private_network, form=form, client=client
            )
        except FetchFailed as error:
            raise Refused(AdminCode.UNAVAILABLE, f"the identity provider: {error}") from error

    def _record(self, tx: Connection, action: AuditAction, name: str, *, before: str = "", after: str = "") -> None:
        event = AuditEvent(action, f"member/{name}", before=before, after=after)
        audit.record(tx, self._clock, SYSTEM, [event])


def _failed(words: str) -> Refused:
    return Refused(AdminCode.UNAUTHENTICATED, words, hint="begin again at the sign-in page")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _groups(claim: object) -> list[str]:
    """Names of groups, in order; what is no list of texts is none, and so are names that cannot be granted to."""
    found = claim if isinstance(claim, list) else [claim] if isinstance(claim, str) else []
    names = {one for one in found if isinstance(one, str) and one.strip() and one.isprintable()}
    return sorted(name for name in names if len(name) <= GROUP_CHARS_MAX)[:GROUPS_MAX]


def _name(claims: Mapping[str, Any]) -> str:
    """What to call somebody new. It says nothing about who they are: that is issuer and subject."""
    for claim in ("preferred_username", "email", "sub"):
        value = claims.get(claim)
        if isinstance(value, str) and (name := _UNFIT.sub("-", value.lower()).strip("-._@+")[:100]):
            return name
    raise _failed("the ID token names nobody")
