"""An export of the audit trail as a file, verified without a server.

In: a file's lines. Out: a verdict. The first line names the public key and holds
the signed note over the whole; each row stands on a line of its own, each checkpoint after the row it was made at.
Every byte is held to something: a line is the canonical JSON of what it says.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from lineclear.base.canonical import canonical_json
from lineclear.base.transparency import MerkleTree, NoteInvalid, TreeHead, open_checkpoint
from lineclear.domain.audit_chain import GENESIS_HASH, AuditVerdict, flaw_of_row
from lineclear.domain.audit_lines import FILE_FORMAT

LINE_BYTES_MAX = 64 * 1024 * 1024
COLUMNS = frozenset(
    {"number", "format", "at_us", "actor", "action", "object", "before", "after", "reason", "change_id",
     "previous_hash", "hash"}
)  # fmt: skip


class Broken(Exception):
    """The file is not as it was written; the message says where and how."""


@dataclass(frozen=True)
class Header:
    """What the first line says."""

    public_key: str
    head: TreeHead


def verify_export(file: BinaryIO, key: str = "", checkpoint: str = "") -> AuditVerdict:
    """Hold a file to its chain, its checkpoints, and to what is known from elsewhere.

    Args:
        file: the export.
        key: the public key as it is known from elsewhere; empty = the file's own.
        checkpoint: a signed note that was kept elsewhere; the file must have at least its rows.
    """
    walk = _Walk()
    try:
        walk.take(file, key, checkpoint)
    except (Broken, NoteInvalid, TypeError, ValueError) as error:
        return AuditVerdict(False, walk.tree.size, str(error), walk.previous, walk.checked)
    return AuditVerdict(True, walk.tree.size, "", walk.previous, walk.checked)


class _Walk:
    """How far a file has been found whole."""

    def __init__(self) -> None:
        self.tree = MerkleTree()
        self.previous = GENESIS_HASH
        self.checked = 0

    def take(self, file: BinaryIO, key: str, checkpoint: str) -> None:
        """Go through the whole file.

        Raises:
            Broken: with the first thing that does not fit; also NoteInvalid, TypeError and ValueError.
        """
        lines = _lines(file)
        header = _header(next(lines, {}), key)
        kept = open_checkpoint(checkpoint, header.public_key) if checkpoint else None
        for content in lines:
            if content.keys() == {"checkpoint"}:
                self._hold(open_checkpoint(content["checkpoint"], header.public_key))
                continue
            self._take_row(content)
            if kept is not None and kept.size == self.tree.size:
                self._hold(kept)
        if kept is not None and kept.size > self.tree.size:
            self._hold(kept)
        self._hold(header.head)

    def _take_row(self, content: dict[str, Any]) -> None:
        row = content.get("event")
        if content.keys() != {"event"} or not isinstance(row, dict) or row.keys() != COLUMNS:
            raise Broken(f"the line after row {self.tree.size} is neither a row nor a checkpoint")
        problem = flaw_of_row(row, self.tree.size + 1, self.previous)
        if problem:
            raise Broken(problem)
        self.previous = row["hash"]
        self.tree.append(bytes.fromhex(self.previous))

    def _hold(self, head: TreeHead) -> None:
        size = self.tree.size
        if head.size > size:
            raise Broken(f"the tail is cut off: {head.size} rows were signed, {size} are left")
        if (head.size, head.root) != (size, self.tree.root()):
            raise Broken(f"the rows up to {size} are not those that were signed")
        self.checked += 1


def _header(content: dict[str, Any], key: str) -> Header:
    if content.keys() != {"lineclear_audit", "public_key", "checkpoint"} or content["lineclear_audit"] != FILE_FORMAT:
        raise Broken("this is no export of an audit trail, or of another version")
    if key and content["public_key"] != key:
        raise Broken("the file names another public key than the one that is known")
    return Header(content["public_key"], open_checkpoint(content["checkpoint"], content["public_key"]))


def _lines(file: BinaryIO) -> Iterator[dict[str, Any]]:
    number = 0
    while raw := file.readline(LINE_BYTES_MAX):
        number += 1
        try:
            content = json.loads(raw)
        except ValueError as error:
            raise Broken(f"line {number} is no JSON") from error
        # Two ways to write the same would be a place where an altered byte goes unseen.
        if not isinstance(content, dict) or canonical_json(content) + b"\n" != raw:
            raise Broken(f"line {number} is not written as exports are")
        yield content
