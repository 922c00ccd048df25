"""Gates of a route's first release: nothing serves there yet, so it is judged by itself, where it serves already.

In: a prepared change, the runs of evals. Out: why a first release does not go live yet, and which steps of its rollout
find nothing to compare it with; of later releases, which gates take cases that no approval covers. The runs are started
by people; nothing is begun here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection

from lineclear.control.changes.plan import Prepared
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.releases import release_id
from lineclear.control.replays.datasets import DIGEST_HEX, find_in
from lineclear.domain.evals import EvalSpec, spec_of_eval
from lineclear.domain.evidence import Arm
from lineclear.domain.manifest import Eval, Rollout
from lineclear.domain.pairs import PairVerdict
from lineclear.domain.replay import Side
from lineclear.store import eval_rows, replay_rows
from lineclear.store.eval_rows import EvalRow
from lineclear.store.replay_rows import DatasetRow


@dataclass(frozen=True)
class FirstGate:
    """What stands between a first release and its callers, or does not although its rollout names it."""

    words: str
    is_in_the_way: bool
    hint: str = ""
    """How it is passed."""


def first_gates(tx: Connection, prepared: Prepared) -> tuple[FirstGate, ...]:
    """What the gates of a change's releases show so far, by environment and route."""
    found: list[FirstGate] = []
    for (environment, route), release in sorted(prepared.releases.items()):
        wanted = prepared.wanted
        rollout = wanted.rollouts.get(wanted.routes[route].environments[environment].rollout)
        if rollout is None:
            continue
        protection = prepared.move.before.environments.get(environment) or wanted.environments[environment]
        if (environment, route) in prepared.move.deployments:
            if protection.approvals > 0:
                found += _unpinned(environment, route, rollout, wanted.evals)
            continue
        serving = prepared.move.deployments.items()
        tried_in = next((where for (where, name), row in serving if name == route and row.stable == release.digest), "")
        first = _First(environment, route, release.digest, rollout, tried_in, is_protected=protection.approvals > 0)
        found += _gates(tx, first, [wanted.evals[step.eval] for step in rollout.steps if step.eval is not None])
    return tuple(found)


def refuse_ungated(tx: Connection, prepared: Prepared) -> None:
    """Let no first release go live whose gates were not passed.

    Raises:
        Refused: `gate_not_passed`, with what has to be run.
    """
    for gate in first_gates(tx, prepared):
        if gate.is_in_the_way:
            raise Refused(AdminCode.GATE_NOT_PASSED, gate.words, hint=gate.hint)


@dataclass(frozen=True)
class _First:
    """One release that would be the first of its route in an environment."""

    environment: str
    route: str
    digest: str
    rollout: Rollout
    tried_in: str
    """An environment where it serves already; empty if it serves nowhere."""
    is_protected: bool

    @property
    def words(self) -> str:
        return f"{release_id(self.digest)} would be the first release of route {self.route!r} in {self.environment}"


def _gates(tx: Connection, first: _First, evals: list[Eval]) -> Iterator[FirstGate]:
    judging = [one for one in evals if one.at_least is not None]
    for one in judging:
        yield _judged(tx, first, one)
    named = [kind for kind in ("shadow", "replay") if any(getattr(step, kind) for step in first.rollout.steps)]
    named += [f"eval {one.name}" for one in evals if one not in judging]
    if not named:
        return
    words = (
        f"{first.words}: nothing serves there that {', '.join(named)} of its rollout {first.rollout.name!r} "
        "could compare it with"
    )
    if judging or not first.is_protected:
        yield FirstGate(f"{words}; it goes without", is_in_the_way=False)
        return
    yield FirstGate(
        f"{words}, and {first.environment} is protected",
        is_in_the_way=True,
        hint="give an Eval of the rollout `at_least`, so that a release can be judged by itself; "
        "or let the route name its rollout with its second release",
    )


