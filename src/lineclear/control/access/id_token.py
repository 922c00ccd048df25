"""What an identity provider says about somebody: an ID token, believed only if every part of it is as expected.

In: a token's text, the provider's keys, what is expected. Out: claims, or IdTokenRefused with the reason. The algorithm
is the one that was configured, never the one that the token names. Pure: no network, no clock.
"""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from joserfc import jwk

TEXT_CHARS_MAX: Final = 16_384
SKEW_S: Final = 60
"""How far clocks may differ. Source: security checklist 35."""
AGE_S_MAX: Final = 600
"""An ID token is used once, right after it was made."""
SUBJECT_CHARS_MAX: Final = 255
"""Source: OpenID Connect Core 1.0 §2."""
KEYS_MAX: Final = 50
RSA_BITS_MIN: Final = 2048
HEADER_NAMES: Final = frozenset({"alg", "kid", "typ"})
"""Anything else in a header, such as `jwk`, `jku`, `x5u` or `crit`, would let the token say how to be believed."""
KEY_TYPES: Final[Mapping[str, str]] = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC"}
"""Algorithms that may be configured, with the kind of key that each takes."""

# Any, in this file: JSON values of tokens and keys, which are looked at one by one.


class IdTokenRefused(Exception):
    """The token is not believed; the message says which part, and holds nothing of it."""


@dataclass(frozen=True)
class Expected:
    """What the token has to say."""

    issuer: str
    client_id: str
    nonce: str
    algorithm: str


def verify_id_token(text: str, keys: Sequence[Mapping[str, Any]], expected: Expected, now_s: int) -> Mapping[str, Any]:
    """The claims of an ID token.

    Raises:
        IdTokenRefused: if it is not believed.
    """
    from joserfc import jws  # noqa: PLC0415 - a thirtieth of control's start, for whoever signs in with a provider only
    from joserfc.errors import JoseError  # noqa: PLC0415 - as above

    header = _header(text)
    if header.get("alg") != expected.algorithm:
        raise IdTokenRefused(f"it is not signed with {expected.algorithm}")
    key = _key(header, keys, expected.algorithm)
    try:
        signed = jws.deserialize_compact(text, key, algorithms=[expected.algorithm])
    except (JoseError, ValueError, TypeError) as error:
        raise IdTokenRefused("its signature does not fit") from error
    claims = _json_object(signed.payload)
    _check_times(claims, now_s)
    _check_parties(claims, expected)
    return claims


def _header(text: str) -> Mapping[str, Any]:
    parts = text.split(".") if len(text) <= TEXT_CHARS_MAX and text.isascii() else []
    if len(parts) != 3 or not all(parts):
        raise IdTokenRefused("it is no signed token in three parts")
    header = _json_object(_decoded(parts[0]))
    if header.keys() - HEADER_NAMES:
        raise IdTokenRefused("its header has a part that says how it should be believed")
    if header.get("typ", "JWT") not in ("JWT", "jwt"):
        raise IdTokenRefused("it is a token of another type")
    if not all(isinstance(value, str) for value in header.values()):
        raise IdTokenRefused("its header has a value that is no text")
    return header


def _key(header: Mapping[str, Any], keys: Sequence[Mapping[str, Any]], algorithm: str) -> "jwk.Key":
    """The provider's one key that the token names, or its only one."""
    from joserfc import jwk  # noqa: PLC0415 - as in `verify_id_token`
    from joserfc.errors import JoseError  # noqa: PLC0415 - as above

    fitting = [key for key in keys[:KEYS_MAX] if _fits(key, algorithm)]
    named = [key for key in fitting if key.get("kid") == header["kid"]] if "kid" in header else fitting
    if len(named) != 1:
        raise IdTokenRefused("it names no key of the provider" if not named else "it does not say which key it is of")
    public = {name: value for name, value in named[0].items() if name not in ("d", "p", "q", "dp", "dq", "qi")}
    try:
        key = jwk.import_key(public)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise IdTokenRefused("the provider's key cannot be read") from error
    if isinstance(key, jwk.RSAKey) and key.public_key.key_size < RSA_BITS_MIN:
        raise IdTokenRefused(f"the provider's key has fewer than {RSA_BITS_MIN} bits")
    return key


def _fits(key: Mapping[str, Any], algorithm: str) -> bool:
    return (
        key.get("kty") == KEY_TYPES[algorithm]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
    )


def _check_times(claims: Mapping[str, Any], now_s: int) -> None:
    times = {name: claims.get(name) for name in ("exp", "iat", "nbf")}
    if any(value is not None and (isinstance(value, bool) or not isinstance(value, int)) for value in times.values()):
        raise IdTokenRefused("a time in it is no number")
    exp, iat, nbf = times["exp"], times["iat"], times["nbf"]
    if exp is None or iat is None:
        raise IdTokenRefused("it does not say when it was made or when it ends")
    if exp <= now_s - SKEW_S:
        raise IdTokenRefused("it has expired")
    if iat > now_s + SKEW_S or (nbf is not None and nbf > now_s + SKEW_S):
        raise IdTokenRefused("it is of the future")
    if iat < now_s - AGE_S_MAX - SKEW_S:
        raise IdTokenRefused("it was made too long ago")


def _check_parties(claims: Mapping[str, Any], expected: Expected) -> None:
    if claims.get("iss") != expected.issuer:
        raise IdTokenRefused("it is of another issuer")
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or expected.client_id not in audiences:
        raise IdTokenRefused("it is for somebody else")
    if not all(isinstance(one, str) for one in audiences):
        raise IdTokenRefused("its audience is no text")
    if "azp" in claims and claims["azp"] != expected.client_id:
        raise IdTokenRefused("it was given to another client")
    if len(audiences) > 1 and "azp" not in claims:
        raise IdTokenRefused("it is for several and does not say to whom it was given")
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise IdTokenRefused("it does not belong to this sign-in")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= SUBJECT_CHARS_MAX or not subject.isprintable():
        raise IdTokenRefused("it does not say who signed in")


def _decoded(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise IdTokenRefused("a part of it is not written as it should be") from error


def _json_object(text: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(text.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise IdTokenRefused("a part of it is no JSON, or says something twice") from error
    if not isinstance(value, dict):
        raise IdTokenRefused("a part of it is no object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found
