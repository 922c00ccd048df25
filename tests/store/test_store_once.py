"""What is written once may be written again as it was, and never as something else; on each kind of database."""

from dataclasses import replace

import pytest

from lineclear.store import eval_rows, replay_rows
from lineclear.store.database import Database
from lineclear.store.eval_rows import ScoreRow
from lineclear.store.migrate import Lineage, migrate
from lineclear.store.once import KeptOtherwise
from lineclear.store.replay_rows import ResultRow

RESULT = ResultRow(3, "stable", 200, "", "d" * 64, 10, 0, None, "priced", 1_000, "req_1", "m@1", b"sealed")
SCORES = [ScoreRow(0, "mine", "stable", 0.1, 5), ScoreRow(0, "mine", "candidate", None, 0)]


@pytest.fixture
def migrated(database: Database) -> Database:
    migrate(database, Lineage.CONTROL)
    return database


def test_a_result_is_kept_once(migrated: Database) -> None:
    other = replace(RESULT, arm="candidate")
    for found in ([RESULT], [RESULT], [RESULT, other], []):
        with migrated.write() as tx:
            replay_rows.add_results(tx, "rp_1", found)
    with pytest.raises(KeptOtherwise, match="3, 'stable'"), migrated.write() as tx:
        replay_rows.add_results(tx, "rp_1", [replace(RESULT, number=4), replace(RESULT, sealed=b"another")])
    with migrated.read() as tx:
        assert replay_rows.read_results(tx, "rp_1") == [other, RESULT]


def test_a_score_is_kept_once(migrated: Database) -> None:
    later = ScoreRow(7, "mine", "stable", 1.0, 5)
    for found in (SCORES, SCORES, [*SCORES, later], []):
        with migrated.write() as tx:
            eval_rows.add_scores(tx, "ev_1", found)
    with pytest.raises(KeptOtherwise, match="mine"), migrated.write() as tx:
        eval_rows.add_scores(tx, "ev_1", [replace(SCORES[0], score=0.2)])
    with migrated.read() as tx:
        assert sorted(eval_rows.read_scores(tx, "ev_1"), key=repr) == sorted([*SCORES, later], key=repr)
        assert eval_rows.read_scores(tx, "ev_1", 1, 8) == [later]
