"""Acknowledgements: which revision a process has in force.

In: a source's own report, written after it swapped. Out: what each source said last. A file stays after its writer
died; whether a source lives is told by its spool lock. Must not wait.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from lineclear.handover.files import private_directory, write_durably

ACCOUNTANT: Final = "accountant"
"""The source name of the one process that has no spool of its own; its report is replaced by its next life's."""


class Ack(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One source's report."""

    source: str
    epoch: int
    revision: int
    overrides: int
    """The last override record applied, 0 if none."""
    at_us: int
    """Unix microseconds."""
    complaint: str = ""
    """Why not everything in the override journal is in force there; empty if it is."""


def write_ack(
    directory: Path,
    source: str,
    epoch: int,
    revision: int,
    *,
    at_us: int,
    overrides: int = 0,
    complaint: str = "",
) -> None:
    """Reports that this revision is in force here. The snapshot itself is durable already; the report need not be.

    Raises:
        OSError: the directory cannot be written.
    """
    ack = Ack(source, epoch, revision, overrides, at_us, complaint)
    write_durably(private_directory(directory) / f"{source}.json", msgspec.json.encode(ack), sync=False)


def read_acks(directory: Path) -> dict[str, Ack]:
    """The last report of each source by name; one that cannot be read counts as silent. Empty without a directory."""
    acks: dict[str, Ack] = {}
    for path in sorted(directory.glob("*.json")) if directory.is_dir() else ():
        try:
            ack = msgspec.json.decode(path.read_bytes(), type=Ack)
        except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
            continue
        acks[ack.source] = ack
    return acks


def forget_ack(directory: Path, source: str) -> None:
    """Removes the report of a source that is no more."""
    (directory / f"{source}.json").unlink(missing_ok=True)


def forget_dead_acks(directory: Path, is_alive: Callable[[str], bool]) -> tuple[str, ...]:
    """Removes the reports of worker lives that are over, and what of them cannot be read; the accountant's stays.

    Returns:
        The sources that were forgotten.
    """
    paths = sorted(directory.glob("*.json")) if directory.is_dir() else ()
    dead = tuple(path.stem for path in paths if path.stem != ACCOUNTANT and not is_alive(path.stem))
    for source in dead:
        forget_ack(directory, source)
    return dead
