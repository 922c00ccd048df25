"""What is run for the gates of a rollout: begun once, asked for its verdict, ended with the rollout.

In: where a rollout stands. Out: where the run of its gate is. Each kind of gate has a runner of its own; none decides
what follows from a verdict: `domain.rollout` does.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from lineclear.control.endpoint import Refused
from lineclear.control.under_way import Stored
from lineclear.domain import rollout as rules
from lineclear.domain.rollout import GateResult, GateVerdict, Hold, StepKind


@dataclass(frozen=True)
class GateRun:
    """One run of one gate; the id is the same however often it is asked for."""

    id: str
    kind: StepKind
    asked: str
    """JSON of what to run, as it was when the rollout began."""
    rollout: str
    environment: str
    route: str
    stable: str
    """Digests."""
    candidate: str
    actor: str
    """Who began the rollout."""


class GateRunner(Protocol):
    """Who runs the gates of one kind. Its answers come from memory or the database, without waiting for a model."""

    def begin(self, run: GateRun) -> None:
        """Begin it; nothing if it was begun before, by an earlier process too.

        Raises:
            Refused: it cannot be run; the gate is inconclusive then.
        """
        ...

    def result(self, run_id: str) -> GateResult | None:
        """Where it is; None if it was never begun."""
        ...

    def keep_only(self, run_ids: Collection[str]) -> None:
        """End every other run that was begun for a rollout: what it would find out is of no use any more."""
        ...


GateRunners: TypeAlias = Mapping[StepKind, GateRunner]


def run_of(one: Stored) -> GateRun | None:
    """What has to be run for where a rollout stands; None if it stands at no gate."""
    step = rules.gate_of(one.course, one.progress)
    if step is None:
        return None
    row, progress = one.row, one.progress
    return GateRun(
        rules.gate_run(row.id, progress),
        step.kind,
        step.gate,
        row.id,
        row.environment,
        row.route,
        row.stable,
        row.candidate,
        row.created_by,
    )


def result_of(runners: GateRunners, one: Stored, *, begin: bool) -> GateResult | None:
    """Where the gate is at which a rollout stands; None if it stands at none, or if nothing was begun for it.

    Args:
        runners: by kind of gate.
        one: the rollout.
        begin: whether to begin what was not begun. A rollout that a person holds begins nothing.
    """
    run = run_of(one)
    if run is None:
        return None
    runner = runners.get(run.kind)
    if runner is None:
        return GateResult(GateVerdict.INCONCLUSIVE, f"nothing here runs gates of kind {run.kind.value}")
    found = runner.result(run.id)
    if found is not None or not begin or one.progress.hold is Hold.MANUAL:
        return found
    try:
        runner.begin(run)
    except Refused as error:
        return GateResult(GateVerdict.INCONCLUSIVE, error.message)
    return runner.result(run.id)
