"""The lines of an exported audit trail, one canonical JSON each: a header, events, checkpoints after the event each was
made at.

In: rows and signed notes. Out: bytes. Pure.
"""

from collections.abc import Mapping
from typing import Any

from lineclear.base.canonical import canonical_json

FILE_FORMAT = 1


def header_line(public_key: str, checkpoint: str) -> bytes:
    """The first line."""
    return _line({"lineclear_audit": FILE_FORMAT, "public_key": public_key, "checkpoint": checkpoint})


def event_line(row: Mapping[str, Any]) -> bytes:
    """A row's line. Any: text and int."""
    return _line({"event": dict(row)})


def checkpoint_line(note: str) -> bytes:
    """A checkpoint's line."""
    return _line({"checkpoint": note})


def _line(content: Any) -> bytes:  # Any: JSON values
    return canonical_json(content) + b"\n"