def _unpinned(environment: str, route: str, rollout: Rollout, evals: Mapping[str, Eval]) -> Iterator[FirstGate]:
    """Of a later release: gates whose cases nobody approves, since they are those of the day when the gate is run."""
    datasets = [evals[step.eval].dataset for step in rollout.steps if step.eval is not None]
    datasets += [step.replay.dataset for step in rollout.steps if step.replay is not None]
    for name in sorted({name for name in datasets if "@" not in name}):
        yield FirstGate(
            f"a gate of rollout {rollout.name!r} of route {route!r} in {environment} takes the cases that dataset "
            f"{name!r} holds when it is run, and {environment} is protected: "
            f"with `{name}@DIGEST` the approval covers them",
            is_in_the_way=False,
        )


def _hint(first: _First, name: str) -> str:
    run = f"lineclear evals run {name} --route {first.route} -e {first.environment} --candidate-from"
    if first.tried_in:
        return f"judge it: `{run} {first.tried_in} --wait`; apply this again once it has passed"
    return (
        f"apply the Eval and the route without {first.environment} first, so that exactly this release serves in "
        f"another environment; judge it from there: `{run} ENVIRONMENT --wait`"
    )


def _judged(tx: Connection, first: _First, one: Eval) -> FirstGate:
    asks = f"{first.words}, and its rollout {first.rollout.name!r} asks for eval {one.name!r}"
    try:
        dataset = find_in(tx, one.dataset)
    except Refused as refused:
        return FirstGate(f"{asks}: {refused.message}", is_in_the_way=True, hint=refused.hint)
    named = f"{dataset.name}@{dataset.digest[:DIGEST_HEX]}"
    cases = f"{dataset.cases} {'case' if dataset.cases == 1 else 'cases'} of {named}"
    if first.is_protected and "@" not in one.dataset:
        # Who approves the change approves the cases with it: under a name alone they could be others afterwards.
        return FirstGate(
            f"{asks}, which names its dataset without a digest, and {first.environment} is protected: "
            f"write `dataset: {named}` ({cases})",
            is_in_the_way=True,
            hint=f"write `dataset: {named}` in Eval {one.name!r}, then judge the release by it",
        )
    last = _last_run(tx, first, spec_of_eval(one), dataset)
    if last is None:
        words = f"{asks}: this release was not judged by it as it stands, with {cases}"
    elif last.verdict != PairVerdict.PASS:
        words = f"{asks}: {last.verdict} in run {last.id}: {last.reason}"
    else:
        passed = f"eval {one.name!r} of its rollout {first.rollout.name!r} passed in run {last.id}, over {cases}"
        return FirstGate(f"{first.words}: {passed}", is_in_the_way=False)
    return FirstGate(words, is_in_the_way=True, hint=_hint(first, one.name))


def _last_run(tx: Connection, first: _First, spec: EvalSpec, dataset: DatasetRow) -> EvalRow | None:
    """The last run of the release, by the Eval and with the cases as they stand, that came to a verdict by itself.

    One that is under way, was stopped or broke off has no report: it neither passes a gate nor closes one again.
    """
    ended = [
        row
        for row in eval_rows.runs_of_deployment(tx, first.environment, first.route)
        if row.report and _is_of(tx, row, first, spec, dataset)
    ]
    return max(ended, key=lambda row: row.ended_us, default=None)


def _is_of(tx: Connection, row: EvalRow, first: _First, spec: EvalSpec, dataset: DatasetRow) -> bool:
    sides = msgspec.json.decode(row.sides, type=dict[Arm, Side])
    if Arm.STABLE in sides or sides[Arm.CANDIDATE].release != first.digest:
        return False
    if msgspec.json.decode(row.spec, type=EvalSpec) != spec:
        return False
    # The replay knows what was asked; the Eval may name a dataset that has held other cases since.
    replay = replay_rows.read_replay(tx, row.replay)
    return replay is not None and (replay.dataset, replay.dataset_digest) == (dataset.name, dataset.digest)
