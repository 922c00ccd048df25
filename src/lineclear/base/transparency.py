"""Signed tree heads: a Merkle root over an append-only log, and the signed note that says so to anybody offline.

In: leaves as bytes, a signing key. Out: roots, notes, verifying keys as text. Must not read or write files.
Source: RFC 6962 §2.1 (tree), C2SP signed-note and tlog-checkpoint (text), RFC 8032 (Ed25519).
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ALGORITHM_ED25519 = b"\x01"
KEY_ID_BYTES = 4
SIGNATURE_MARK = "\u2014 "
"""An em dash and a space begin each signature line."""


class NoteInvalid(Exception):
    """A note or key is no such thing, or its signature does not fit; the message says which."""


@dataclass(frozen=True)
class TreeHead:
    """What a checkpoint says: so many entries, with this root."""

    origin: str
    size: int
    root: bytes


class MerkleTree:
    """The root of a log that only grows; it keeps one hash for each full subtree, at most 63."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        """Continue a tree of `size` leaves whose full subtrees, largest first, have the hashes `peaks`."""
        self.size = size
        self.peaks = list(peaks)

    def append(self, leaf: bytes) -> None:
        """Add an entry at the end."""
        found = hashlib.sha256(b"\x00" + leaf).digest()
        left = self.size
        while left & 1:
            found = _node(self.peaks.pop(), found)
            left >>= 1
        self.peaks.append(found)
        self.size += 1

    def root(self) -> bytes:
        """The tree's root; of an empty tree the hash of nothing."""
        if not self.peaks:
            return hashlib.sha256(b"").digest()
        *rest, found = self.peaks
        for peak in reversed(rest):
            found = _node(peak, found)
        return found


class NoteSigner:
    """Signs notes under one name."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self._name = name
        self._key = key
        self._public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def verifier(self) -> str:
        """The public key as text: `name+id+key`."""
        return f"{self._name}+{_key_id(self._name, self._public).hex()}+{_base64(ALGORITHM_ED25519 + self._public)}"

    def checkpoint(self, head: TreeHead) -> str:
        """A tree head as a signed note."""
        text = _head_text(head)
        signature = _key_id(self._name, self._public) + self._key.sign(text.encode())
        return f"{text}\n{SIGNATURE_MARK}{self._name} {_base64(signature)}\n"


def open_checkpoint(note: str, verifier: str) -> TreeHead:
    """The tree head of a note that this key signed; every character of the note is held to it.

    Raises:
        NoteInvalid: it is no checkpoint, of another key, or was altered.
    """
    name, key_id, public = _read_verifier(verifier)
    text, divider, signatures = note.partition(f"\n\n{SIGNATURE_MARK}")
    text += "\n"
    signed_by, _, encoded = signatures.removesuffix("\n").partition(" ")
    if not divider or not signatures.endswith("\n") or signed_by != name:
        raise NoteInvalid(f"the checkpoint is not signed by {name!r}")
    signature = _decoded(encoded)
    if signature[:KEY_ID_BYTES] != key_id:
        raise NoteInvalid("the checkpoint is signed with another key")
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature[KEY_ID_BYTES:], text.encode())
    except (InvalidSignature, ValueError) as error:
        raise NoteInvalid("the signature of the checkpoint does not fit: it was altered") from error
    return _read_head(text)


def _head_text(head: TreeHead) -> str:
    return f"{head.origin}\n{head.size}\n{_base64(head.root)}\n"


def _read_head(text: str) -> TreeHead:
    lines = text.split("\n")
    if len(lines) != 4 or not lines[1].isdigit():
        raise NoteInvalid("the checkpoint does not say how many entries have which root")
    head = TreeHead(lines[0], int(lines[1]), _decoded(lines[2]))
    if _head_text(head) != text:
        raise NoteInvalid("the checkpoint is not written as checkpoints are")
    return head


def _read_verifier(verifier: str) -> tuple[str, bytes, bytes]:
    name, _, rest = verifier.partition("+")
    written_id, _, encoded = rest.partition("+")
    key = _decoded(encoded)
    if not name or key[:1] != ALGORITHM_ED25519 or len(key) != 33 or _key_id(name, key[1:]).hex() != written_id:
        raise NoteInvalid("this is no verifying key: it looks like name+id+key")
    return name, _key_id(name, key[1:]), key[1:]


def _key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + ALGORITHM_ED25519 + public).digest()[:KEY_ID_BYTES]


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteInvalid("something that should be base64 is not") from error
    if _base64(found) != text:
        # Bits that stand for nothing would be a place where an altered note looks like the same.
        raise NoteInvalid("something that should be base64 is not written in the one way")
    return found
