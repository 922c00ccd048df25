"""A commit whose answer is lost: it took place, and control does not know; replays and evals go on all the same."""

from collections.abc import Callable

from control.test_control_eval_runs import ANSWERS, asked, begun, ended, judged, when_judged
from control.test_control_replay_runner import CONTENT, Gateway, good, run, spec
from lineclear.testing.control_plane import ControlPlane
from lineclear.testing.lost_commits import LostCommits
from lineclear.testing.manifests import SUPPORT
from lineclear.testing.postgres import PostgresCluster

Open = Callable[..., ControlPlane]


def prepared(plane: ControlPlane) -> Gateway:
    plane.apply(SUPPORT + "---\nkind: App\nname: shop\nteam: support\nroutes: ['*']\n")
    plane.replays.datasets.add("questions", "support", CONTENT, "anna")
    gateway = Gateway(plane)
    gateway.open()
    return gateway


def test_a_result_that_was_kept_unheard_is_kept_once(open_plane: Open, postgres: PostgresCluster) -> None:
    with LostCommits(postgres.fresh_url(), b"INSERT INTO replay_results") as between:
        plane = open_plane(database_url=between.url).start()
        gateway = prepared(plane)
        state, reason, id_ = run(plane, spec())
        assert between.lost >= 1, "the answer of no commit was lost"
        assert (state, reason) == ("completed", "every case was asked")
        assert len(gateway.calls) == 24
        assert plane.replays.show(id_).spent_nano_usd == 24_000
        gateway.close()
        plane.close()


def test_scores_that_were_kept_unheard_are_kept_once(open_plane: Open, postgres: PostgresCluster) -> None:
    with LostCommits(postgres.fresh_url(), b"INSERT INTO eval_scores") as between:
        plane = open_plane(database_url=between.url).start()
        gateway = prepared(plane)
        gateway.says = when_judged(lambda: good("8"))
        id_ = begun(plane, asked())
        assert ended(plane.evals, id_)[0] == "completed"
        assert between.lost >= 1, "the answer of no commit was lost"
        assert judged(gateway) == ANSWERS
        assert plane.evals.show(id_).row.spent_nano_usd == ANSWERS * 1_000
        gateway.close()
        plane.close()
