"""Space kept in the spool's directory for what is under way when the disk is full, and what dead sources left there.

In: the directory and a source's name. Out: the space taken or let go. Must not touch a segment that has its name.
"""

import os
from pathlib import Path
from typing import Final

from lineclear.base.clock import Clock
from lineclear.handover.segment import segment_is_held, source_is_alive

PREFIX: Final = ".ballast-"
STALE_NEW_S: Final = 60


class Ballast:
    """One source's reserve: a file that is as large as it says."""

    def __init__(self, directory: Path, source: str, size_bytes: int) -> None:
        self._path = directory / f"{PREFIX}{source}"
        self._size_bytes = size_bytes

    def take(self) -> bool:
        """Whether the space is ours now; True as well if none is wanted."""
        if not self._size_bytes:
            return True
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size_bytes)
            finally:
                os.close(descriptor)
        except OSError:
            self.free()
            return False
        return True

    def free(self) -> None:
        """Gives the space to whoever writes next."""
        self._path.unlink(missing_ok=True)


def clear_leftovers(directory: Path, clock: Clock) -> None:
    """Removes the ballast of dead sources, and segments that a crash kept from getting their name."""
    for path in directory.glob(f"{PREFIX}*"):
        if not source_is_alive(directory, path.name.removeprefix(PREFIX)):
            path.unlink(missing_ok=True)
    for path in directory.glob(".*.new"):
        try:
            age_s = clock.unix_us() / 1e6 - path.stat().st_mtime
        except FileNotFoundError:
            continue
        if age_s > STALE_NEW_S and not segment_is_held(path):
            path.unlink(missing_ok=True)
