"""Replays as they stand in the database, and their values: rows in, frozen values out, answers unsealed.

In: rows. Out: `CaseResult`s and back. Decides nothing.
"""

import hashlib
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Final

import msgspec

from lineclear.control.replays.door import InnerAnswer
from lineclear.control.vault import Vault
from lineclear.domain.evidence import Arm
from lineclear.domain.replay import ANSWERED, CaseResult, Side
from lineclear.store.database import Database
from lineclear.store.replay_rows import RESULTS_AT_ONCE, ReplayRow, ResultRow, read_figures, read_results

TEXT_BYTES_MAX: Final = 64 * 1024
"""Of one answer; a longer one is kept so far, and its digest is of the whole."""
UNREADABLE: Final = "unreadable_answer"
"""The error code of a 200 that is no answer."""


def sides_of(row: ReplayRow) -> dict[Arm, Side]:
    """Which release each arm asks."""
    return msgspec.json.decode(row.sides, type=dict[Arm, Side])


def sides_text(sides: Mapping[Arm, Side]) -> str:
    return msgspec.json.encode(sides).decode()


def result_row(
    vault: Vault, replay_id: str, number: int, arm: Arm, answer: InnerAnswer, text_room_bytes: int
) -> ResultRow:
    """What is kept of an answer; no more of its text than there is room for."""
    status, error_code = answer.status, ""
    try:
        text = answer.text() if answer.is_whole or status != ANSWERED else _too_long()
    except (ValueError, RecursionError) as error:
        status, error_code, text = 502, UNREADABLE, str(error)
    if status != ANSWERED and not error_code:
        error_code = answer.error()[0][:200]
    encoded = text.encode()
    kept = encoded[: max(0, min(TEXT_BYTES_MAX, text_room_bytes))]
    return ResultRow(
        number=number,
        arm=arm.value,
        status=status,
        error_code=error_code,
        digest=hashlib.sha256(encoded).hexdigest(),
        text_bytes=len(encoded),
        is_cut=int(len(kept) < len(encoded)),
        cost_nano_usd=answer.cost_nano_usd,
        cost_basis=answer.cost_basis,
        duration_us=answer.duration_us,
        request_id=answer.request_id,
        model=answer.model,
        sealed=vault.seal_private(_place(replay_id, number, arm.value), kept),
    )


def result_of(vault: Vault, replay_id: str, row: ResultRow) -> CaseResult:
    """A row, opened.

    Raises:
        SealBroken: if the database was written under another master key, or altered.
    """
    kept = vault.open_private(_place(replay_id, row.number, row.arm), row.sealed)
    return _result(row, kept.decode("utf-8", "ignore"))


def figures_by_case(database: Database, row: ReplayRow) -> Iterator[dict[Arm, CaseResult]]:
    """As `results_by_case` without texts: quick, for a replay that is looked at while it runs."""
    with database.read() as tx:
        found = read_figures(tx, row.id)
    for _, results in groupby(found, key=lambda one: one.number):
        yield {Arm(one.arm): _result(one, "") for one in results}


def _result(row: ResultRow, text: str) -> CaseResult:
    return CaseResult(
        case=row.number,
        arm=Arm(row.arm),
        status=row.status,
        error_code=row.error_code,
        text=text,
        is_cut=bool(row.is_cut),
        digest=row.digest,
        text_bytes=row.text_bytes,
        cost_nano_usd=row.cost_nano_usd,
        cost_basis=row.cost_basis,
        duration_us=row.duration_us,
        request_id=row.request_id,
        model=row.model,
    )


def results_by_case(database: Database, vault: Vault, row: ReplayRow) -> Iterator[dict[Arm, CaseResult]]:
    """What each case brought, in order; cases that nobody was asked are left out."""
    # Each block is a transaction of its own: what is there never changes, and whoever reads may take its time.
    for start in range(0, row.cases, RESULTS_AT_ONCE):
        with database.read() as tx:
            block = read_results(tx, row.id, start, start + RESULTS_AT_ONCE)
        by_case: dict[int, dict[Arm, CaseResult]] = {}
        for one in block:
            by_case.setdefault(one.number, {})[Arm(one.arm)] = result_of(vault, row.id, one)
        yield from by_case.values()


def _too_long() -> str:
    raise ValueError("the answer is longer than what is read")


def _place(replay_id: str, number: int, arm: str) -> str:
    return f"replays/{replay_id}/{number}/{arm}"
