"""ID tokens: the one that is as expected is believed, and none of the forged ones."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwk, jws

from lineclear.control.access.id_token import Expected, IdTokenRefused, verify_id_token

NOW_S = 1_800_000_000
EXPECTED = Expected("https://id.example", "lineclear", "nonce-of-this-sign-in", "RS256")
KEY = jwk.RSAKey.generate_key(2048, {"kid": "one"})
OTHER = jwk.RSAKey.generate_key(2048, {"kid": "one"})
CURVE = jwk.ECKey.generate_key("P-256", {"kid": "two"})
JWKS: list[dict[str, Any]] = [
    {**KEY.as_dict(private=False), "use": "sig", "alg": "RS256"},
    dict(CURVE.as_dict(private=False)),
]
CLAIMS: dict[str, Any] = {
    "iss": EXPECTED.issuer,
    "aud": "lineclear",
    "sub": "248289761001",
    "nonce": EXPECTED.nonce,
    "iat": NOW_S - 5,
    "exp": NOW_S + 300,
}


def b64(value: bytes | str | dict[str, Any]) -> str:
    raw = json.dumps(value).encode() if isinstance(value, dict) else value.encode() if isinstance(value, str) else value
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(claims: dict[str, Any] | bytes, header: dict[str, Any] | None = None, key: Any = KEY) -> str:
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    protected = {"alg": "RS256", "kid": "one", **(header or {})}
    registry = jws.JWSRegistry(
        algorithms=["RS256", "PS256", "ES256", "HS256", "RS384", "RS512"], strict_check_header=False
    )
    return jws.serialize_compact(protected, payload, key, registry=registry)


def with_(**claims: Any) -> str:
    return signed({**CLAIMS, **claims})


def without(name: str) -> str:
    return signed({key: value for key, value in CLAIMS.items() if key != name})


def unsigned(alg: str, signature: str = "") -> str:
    return f"{b64({'alg': alg, 'kid': 'one'})}.{b64(CLAIMS)}.{signature}"


def hmac_with_public_key() -> str:
    """The classic: the public key's text taken for a shared secret."""
    secret = jwk.OctKey.import_key(json.dumps(JWKS[0]))
    return signed(CLAIMS, {"alg": "HS256"}, secret)


def swapped(part: int, value: str) -> str:
    parts = signed(CLAIMS).split(".")
    parts[part] = value
    return ".".join(parts)


def flipped(part: int) -> str:
    parts = signed(CLAIMS).split(".")
    middle = len(parts[part]) // 2
    parts[part] = parts[part][:middle] + ("A" if parts[part][middle] != "A" else "B") + parts[part][middle + 1 :]
    return ".".join(parts)


TWICE = json.dumps(CLAIMS)[:-1] + ', "aud": "lineclear"}'

