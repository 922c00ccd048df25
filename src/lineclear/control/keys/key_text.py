"""What a key looks like: `lc_<env>_<id>_<secret><crc>`, so that scanners and typing mistakes can be told.

In: an environment's name. Out: a new key's text and its MAC. The secret is 256 random bits.
"""

import base64
import hashlib
import hmac
import secrets
import zlib
from dataclasses import dataclass

from lineclear.base.secret import Secret

ID_BYTES = 8
ID_CHARS = 12
SECRET_BYTES = 32


@dataclass(frozen=True)
class NewKey:
    """A key at the only moment its text is known."""

    id: str
    """12 characters of lower-case base32."""
    text: Secret


def make_key(environment: str) -> NewKey:
    """A new key of an environment."""
    key_id = base64.b32encode(secrets.token_bytes(ID_BYTES)).decode().lower()[:ID_CHARS]
    head = f"lc_{environment}_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return NewKey(key_id, Secret(f"{head}{zlib.crc32(head.encode()):08x}"))


def key_mac(pepper: str, text: Secret) -> str:
    """HMAC-SHA-256 of the whole key text under the pepper (hex), 64 hex digits."""
    return hmac.new(bytes.fromhex(pepper), text.reveal().encode(), hashlib.sha256).hexdigest()
