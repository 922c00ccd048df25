"""The override journal: `overrides/journal`, fsynced and hash-chained, one JSON object a line.

In: an emergency fact with who and why, from control or, when control is dead, from the CLI. Out: every entry in
order, the chain verified. Must not judge whether the fact is allowed, and must never rewrite a line.

Each line is the canonical JSON of an entry; `digest` = SHA-256 over the canonical JSON of the other fields, of which
`previous` is the digest before. What follows the last newline was never acknowledged and is dropped.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from lineclear.base.canonical import digest_hex
from lineclear.base.clock import Clock
from lineclear.domain.overrides import Override
from lineclear.handover.files import private_directory, sync_directory, write_all

FIRST_PREVIOUS: Final = "0" * 64
JOURNAL_BYTES_MAX: Final = 64 << 20


class OverrideEntry(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One line of the journal."""

    sequence: int
    """1, 2, 3, …"""
    at_us: int
    """Unix microseconds."""
    actor: str
    reason: str
    override: Override
    previous: str
    digest: str


class JournalBroken(Exception):
    """A line is not what its chain says: altered, removed or of a version this program does not read.

    Attributes:
        good: the entries before it, which still hold.
    """

    def __init__(self, message: str, good: tuple[OverrideEntry, ...]) -> None:
        super().__init__(message)
        self.good = good


def append_override(path: Path, override: Override, actor: str, reason: str, clock: Clock) -> OverrideEntry:
    """Adds an entry; it is durable when this returns. Several processes may append: one at a time.

    Raises:
        JournalBroken: the chain does not hold; nothing was added.
        OSError: the journal cannot be written; nothing was added.
    """
    with _locked(path) as descriptor:
        entries, whole_bytes = _verify(_read_all(descriptor, path), path)
        os.ftruncate(descriptor, whole_bytes)
        os.lseek(descriptor, whole_bytes, os.SEEK_SET)
        previous = entries[-1].digest if entries else FIRST_PREVIOUS
        bare = OverrideEntry(len(entries) + 1, clock.unix_us(), actor, reason, override, previous, "")
        entry = msgspec.structs.replace(bare, digest=_digest(bare))
        try:
            write_all(descriptor, msgspec.json.encode(entry) + b"\n")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, whole_bytes)
            raise
        return entry


def read_overrides(path: Path, after: int = 0) -> tuple[OverrideEntry, ...]:
    """The entries with a sequence above `after`, the whole chain verified. Empty if there is no journal.

    Raises:
        JournalBroken: the chain does not hold; `.good` has what comes before the break.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return ()
    try:
        entries, _ = _verify(_read_all(descriptor, path), path)
    finally:
        os.close(descriptor)
    return entries[after:]


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    is_new = not path.exists()
    descriptor = os.open(private_directory(path.parent) / path.name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if is_new:
            sync_directory(path.parent)
        yield descriptor
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, path: Path) -> bytes:
    content = os.pread(descriptor, min(os.fstat(descriptor).st_size, JOURNAL_BYTES_MAX + 1), 0)
    if len(content) > JOURNAL_BYTES_MAX:
        raise JournalBroken(f"{path} is larger than {JOURNAL_BYTES_MAX} bytes; control has not folded it in", ())
    return content


def _verify(content: bytes, path: Path) -> tuple[tuple[OverrideEntry, ...], int]:
    """The entries and how many bytes their lines take."""
    whole_bytes = content.rfind(b"\n") + 1
    entries: list[OverrideEntry] = []
    previous = FIRST_PREVIOUS
    for number, line in enumerate(content[:whole_bytes].splitlines(), 1):
        try:
            entry = msgspec.json.decode(line, type=OverrideEntry)
        except msgspec.MsgspecError as error:
            raise JournalBroken(f"{path}:{number} cannot be read: {error}", tuple(entries)) from error
        if entry.sequence != number or entry.previous != previous or entry.digest != _digest(entry):
            raise JournalBroken(f"{path}:{number} breaks the hash chain: a line was altered or removed", tuple(entries))
        previous = entry.digest
        entries.append(entry)
    return tuple(entries), whole_bytes


def _digest(entry: OverrideEntry) -> str:
    content = msgspec.to_builtins(entry)
    del content["digest"]
    return digest_hex(content)
