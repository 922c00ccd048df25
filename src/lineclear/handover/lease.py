"""Control's lease on exposure: a file that it touches while it judges what gateways do (decision 41).

In: a sign of life. Out: whether there was one since the last look. Gateways take candidates out of traffic when it
stays away. What stood there before a reader's first look is no sign: nobody may be behind it any more.
"""

from pathlib import Path
from typing import Final

from lineclear.handover.files import private_directory

LEASE_FILE: Final = "LEASE"


def lease_path(data_dir: Path) -> Path:
    """Where it is: beside the snapshot that names the candidates."""
    return data_dir / "snapshot" / LEASE_FILE


class LeaseWriter:
    """Held by control alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def renew(self) -> None:
        """Show that somebody watches.

        Raises:
            OSError: the directory cannot be written; the lease then runs out, which is the safe end.
        """
        private_directory(self._path.parent)
        self._path.touch(mode=0o600)


class LeaseReader:
    """Held by each gateway."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stat()

    def is_renewed(self) -> bool:
        """Whether it was renewed since the last look. One stat call."""
        seen = self._stat()
        if seen is None or seen == self._seen:
            return False
        self._seen = seen
        return True

    def _stat(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_mtime_ns
