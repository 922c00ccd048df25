"""Gates of a route's first release: nothing serves there yet, so it is judged by itself, where it serves already.

In: a prepared change, the runs of evals. Out: why a first release does not go live yet, and which steps of its rollout
find nothing to compare it with. The runs are started by people; nothing is begun here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection

from lineclear.control.changes.plan import Prepared
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.releases import release_id
from lineclear.domain.evals import EvalSpec, spec_of_eval
from lineclear.domain.evidence import Arm
from lineclear.domain.manifest import Eval, Rollout
from lineclear.domain.pairs import PairVerdict
from lineclear.domain.replay import Side
from lineclear.store import eval_rows
from lineclear.store.eval_rows import EvalRow


@dataclass(frozen=True)
class FirstGate:
    """What stands between a first release and its callers, or does not although its rollout names it."""

    words: str
    is_in_the_way: bool
    hint: str = ""
    """How it is passed."""


def first_gates(tx: Connection, prepared: Prepared) -> tuple[FirstGate, ...]:
    """The gates of every first release of a change that were not passed, by environment and route."""
    found: list[FirstGate] = []
    for (environment, route), release in sorted(prepared.releases.items()):
        wanted = prepared.wanted
        rollout = wanted.rollouts.get(wanted.routes[route].environments[environment].rollout)
        if rollout is None or (environment, route) in prepared.move.deployments:
            continue
        protection = prepared.move.before.environments.get(environment) or wanted.environments[environment]
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
        passed = _passed(tx, first, spec_of_eval(one))
        if passed:
            yield FirstGate(
                f"{first.words}, and its rollout {first.rollout.name!r} asks for eval {one.name!r}: {passed}",
                is_in_the_way=True,
                hint=_hint(first, one.name),
            )
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


def _hint(first: _First, name: str) -> str:
    run = f"lineclear evals run {name} --route {first.route} -e {first.environment} --candidate-from"
    if first.tried_in:
        return f"judge it: `{run} {first.tried_in} --wait`; apply this again once it has passed"
    return (
        f"apply the Eval and the route without {first.environment} first, so that exactly this release serves in "
        f"another environment; judge it from there: `{run} ENVIRONMENT --wait`"
    )


def _passed(tx: Connection, first: _First, spec: EvalSpec) -> str:
    """Why the release has not passed the Eval as it stands; empty if it has. The last run that ended decides."""
    for row in eval_rows.runs_of_deployment(tx, first.environment, first.route):
        sides = msgspec.json.decode(row.sides, type=dict[Arm, Side])
        if Arm.STABLE in sides or sides[Arm.CANDIDATE].release != first.digest or not _is_of(row, spec):
            continue
        if row.verdict == PairVerdict.PASS:
            return ""
        if row.verdict:
            return f"{row.verdict} in run {row.id}: {row.reason}"
        return f"run {row.id} is under way"
    return "this release was not judged by it as it stands"


def _is_of(row: EvalRow, spec: EvalSpec) -> bool:
    return msgspec.json.decode(row.spec, type=EvalSpec) == spec
