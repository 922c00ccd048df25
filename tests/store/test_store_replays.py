"""Rows of datasets and replays, on each kind of database."""

from dataclasses import replace

import pytest

from lineclear.store import replay_rows as rows
from lineclear.store.database import Database
from lineclear.store.migrate import Lineage, migrate
from lineclear.store.replay_rows import ArmSum, DatasetRow, ReplayRow, ResultRow

DATASET = DatasetRow("questions", "a" * 64, "support", 2, 30, 1, "anna")
REPLAY = ReplayRow(
    "rp_1", "replay", "live", "chat", "shop", "questions", "a" * 64, "support", 3, "{}", 10**12, "", "waiting", "", "",
    1, "anna", 0,
)  # fmt: skip
RESULT = ResultRow(0, "stable", 200, "", "d" * 64, 10, 0, 5_000_000_000, "priced", 1_000, "req_1", "m@1", b"sealed")


@pytest.fixture
def migrated(database: Database) -> Database:
    migrate(database, Lineage.CONTROL)
    return database


def test_datasets_come_by_name_and_newest_first(migrated: Database) -> None:
    newer, other = replace(DATASET, digest="b" * 64, created_us=2), replace(DATASET, name="answers")
    with migrated.write() as tx:
        for row in (DATASET, newer, other):
            rows.add_dataset(tx, row, b"content of " + row.name.encode())
    with migrated.read() as tx:
        assert rows.read_datasets(tx) == [other, newer, DATASET]
        assert rows.read_datasets(tx, "questions") == [newer, DATASET]
        assert rows.read_dataset_content(tx, "questions", "b" * 64) == b"content of questions"
        assert rows.read_dataset_content(tx, "questions", "c" * 64) is None
    with migrated.write() as tx:
        rows.delete_dataset(tx, "questions", "b" * 64)
        assert rows.read_datasets(tx) == [other, DATASET]


def test_a_replay_moves_only_from_where_it_is_thought_to_be(migrated: Database) -> None:
    with migrated.write() as tx:
        rows.add_replay(tx, REPLAY)
        assert rows.move_replay(tx, replace(REPLAY, state="running"), ["waiting"])
        assert not rows.move_replay(tx, replace(REPLAY, state="stopped"), ["waiting"])
        assert rows.read_replays_in(tx, ["running"]) == [replace(REPLAY, state="running")]
        assert rows.read_replay(tx, "rp_2") is None


def test_results_are_summed_by_arm(migrated: Database) -> None:
    found = [
        RESULT,
        replace(RESULT, arm="candidate", status=500, cost_nano_usd=None),
        replace(RESULT, number=2),
        replace(RESULT, number=1),
    ]
    with migrated.write() as tx:
        rows.add_replay(tx, REPLAY)
        for row in found:
            rows.add_results(tx, "rp_1", [row])
    with migrated.read() as tx:
        assert rows.sum_results(tx, ["rp_1", "rp_2"]) == {
            ("rp_1", "stable"): ArmSum(3, 3, 15_000_000_000),
            ("rp_1", "candidate"): ArmSum(1, 0, 0),
        }
        assert [(one.number, one.arm) for one in rows.read_results(tx, "rp_1", 0, 2)] == [
            (0, "candidate"),
            (0, "stable"),
            (1, "stable"),
        ]
        assert rows.read_figures(tx, "rp_1")[1] == replace(RESULT, sealed=b"")


def test_old_replays_go_with_their_results_and_open_ones_stay(migrated: Database) -> None:
    with migrated.write() as tx:
        for number in range(5):
            state = "running" if number == 0 else "completed"
            rows.add_replay(tx, replace(REPLAY, id=f"rp_{number}", created_us=number, state=state))
            rows.add_results(tx, f"rp_{number}", [RESULT])
        assert rows.delete_replays_beyond(tx, 2, ["completed", "failed"]) == 2
        assert [row.id for row in rows.read_replays(tx)] == ["rp_4", "rp_3", "rp_0"]
        assert {name for name, _ in rows.sum_results(tx, [f"rp_{number}" for number in range(5)])} == {
            "rp_4",
            "rp_3",
            "rp_0",
        }
