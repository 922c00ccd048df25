"""The chain that audit rows form, as control writes it and as anybody checks it offline. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lineclear.base.canonical import canonical_json

GENESIS_HASH = "0" * 64
"""What the first row names as the hash before it."""


@dataclass(frozen=True)
class AuditVerdict:
    """Whether a trail is whole."""

    ok: bool
    events: int
    problem: str
    """Empty if it is; else which row is the first that does not fit and how."""
    head: str
    """Hash of the newest row; keep it elsewhere to find a cut tail."""
    checkpoints: int = 0
    """Signed tree heads that the rows were held to."""


def row_hash(row: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of every other column, the hash before it included. Any: text and int."""
    content = {name: value for name, value in row.items() if name != "hash"}
    # Beyond 2**53 canonical JSON has no exact number, so the two wide integers travel as text.
    content["number"], content["at_us"] = str(row["number"]), str(row["at_us"])
    return hashlib.sha256(canonical_json(content)).hexdigest()


def flaw_of_row(row: Mapping[str, Any], number: int, previous: str) -> str:
    """What is wrong with the row that should have this number and follow that hash; empty if nothing is."""
    if row["number"] != number:
        return f"row {number} is missing: {row['number']} stands in its place"
    if row["previous_hash"] != previous:
        return f"row {number} does not follow the row before it"
    if row["hash"] != row_hash(row):
        return f"row {number} was altered"
    return ""


def verify_rows(chain: Iterable[Mapping[str, Any]]) -> AuditVerdict:
    """Walk the rows in order: numbers without gaps, each hash over its row, each row naming the hash before it."""
    previous, number = GENESIS_HASH, 0
    for row in chain:
        number += 1
        problem = flaw_of_row(row, number, previous)
        if problem:
            return AuditVerdict(False, number, problem, previous)
        previous = row["hash"]
    return AuditVerdict(True, number, "", previous)
