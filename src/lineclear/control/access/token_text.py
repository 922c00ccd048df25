"""What a token of the admin port looks like: `lct_<id>_<secret><crc>`, so that scanners and mistakes can be told.

In: a pepper. Out: a new token's id and text, its MAC, and the id in a text that may be one. The secret is 256 random
bits, so a fast keyed hash is right: nobody can try so many.
"""

import base64
import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass

from lineclear.base.secret import Secret

TOKEN_PREFIX = "lct_"  # noqa: S105 - how tokens begin
ID_CHARS = 12
CRC_CHARS = 8
_FORM = re.compile(rf"lct_([a-z2-7]{{{ID_CHARS}}})_[A-Za-z0-9_-]{{43}}[0-9a-f]{{{CRC_CHARS}}}")


@dataclass(frozen=True)
class NewToken:
    """A token at the only moment its text is known."""

    id: str
    text: Secret


def make_token() -> NewToken:
    """A new token."""
    token_id = base64.b32encode(secrets.token_bytes(8)).decode().lower()[:ID_CHARS]
    head = f"{TOKEN_PREFIX}{token_id}_{secrets.token_urlsafe(32)}"
    return NewToken(token_id, Secret(head + _crc(head)))


def id_in(text: str) -> str | None:
    """The id of what has the form of a token and the check sum of one; None for anything else."""
    found = _FORM.fullmatch(text)
    if found is None or _crc(text[:-CRC_CHARS]) != text[-CRC_CHARS:]:
        return None
    return found[1]


def token_mac(pepper: str, text: str) -> str:
    """HMAC-SHA-256 of the whole token under the pepper, 64 hex digits; no API key has the same one."""
    return hmac.new(bytes.fromhex(pepper), b"admin token\0" + text.encode(), hashlib.sha256).hexdigest()


def _crc(head: str) -> str:
    return f"{zlib.crc32(head.encode()):08x}"
