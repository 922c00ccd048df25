"""The inner door of gateways: a Unix socket for calls that control makes, and the principal that they carry.

In: who asks, for what, until when. Out: a signed text for the Authorization field, and back. The socket lies in the run
directory, which only this user may enter; the signature says that control made the principal (decision 21).
"""

import socket
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from lineclear.base.seal import Keys
from lineclear.base.seal import Purpose as KeyPurpose
from lineclear.handover.files import private_directory

PRINCIPAL_PREFIX: Final = "lci_"
PRINCIPAL_CHARS_MAX: Final = 2_048
BACKLOG: Final = 128


class InnerPurpose(StrEnum):
    """What control asks for."""

    REPLAY = "replay"
    """A dataset goes through releases."""
    EVAL = "eval"
    """The same, to be judged."""
    JUDGE = "judge"
    """A model says how good an answer is."""


class InnerPrincipal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In whose name control calls, and what it may call: one route, at one release of it."""

    purpose: InnerPurpose
    run: str
    """What the call belongs to, such as a replay's id."""
    app: str
    """Whose limits and budgets count."""
    environment: str
    route: str
    release: str
    """Digest of the one release that may answer; empty = the stable one."""
    expires_at: int
    """Unix seconds."""


def signed_principal(keys: Keys, principal: InnerPrincipal) -> str:
    """The text that stands for a principal until it expires."""
    content = urlsafe_b64encode(msgspec.json.encode(principal)).rstrip(b"=").decode("ascii")
    return f"{PRINCIPAL_PREFIX}{content}.{keys.mac(KeyPurpose.PRINCIPAL_MAC, content.encode())}"


def opened_principal(keys: Keys, text: str, now_us: int) -> InnerPrincipal | None:
    """The principal of a text; None if control did not make it, it was altered, or its time is over."""
    content, _, mac = text.removeprefix(PRINCIPAL_PREFIX).partition(".")
    if not text.startswith(PRINCIPAL_PREFIX) or len(text) > PRINCIPAL_CHARS_MAX or not text.isascii():
        return None
    if not keys.mac_matches(KeyPurpose.PRINCIPAL_MAC, content.encode(), mac):
        return None
    try:
        decoded = urlsafe_b64decode(content + "=" * (-len(content) % 4))
        principal = msgspec.json.decode(decoded, type=InnerPrincipal)
    except (NotBase64, msgspec.DecodeError):
        # Made by a control of another version: it is no principal here.
        return None
    return principal if now_us < principal.expires_at * 1_000_000 else None


def inner_door_directory(run_dir: Path) -> Path:
    return run_dir / "door"


def inner_door_listener(run_dir: Path, source: str) -> tuple[socket.socket, Path]:
    """A listening socket of one gateway process, and its path; a leftover of the same name is replaced.

    Raises:
        OSError: it cannot be made.
    """
    path = private_directory(inner_door_directory(run_dir)) / f"{source}.sock"
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(draft))
        draft.chmod(0o600)
        listener.listen(BACKLOG)
        # Found only once it listens, so that a socket that refuses is one that nobody listens on any more.
        draft.rename(path)
    except BaseException:
        listener.close()
        raise
    return listener, path


def inner_doors(run_dir: Path) -> list[Path]:
    """Sockets of gateways, those of processes that have ended without a word among them."""
    return sorted(inner_door_directory(run_dir).glob("*.sock"))
