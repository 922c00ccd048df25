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
from lineclear.domain.overrides import Drill, Override, OverrideEntry
from lineclear.handover.files import private_directory, sync_directory, write_all, write_durably

FIRST_PREVIOUS: Final = "0" * 64
JOURNAL_BYTES_MAX: Final = 64 << 20
ROTATE_BYTES: Final = 1 << 20
"""A journal of which nothing is to be folded any more begins anew from here on."""
REASON_CHARS_MAX: Final = 2_000
READ_BY_US: Final = 60_000_000
"""By then every gateway has read an entry: what it ends there is not told by the snapshot that holds it."""
DRILL_READ_BY_US: Final = 3_000_000
"""By then nobody waits any more for a gateway to have prepared what a drill names."""
_LOCK_TRIES: Final = 100

Stamp = tuple[int, int, int]


class JournalBroken(Exception):
    """A line is not what its chain says: altered, removed or of a version this program does not read.

    Attributes:
        good: the entries before it, which still hold.
        good_bytes: how many bytes their lines take.
    """

    def __init__(self, message: str, good: tuple[OverrideEntry, ...], good_bytes: int = 0) -> None:
        super().__init__(message)
        self.good = good
        self.good_bytes = good_bytes


def journal_path(data_dir: Path) -> Path:
    """Where the journal of a data directory is."""
    return data_dir / "overrides" / "journal"


def append_override(
    path: Path, override: Override, actor: str, reason: str, clock: Clock, *, floor: int = 0
) -> OverrideEntry:
    """Adds an entry; it is durable when this returns. Several processes may append: one at a time.

    A broken journal is set aside beside itself, and a new one begins with what still holds: an emergency must not wait
    for a repair.

    Args:
        path: the journal.
        override: the fact.
        actor: who asked for it.
        reason: why, cut to REASON_CHARS_MAX.
        clock: tells when.
        floor: the highest sequence known from elsewhere, such as the snapshot: the new one is above it even where the
            file was lost.

    Raises:
        OSError: the journal cannot be written; nothing was added.
    """
    with _locked(path) as descriptor:
        content = _read_all(descriptor, path)
        try:
            entries, whole_bytes = _verify(content, path)
        except JournalBroken as broken:
            _set_aside(path, content[: broken.good_bytes])
            entries, whole_bytes = broken.good, broken.good_bytes
            descriptor = os.open(path, os.O_RDWR)
            try:
                return _append(descriptor, whole_bytes, _next(entries, override, actor, reason, clock, floor))
            finally:
                os.close(descriptor)
        return _append(descriptor, whole_bytes, _next(entries, override, actor, reason, clock, floor))


def _next(
    entries: tuple[OverrideEntry, ...], override: Override, actor: str, reason: str, clock: Clock, floor: int
) -> OverrideEntry:
    last = entries[-1] if entries else None
    sequence = max(floor, last.sequence if last else 0) + 1
    previous = last.digest if last else FIRST_PREVIOUS
    bare = OverrideEntry(sequence, clock.unix_us(), actor, reason[:REASON_CHARS_MAX], override, previous, "")
    return msgspec.structs.replace(bare, digest=_digest(bare))


def _append(descriptor: int, whole_bytes: int, entry: OverrideEntry) -> OverrideEntry:
    os.ftruncate(descriptor, whole_bytes)
    os.lseek(descriptor, whole_bytes, os.SEEK_SET)
    try:
        write_all(descriptor, msgspec.json.encode(entry) + b"\n")
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, whole_bytes)
        raise
    return entry


def _set_aside(path: Path, good: bytes) -> None:
    """Keep a broken journal as evidence and put one in its place that holds what still counts."""
    number = 1 + sum(1 for _ in path.parent.glob(f"{path.name}.broken-*"))
    os.link(path, path.with_name(f"{path.name}.broken-{number}"))
    write_durably(path, good)


def broken_journals(path: Path) -> tuple[str, ...]:
    """Names of journals that were set aside because their chain did not hold."""
    return tuple(sorted(found.name for found in path.parent.glob(f"{path.name}.broken-*")))


def rotate_journal(path: Path, folded: int, now_us: int) -> bool:
    """Begin a new journal if this one is long, nothing in it is above `folded`, and nobody needs to read it any more.

    Drills are needed until DRILL_READ_BY_US, all others until READ_BY_US: what ends open answers stands nowhere else,
    and a gateway that cannot take the newest snapshot has only the journal.

    Returns:
        Whether it did.

    Raises:
        OSError: the directory cannot be written.
    """
    if not is_long(path):
        return False
    with _locked(path) as descriptor:
        try:
            entries, _ = _verify(_read_all(descriptor, path), path)
        except JournalBroken:
            return False
        if not entries or entries[-1].sequence > folded or any(_needed_until_us(one) > now_us for one in entries):
            return False
        path.rename(path.with_name(f"{path.name}.until-{entries[-1].sequence}"))
        sync_directory(path.parent)
    return True


def is_long(path: Path) -> bool:
    """Whether it is time that the journal begins anew. One stat call."""
    try:
        return path.stat().st_size >= ROTATE_BYTES
    except OSError:
        return False