FORGED: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "no token": lambda: "hello",
    "two parts": lambda: ".".join(signed(CLAIMS).split(".")[:2]),
    "four parts": lambda: signed(CLAIMS) + ".x",
    "five parts, encrypted": lambda: "a.b.c.d.e",
    "too long": lambda: signed({**CLAIMS, "x": "x" * 20_000}),
    "alg none, no signature": lambda: unsigned("none"),
    "alg none, old signature": lambda: unsigned("none", signed(CLAIMS).split(".")[2]),
    "alg None": lambda: unsigned("None", "x"),
    "alg nOnE": lambda: unsigned("nOnE", "x"),
    "no alg": lambda: f"{b64({'kid': 'one'})}.{b64(CLAIMS)}.x",
    "alg a list": lambda: f"{b64({'alg': ['RS256'], 'kid': 'one'})}.{b64(CLAIMS)}.x",
    "HS256 with the public key": hmac_with_public_key,
    "another algorithm of the same key": lambda: signed(CLAIMS, {"alg": "PS256"}),
    "RS384": lambda: signed(CLAIMS, {"alg": "RS384"}),
    "RS512": lambda: signed(CLAIMS, {"alg": "RS512"}),
    "ES256 with the provider's own curve key": lambda: signed(CLAIMS, {"alg": "ES256", "kid": "two"}, CURVE),
    "RS256 naming a curve key": lambda: signed(CLAIMS, {"kid": "two"}),
    "somebody's key under the provider's kid": lambda: signed(CLAIMS, key=OTHER),
    "unknown kid": lambda: signed(CLAIMS, {"kid": "other"}),
    "kid a path": lambda: signed(CLAIMS, {"kid": "../../etc/passwd"}),
    "embedded jwk": lambda: signed(CLAIMS, {"jwk": dict(OTHER.as_dict(private=False))}, OTHER),
    "jku": lambda: signed(CLAIMS, {"jku": "https://evil.example/keys"}, OTHER),
    "x5u": lambda: signed(CLAIMS, {"x5u": "https://evil.example/cert"}, OTHER),
    "x5c": lambda: signed(CLAIMS, {"x5c": ["MIIB"]}, OTHER),
    "crit": lambda: f"{b64({'alg': 'RS256', 'kid': 'one', 'crit': ['exp'], 'exp': 1})}.{b64(CLAIMS)}.x",
    "b64 false": lambda: f"{b64({'alg': 'RS256', 'kid': 'one', 'b64': False})}.{b64(CLAIMS)}.x",
    "an access token": lambda: signed(CLAIMS, {"typ": "at+jwt"}),
    "header twice": lambda: swapped(0, b64('{"alg":"none","alg":"RS256","kid":"one"}')),
    "header a list": lambda: swapped(0, b64("[]")),
    "header no JSON": lambda: swapped(0, b64("{")),
    "payload altered": lambda: swapped(1, b64({**CLAIMS, "sub": "admin"})),
    "payload flipped": lambda: flipped(1),
    "signature flipped": lambda: flipped(2),
    "signature missing": lambda: swapped(2, ""),
    "signature of another token": lambda: swapped(2, with_(sub="x").split(".")[2]),
    "payload no object": lambda: signed(b'["x"]'),
    "payload no JSON": lambda: signed(b"\xff\xfe"),
    "a claim twice": lambda: signed(TWICE.encode()),
    "another issuer": lambda: with_(iss="https://evil.example"),
    "issuer with a slash more": lambda: with_(iss=EXPECTED.issuer + "/"),
    "issuer in capitals": lambda: with_(iss="https://ID.example"),
    "issuer a list": lambda: with_(iss=[EXPECTED.issuer]),
    "no issuer": lambda: without("iss"),
    "another audience": lambda: with_(aud="shop"),
    "audience a prefix": lambda: with_(aud="lineclear-admin"),
    "no audience": lambda: without("aud"),
    "audience an object": lambda: with_(aud={"lineclear": True}),
    "several audiences, no azp": lambda: with_(aud=["lineclear", "shop"]),
    "several audiences, another azp": lambda: with_(aud=["lineclear", "shop"], azp="shop"),
    "another azp": lambda: with_(azp="shop"),
    "empty azp": lambda: with_(azp=""),
    "another nonce": lambda: with_(nonce="nonce-of-another-sign-in"),
    "nonce a list": lambda: with_(nonce=[EXPECTED.nonce]),
    "no nonce": lambda: without("nonce"),
    "expired": lambda: with_(exp=NOW_S - 61),
    "no expiry": lambda: without("exp"),
    "expiry a text": lambda: with_(exp=str(NOW_S + 300)),
    "expiry true": lambda: with_(exp=True),
    "expiry endless": lambda: signed(json.dumps({**CLAIMS, "exp": 0}).replace('"exp": 0', '"exp": 1e999').encode()),
    "made in the future": lambda: with_(iat=NOW_S + 61),
    "not yet valid": lambda: with_(nbf=NOW_S + 61),
    "made an hour ago": lambda: with_(iat=NOW_S - 3_600),
    "no time of making": lambda: without("iat"),
    "no subject": lambda: without("sub"),
    "empty subject": lambda: with_(sub=""),
    "subject a number": lambda: with_(sub=1),
    "subject too long": lambda: with_(sub="x" * 256),
    "subject with a line break": lambda: with_(sub="a\nb"),
}


def test_a_token_as_expected_is_believed() -> None:
    assert verify_id_token(signed(CLAIMS), JWKS, EXPECTED, NOW_S)["sub"] == CLAIMS["sub"]
    several = with_(aud=["lineclear", "shop"], azp="lineclear")
    assert verify_id_token(several, JWKS, EXPECTED, NOW_S)["aud"] == ["lineclear", "shop"]
    for claims in ({"exp": NOW_S - 59}, {"iat": NOW_S + 59}, {"nbf": NOW_S + 59}):
        assert verify_id_token(with_(**claims), JWKS, EXPECTED, NOW_S)


@pytest.mark.parametrize(("algorithm", "key"), [("ES256", CURVE), ("PS256", KEY)])
def test_another_algorithm_is_believed_where_it_is_the_configured_one(algorithm: str, key: Any) -> None:
    kid = key.as_dict(private=False)["kid"]
    keys = [{name: value for name, value in item.items() if name != "alg"} for item in JWKS]
    registry = jws.JWSRegistry(algorithms=[algorithm])
    text = jws.serialize_compact({"alg": algorithm, "kid": kid}, json.dumps(CLAIMS).encode(), key, registry=registry)
    expected = Expected(EXPECTED.issuer, EXPECTED.client_id, EXPECTED.nonce, algorithm)
    assert verify_id_token(text, keys, expected, NOW_S)["sub"] == CLAIMS["sub"]
    with pytest.raises(IdTokenRefused):
        verify_id_token(signed(CLAIMS), keys, expected, NOW_S)


def test_the_corpus_is_large_enough() -> None:
    assert len(FORGED) >= 40


@pytest.mark.parametrize("name", list(FORGED))
def test_a_forged_token_is_refused(name: str) -> None:
    text = FORGED[name]()
    with pytest.raises(IdTokenRefused) as caught:
        verify_id_token(text, JWKS, EXPECTED, NOW_S)
    assert text[:20] not in str(caught.value) or not text


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [{"kty": "RSA"}],
        [{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}],
        [{**JWKS[0], "use": "enc"}],
        [{**JWKS[0], "alg": "RS512"}],
        [JWKS[0], {**JWKS[0]}],
        [{**JWKS[0], "n": "AQAB"}],
    ],
)
def test_keys_that_will_not_do_are_not_used(keys: list[dict[str, Any]]) -> None:
    with pytest.raises(IdTokenRefused):
        verify_id_token(signed(CLAIMS), keys, EXPECTED, NOW_S)
