"""Evals and replays as gates of rollouts.

In: what a rollout stands at. Out: a run for it, and where that is. Decides nothing.
"""

from collections.abc import Collection

import msgspec

from lineclear.control.endpoint import Refused
from lineclear.control.evals.runs import EvalAsked, EvalRuns
from lineclear.control.rollouts.gates import GateRun
from lineclear.domain.evals import EvalSpec
from lineclear.domain.replay import Side
from lineclear.domain.rollout import GateResult, GateVerdict


class EvalGates:
    """A `GateRunner` for steps of kind eval and replay."""

    def __init__(self, runs: EvalRuns) -> None:
        self._runs = runs

    def begin(self, run: GateRun) -> None:
        """As `GateRunner.begin`."""
        self._runs.begin(
            EvalAsked(
                run.id,
                run.kind,
                msgspec.json.decode(run.asked, type=EvalSpec),
                run.environment,
                run.route,
                Side(run.environment, run.stable),
                Side(run.environment, run.candidate),
                run.rollout,
                run.actor,
            )
        )

    def result(self, run_id: str) -> GateResult | None:
        """As `GateRunner.result`."""
        try:
            standing = self._runs.show(run_id)
        except Refused:
            return None
        verdict = GateVerdict.RUNNING if standing.is_open else GateVerdict(standing.row.verdict)
        return GateResult(verdict, standing.words)

    def keep_only(self, run_ids: Collection[str]) -> None:
        """As `GateRunner.keep_only`."""
        self._runs.keep_only(run_ids)
