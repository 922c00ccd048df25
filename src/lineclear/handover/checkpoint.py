"""The accountant's checkpoint file: its state and the spool positions it stands for, in one durable step.

In: positions and opaque state bytes. Out: both, verified. Control reads the positions to know which segments the
accountant no longer needs. Must not understand the state.
"""

from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from lineclear.handover.files import private_directory, write_durably

CHECKPOINT_VERSION: Final = 1


class CheckpointBroken(Exception):
    """The file is there and cannot be trusted. Money spent would be forgotten by ignoring it."""

    def __init__(self, path: Path, what: str) -> None:
        """`what` is read after the file's name. The way out is in docs/processes.md too."""
        super().__init__(
            f"the accountant's checkpoint {path} {what}. Put a copy of this file from a backup back, or move it away: "
            "the accountant then starts by itself, and until the month ends budgets count only what is still in the "
            "spool, so compare `lineclear usage` with them and lower those that need it"
        )


class Checkpoint(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """The file's content."""

    version: int
    positions: dict[str, int]
    """Offset by segment file name: everything before it is in the state."""
    state_crc: int
    state: bytes


def save_checkpoint(path: Path, positions: dict[str, int], state: bytes) -> None:
    """Replaces the checkpoint; it is durable when this returns.

    Raises:
        OSError: the old one stays.
    """
    private_directory(path.parent)
    content = msgspec.msgpack.encode(Checkpoint(CHECKPOINT_VERSION, positions, crc32(state), state))
    write_durably(path, content)


def load_checkpoint(path: Path) -> Checkpoint | None:
    """The last checkpoint; None if there never was one.

    Raises:
        CheckpointBroken: damaged or of another version.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        checkpoint = msgspec.msgpack.decode(content, type=Checkpoint)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CheckpointBroken(path, f"is damaged or of another version ({error})") from error
    if checkpoint.version != CHECKPOINT_VERSION:
        raise CheckpointBroken(path, f"is of version {checkpoint.version}, this program reads {CHECKPOINT_VERSION}")
    if crc32(checkpoint.state) != checkpoint.state_crc:
        raise CheckpointBroken(path, "is damaged: its state does not match its check number")
    return checkpoint


def accountant_positions(path: Path) -> dict[str, int]:
    """How far the accountant has durably read, by segment file name. Empty if there is no checkpoint.

    A segment may be deleted when it is ended (sealed, or its writer is dead) and the offset here is not below the
    offset at which one's own reading of it ended.

    Raises:
        CheckpointBroken: damaged; delete nothing.
    """
    checkpoint = load_checkpoint(path)
    return checkpoint.positions if checkpoint else {}