def _needed_until_us(entry: OverrideEntry) -> int:
    return entry.at_us + (DRILL_READ_BY_US if isinstance(entry.override, Drill) else READ_BY_US)


def read_overrides(path: Path, after: int = 0) -> tuple[OverrideEntry, ...]:
    """The entries with a sequence above `after`, the whole chain verified. Empty if there is no journal.

    Raises:
        JournalBroken: the chain does not hold; `.good` has what comes before the break.
    """
    content = _read_file(path)
    entries = _verify(content, path)[0] if content else ()
    return tuple(entry for entry in entries if entry.sequence > after)


class JournalReader:
    """Follows the journal. What it verified once it keeps, whatever happens to the file afterwards."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: Stamp | None = None
        self._known: dict[str, OverrideEntry] = {}
        self._inode = 0
        self._bytes = 0
        self._digest = FIRST_PREVIOUS
        self._sequence = 0
        self.problem = ""
        """Why not everything in the file is in force; empty if it is."""

    @property
    def sequence(self) -> int:
        """The highest sequence seen."""
        return self._sequence

    def changed(self) -> bool:
        """Whether the file is another one than at the last `read`. One stat call."""
        return self._look() != self._stamp

    def read(self, after: int = 0) -> tuple[OverrideEntry, ...]:
        """The entries above `after` that were ever verified and not forgotten since, in order.

        Never raises for what stands in the file: what cannot be used is told in `problem`.
        """
        stamp = self._look()
        if stamp != self._stamp:
            try:
                self._follow(stamp)
            except OSError as error:
                self.problem = f"the override journal cannot be read: {error}"
            else:
                self._stamp = stamp
        entries = self.known(after)
        if stamp is None and entries:
            self.problem = f"the override journal {self._path} is gone; what was read of it holds"
        return entries

    def known(self, after: int) -> tuple[OverrideEntry, ...]:
        """The same of what was read so far: it does not look at the file."""
        return tuple(sorted((entry for entry in self._known.values() if entry.sequence > after), key=_by_sequence))

    def forget(self, folded: int) -> None:
        """Drop the entries up to `folded`: what is in force holds them, so they are not asked for again."""
        self._known = {digest: entry for digest, entry in self._known.items() if entry.sequence > folded}

    def _look(self) -> Stamp | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def _follow(self, stamp: Stamp | None) -> None:
        if stamp is None:
            self.problem = ""
            self._inode, self._bytes = 0, 0
            return
        if stamp[0] != self._inode or stamp[1] < self._bytes:
            self._inode, self._bytes, self._digest = stamp[0], 0, FIRST_PREVIOUS
        content = _read_file(self._path)
        sequence = self._sequence if self._bytes else 0
        self.problem = ""
        try:
            entries, read_bytes = _verify(content[self._bytes :], self._path, self._digest, sequence)
        except JournalBroken as broken:
            self.problem = f"{broken}; what comes before it holds"
            entries, read_bytes = broken.good, broken.good_bytes
        self._bytes += read_bytes
        if entries:
            self._digest = entries[-1].digest
            self._sequence = max(self._sequence, entries[-1].sequence)
        self._known.update({entry.digest: entry for entry in entries})


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The journal, locked; one that was set aside while waiting for it is not the one."""
    for _ in range(_LOCK_TRIES):
        is_new = not path.exists()
        descriptor = os.open(private_directory(path.parent) / path.name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not _is_same_file(descriptor, path):
                continue
            if is_new:
                sync_directory(path.parent)
            yield descriptor
            return
        finally:
            os.close(descriptor)
    raise OSError(f"{path} is being replaced again and again")


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _read_file(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return b""
    try:
        return _read_all(descriptor, path)
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, path: Path) -> bytes:
    content = os.pread(descriptor, min(os.fstat(descriptor).st_size, JOURNAL_BYTES_MAX + 1), 0)
    if len(content) > JOURNAL_BYTES_MAX:
        raise OSError(f"{path} is larger than {JOURNAL_BYTES_MAX} bytes; control has not folded it in")
    return content


def _verify(
    content: bytes, path: Path, previous: str = FIRST_PREVIOUS, sequence: int = 0
) -> tuple[tuple[OverrideEntry, ...], int]:
    """The entries and how many bytes their lines take; `previous` and `sequence` are of the line before them."""
    entries: list[OverrideEntry] = []
    good_bytes = 0
    for line in content[: content.rfind(b"\n") + 1].splitlines(keepends=True):
        where = f"{path}: the line after entry {sequence}"
        try:
            entry = msgspec.json.decode(line, type=OverrideEntry)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise JournalBroken(f"{where} cannot be read: {error}", tuple(entries), good_bytes) from error
        if entry.sequence <= sequence or entry.previous != previous or entry.digest != _digest(entry):
            raise JournalBroken(
                f"{where} breaks the hash chain: a line was altered or removed", tuple(entries), good_bytes
            )
        previous, sequence = entry.digest, entry.sequence
        good_bytes += len(line)
        entries.append(entry)
    return tuple(entries), good_bytes


def _by_sequence(entry: OverrideEntry) -> int:
    return entry.sequence


def _digest(entry: OverrideEntry) -> str:
    content = msgspec.to_builtins(entry)
    del content["digest"]
    return digest_hex(content)
