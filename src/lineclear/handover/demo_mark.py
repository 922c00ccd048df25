"""The mark of a data directory whose history is invented: the file `demo`, written by `lineclear demo`.

In: a data directory. Out: what the mark says, or None. Whoever shows figures of such a directory says so.
"""

from pathlib import Path
from typing import Final

import msgspec

from lineclear.handover.files import write_durably

DEMO_FILE: Final = "demo"


class DemoMark(msgspec.Struct, frozen=True, gc=False):
    """How the history was made."""

    seed: int
    days: int
    until_us: int
    """Unix microseconds at which the invented history ends."""
    is_complete: bool = False
    """False while it is being made, and after that was cut short."""


def write_demo_mark(data_dir: Path, mark: DemoMark) -> None:
    """Mark a data directory; it is on the disk when this returns."""
    write_durably(data_dir / DEMO_FILE, msgspec.json.encode(mark) + b"\n")


def is_demo(data_dir: Path) -> bool:
    """Whether the directory is marked; a damaged mark is one too."""
    return (data_dir / DEMO_FILE).exists()


def read_demo_mark(data_dir: Path) -> DemoMark | None:
    """What the mark says; None if there is none or it cannot be read."""
    try:
        return msgspec.json.decode((data_dir / DEMO_FILE).read_bytes(), type=DemoMark)
    except (OSError, msgspec.MsgspecError):
        return None
