"""Sealing and authentication under one master key: AES-256-GCM for secrets on disk, HMAC for what must not change.

In: the 32-byte master key, handed over by the supervisor. Out: sealed bytes bound to the section and revision
they belong to, and MACs bound to a purpose. Must not read files and must not print a key.
"""

import hashlib
import hmac
import secrets
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MASTER_KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
MAGIC = b"LCS1"


class Purpose(StrEnum):
    """What a subkey is for; each purpose has a key of its own."""

    SEAL = "seal"
    SNAPSHOT_MAC = "snapshot-mac"
    ENVIRONMENT_MAC = "environment-mac"
    APPROVAL_MAC = "approval-mac"
    AUDIT_SIGN = "audit-sign"
    PRINCIPAL_MAC = "principal-mac"


class SealBroken(Exception):
    """Sealed bytes do not open: another key, another section or revision, or altered content."""


class Keys:
    """The subkeys of one master key.

    Source: RFC 5869 (HKDF), NIST SP 800-38D (GCM with a random 96-bit nonce; far below 2**32 seals per key).
    """

    __slots__ = ("_aead", "_subkeys")

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != MASTER_KEY_BYTES:
            raise ValueError(f"the master key has {len(master_key)} bytes; it must have {MASTER_KEY_BYTES}")
        self._subkeys = {purpose: _derive(master_key, purpose) for purpose in Purpose}
        self._aead = AESGCM(self._subkeys[Purpose.SEAL])

    def seal(self, section: str, revision: int, plain: bytes) -> bytes:
        """Encrypts; the result opens only for the same section name and revision."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return MAGIC + nonce + self._aead.encrypt(nonce, plain, _bound_to(section, revision))

    def unseal(self, section: str, revision: int, sealed: bytes) -> bytes:
        """Decrypts what `seal` made for this section and revision.

        Raises:
            SealBroken: wrong key, section or revision, or altered bytes.
        """
        start = len(MAGIC) + NONCE_BYTES
        if len(sealed) < start + TAG_BYTES or not sealed.startswith(MAGIC):
            raise SealBroken(f"section {section!r} is not a sealed section of a format this program reads")
        try:
            return self._aead.decrypt(sealed[len(MAGIC) : start], sealed[start:], _bound_to(section, revision))
        except InvalidTag as error:
            raise SealBroken(
                f"section {section!r} of revision {revision} does not open: the master key is another one, "
                "or the bytes were altered"
            ) from error

    def mac(self, purpose: Purpose, data: bytes) -> str:
        """HMAC-SHA-256 under the purpose's own key, 64 hex digits."""
        return hmac.new(self._subkeys[purpose], data, hashlib.sha256).hexdigest()

    def mac_matches(self, purpose: Purpose, data: bytes, mac: str) -> bool:
        """Compares in constant time."""
        return hmac.compare_digest(self.mac(purpose, data).encode(), mac.encode())

    def audit_key(self) -> Ed25519PrivateKey:
        """The key that signs checkpoints of the audit trail."""
        return Ed25519PrivateKey.from_private_bytes(self._subkeys[Purpose.AUDIT_SIGN])

    def __repr__(self) -> str:
        return "Keys(***)"


def _derive(master_key: bytes, purpose: Purpose) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"lineclear/1/" + purpose.encode()).derive(master_key)


def _bound_to(section: str, revision: int) -> bytes:
    return b"lineclear/1\0" + section.encode() + b"\0" + str(revision).encode()
