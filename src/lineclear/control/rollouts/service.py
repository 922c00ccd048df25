"""Rollouts as control carries them out: one look at a time, and what a person asks for.

In: the publisher, the ledger, evidence. Out: what stands, and moves of it. Every move is worked out by
`domain.rollout` and written with a compare-and-set, so that a look, a person and a change never overwrite each other.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol

import msgspec
from sqlalchemy import Connection

from lineclear.config.rollout_rules import IMMEDIATE
from lineclear.control import audit
from lineclear.control import under_way as stored
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.folding import Overrides
from lineclear.control.publish import Publisher, read_desired
from lineclear.control.releases import Release, move, release_id
from lineclear.control.rollouts.baseline import SAMPLE_MIN, Baseline, baseline
from lineclear.control.rollouts.gates import GateRunners, result_of, run_of
from lineclear.control.rollouts.planner import RoutePlan, route_plan
from lineclear.control.rollouts.shadow import ShadowGates
from lineclear.control.scopes import scope_of_route
from lineclear.control.under_way import PLATFORM_ACTOR, Stored
from lineclear.domain import rollout as rules
from lineclear.domain.access import Scope
from lineclear.domain.entry import day_of
from lineclear.domain.evidence import Arm
from lineclear.domain.floor import FLOOR_DEFAULT
from lineclear.domain.rollout import GateResult, NotPossible, Progress, RolloutState, StepKind
from lineclear.domain.signals import Guard, RolloutEvidence, SignalPlan
from lineclear.store import control_rows as rows
from lineclear.store import rollout_rows
from lineclear.store.ledger import Ledger
from lineclear.store.rollout_rows import RolloutRow

MEASURE_AGAIN_US: Final = 5_000_000
"""A rollout that cannot begin yet looks at stable's requests so often."""

_log = logging.getLogger(__name__)


class EvidenceOf(Protocol):
    """Where evidence comes from."""

    def evidence(self, plan: SignalPlan) -> RolloutEvidence:
        """Everything known about a rollout now."""
        ...

    def keep_only(self, rollouts: Collection[str]) -> None:
        """Forget what was read of every other rollout."""
        ...


class Overtaken(Exception):
    """The rollout was moved by somebody else meanwhile; the next look sees that."""


@dataclass(frozen=True)
class Standing:
    """One rollout with everything known about it now."""

    stored: Stored
    evidence: RolloutEvidence | None
    """None before its first step, and for one that has ended: then the row has what was known."""
    why: tuple[str, ...]
    """Why it does not go on."""
    scope: Scope
    gate: GateResult | None = None
    """Where the run of the gate is that it stands at; None at no gate, and before the run was begun."""


class Rollouts:
    """Looks after every rollout that is under way."""

    def __init__(
        self,
        publisher: Publisher,
        ledger: Ledger,
        signals: EvidenceOf,
        overrides: Overrides,
        gates: GateRunners | None = None,
    ) -> None:
        self._publisher = publisher
        self._gates: GateRunners = {StepKind.SHADOW: ShadowGates(ledger, publisher.clock), **(gates or {})}
        self._overrides = overrides
        self._to_end: dict[str, tuple[Stored, str]] = {}
        """Rolled back by a guard, by id, with its words, where gateways could not be told yet."""
        self._ledger = ledger
        self._signals = signals
        self._measured_us: dict[str, tuple[int, Baseline]] = {}
        self._runs: dict[str, str] = {}
        """What is run for each open rollout that could be read, by id; empty at no gate."""

    # what a look does

    def look(self, catch_up: Callable[[], object] = lambda: None) -> dict[str, Exception]:
        """Judge every rollout that is open, and move those that are ready for it.

        Args:
            catch_up: brings what gateways wrote into the ledger; called if a rollout is open, for nobody else needs it.

        Returns:
            Those that could not be judged or moved, in words, with what was wrong. None keeps another one waiting.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: if the database cannot say which are open.
            Exception: whatever `catch_up` raises; nothing is judged then.
        """
        troubles: dict[str, Exception] = {}
        for one, words in list(self._to_end.values()):
            with _told(_name(one.row), troubles):
                self._end_at_gateways(one, words)
        with self._publisher.database.read() as tx:
            found = list(rollout_rows.open_rollouts(tx).values())
        self._signals.keep_only([row.id for row in found])
        if found:
            catch_up()
        self._measured_us = {row.id: self._measured_us[row.id] for row in found if row.id in self._measured_us}
        self._runs = {row.id: self._runs[row.id] for row in found if row.id in self._runs}
        for row in found:
            with _told(_name(row), troubles):
                one = stored.read(row)
                run = run_of(one)
                self._runs[row.id] = "" if run is None else run.id
                self._look_at(one)
        if len(self._runs) == len(found):
            # Of one that was never read nobody knows which runs are its own.
            with _told("the runs of rollouts that ended", troubles):
                for runner in self._gates.values():
                    runner.keep_only(self._runs.values())
        return troubles

    def _look_at(self, one: Stored) -> None:
        now_us = self._publisher.clock.unix_us()
        evidence = None
        if one.progress.step < 0:
            moved = self._begun(one, now_us)
        else:
            evidence = self._evidence(one)
            gate = result_of(self._gates, one, begin=True)
            moved = replace(one, progress=rules.advanced(one.course, one.progress, evidence, now_us, gate))
        if moved == one:
            return
        try:
            self._commit(one, moved, evidence, PLATFORM_ACTOR)
        except Overtaken:
            if moved.progress.by_guard:
                # Not taken back yet, so this look does not vouch for it.
                raise
            return
        except Exception as error:
            if not moved.progress.by_guard:
                raise
            if self._end_at_gateways(one, moved.progress.reason):
                _log.warning("rollout %s is rolled back by the journal: %s", one.row.id, error, exc_info=True)
            return
        _log.info("rollout %s of %s in %s: %s", one.row.id, one.row.route, one.row.environment, moved.progress.reason)

    def _end_at_gateways(self, one: Stored, words: str) -> bool:
        """Give stable all traffic by the override journal, which needs no database; folding it ends the rollout.

        Returns:
            Whether it had to be written; False if the candidate has no traffic already.

        Raises:
            Refused: the journal cannot be written either; the next look tries again.
        """
        row = one.row
        self._to_end[row.id] = one, words
        ended = self._overrides.do(
            lambda desk: desk.end_rollout(row.environment, row.route, row.id, PLATFORM_ACTOR, words)
        )
        del self._to_end[row.id]
        return ended.changed

    def _begun(self, one: Stored, now_us: int) -> Stored:
        """With its thresholds frozen and its first step begun; as it is while that is not possible."""
        if one.progress.state is not RolloutState.PENDING:
            return one
        measured = self._baseline(one, now_us)
        return one if _gaps(one, measured) else _frozen(one, measured, now_us)

    def _baseline(self, one: Stored, now_us: int) -> Baseline:
        at_us, measured = self._measured_us.get(one.row.id, (0, None))
        if measured is None or now_us - at_us >= MEASURE_AGAIN_US:
            row = one.row
            measured = baseline(self._ledger, row.environment, row.route, release_id(row.stable), now_us)
            self._measured_us[row.id] = (now_us, measured)
        return measured

    def _evidence(self, one: Stored) -> RolloutEvidence | None:
        if one.plan is None:
            return None
        found = self._signals.evidence(one.plan)
        kept = kept_evidence(one)
        # What was counted once stays counted, so fewer requests than before were taken out of the ledger.
        lost = 0 if kept is None else sum(kept.requests.total(arm) - found.requests.total(arm) for arm in Arm)
        return msgspec.structs.replace(found, lost=lost) if lost > 0 else found

    def _commit(self, was: Stored, now: Stored, evidence: RolloutEvidence | None, actor: str) -> None:
        """Write a move with everything that follows from it.

        Raises:
            Overtaken: somebody else moved the rollout, or its deployment.
        """

        def work(tx: Connection) -> None:
            at_us = self._publisher.clock.unix_us()
            kept = stored.text_of(evidence) if evidence is not None and not evidence.lost else was.row.evidence
            if not stored.put(tx, replace(was, plan=now.plan), now.progress, at_us, kept):
                raise Overtaken("somebody else moved it meanwhile")
            events = [*stored.transition_events(was, now.progress)]
            if now.progress.state is RolloutState.COMPLETED:
                events.append(self._complete(tx, was, at_us))
            elif not now.progress.is_open:
                self._touch(tx, was, at_us)
            audit.record(tx, self._publisher.clock, actor, [replace(e, change_id=was.row.change_id) for e in events])

        self._publisher.commit(f"rollout {was.row.id}: {now.progress.state.value}", work)

    def _complete(self, tx: Connection, one: Stored, at_us: int) -> AuditEvent:
        """Make the candidate the stable release; what was stable is the first that a rollback takes."""
        key = (one.row.environment, one.row.route)
        was = rows.read_deployments(tx).get(key)
        release = Release(one.row.candidate, one.row.route, "")
        row = None if was is None else move(was, one.row.environment, release, one.row.change_id, at_us)
        if was is None or row is None or was.stable != one.row.stable or not rows.move_deployment(tx, row):
            raise Overtaken
        return AuditEvent(
            AuditAction.DEPLOYMENT_MOVED,
            f"deployment/{key[0]}/{key[1]}",
            release_id(was.stable),
            release_id(row.stable),
            f"rollout {one.row.id} was completed",
        )

    def _touch(self, tx: Connection, one: Stored, at_us: int) -> None:
        """A new generation of the deployment: plans and changes that saw the rollout under way are stale."""
        was = rows.read_deployments(tx).get((one.row.environment, one.row.route))
        if was is None or not rows.move_deployment(tx, replace(was, generation=was.generation + 1, updated_us=at_us)):
            raise Overtaken

    # what people ask

    def listed(self, row_limit: int) -> list[Standing]:
        """Newest first, without their evidence."""
        with self._publisher.database.read() as tx:
            found = [stored.read(row) for row in rollout_rows.read_rollouts(tx, row_limit)]
            desired = read_desired(tx)
        return [Standing(one, None, (), scope_of_route(desired, one.row.environment, one.row.route)) for one in found]

    def show(self, rollout_id: str) -> Standing:
        """One with its evidence as it is now, or as it was when it ended.

        Raises:
            Refused: `not_found`.
        """
        with self._publisher.database.read() as tx:
            row = rollout_rows.read_rollout(tx, rollout_id)
            desired = read_desired(tx)
        if row is None:
            raise unknown(rollout_id)
        one = stored.read(row)
        evidence = self._evidence(one) if one.progress.is_open else kept_evidence(one)
        now_us = self._publisher.clock.unix_us()
        gate = result_of(self._gates, one, begin=False)
        why = rules.why_not_advancing(one.course, one.progress, evidence, now_us, gate)
        if one.progress.state is RolloutState.PENDING:
            why = tuple(f"it has not begun: {gap}" for gap in _gaps(one, self._baseline(one, now_us)))
        return Standing(one, evidence, why, scope_of_route(desired, row.environment, row.route), gate)

    def plan(self, environment: str, route: str, name: str | None) -> tuple[Scope, Callable[[], RoutePlan]]:
        """Where a route lies, and what a rollout of it would find out; the one that it names if none is named.

        Raises:
            Refused: `not_found` if there is no such route or rollout, `invalid_request` if the route names none.
        """
        with self._publisher.database.read() as tx:
            desired = read_desired(tx)
            deployment = rows.read_deployments(tx).get((environment, route))
        known = desired.routes.get(route)
        if known is None or environment not in known.environments or deployment is None:
            raise Refused(AdminCode.NOT_FOUND, f"there is no route {route!r} in {environment}")
        named = name or known.environments[environment].rollout
        if named == IMMEDIATE:
            raise Refused(
                AdminCode.INVALID_REQUEST,
                f"changes of route {route!r} in {environment} reach everybody at once: it names no rollout",
                hint="name one: `lineclear rollouts plan ROUTE --rollout NAME`",
            )
        if named not in desired.rollouts:
            raise Refused(AdminCode.NOT_FOUND, f"there is no kind Rollout named {named!r}")
        course = stored.course_of(desired.rollouts[named], desired.evals)

        def made() -> RoutePlan:
            now_us = self._publisher.clock.unix_us()
            measured = baseline(self._ledger, environment, route, release_id(deployment.stable), now_us)
            return route_plan(course, environment, route, measured)

        return scope_of_route(desired, environment, route), made

    def pause(self, rollout_id: str, actor: str, reason: str) -> Standing:
        """Hold it until somebody resumes it.

        Raises:
            Refused: `not_found`, or `conflict` if it does not fit its state.
        """
        return self._act(rollout_id, actor, lambda one, _, __: rules.paused(one.progress, _words(actor, reason)))

    def resume(self, rollout_id: str, actor: str, reason: str) -> Standing:
        """Go on although it was held; guards that suspect something have been seen and do not hold it again.

        Raises:
            Refused: as `pause`.
        """
        return self._act(
            rollout_id,
            actor,
            lambda one, evidence, now_us: rules.resumed(
                one.course, one.progress, evidence, _words(actor, reason), now_us
            ),
        )

    def advance(self, standing: Standing, actor: str, reason: str) -> Standing:
        """The next step now, or the first one without what could not be measured.

        Args:
            standing: where it stood when the actor was let in; if it has moved on since, nothing is done.
            actor: who says so.
            reason: why.

        Raises:
            Refused: as `pause`.
        """
        one = standing.stored
        if one.progress.state is RolloutState.PENDING:
            now_us = self._publisher.clock.unix_us()
            return self._acted(one, _frozen(one, self._baseline(one, now_us), now_us), None, actor)
        words = _words(actor, reason)
        return self._act_on(
            standing, actor, lambda one, _, now_us: rules.stepped(one.course, one.progress, words, now_us)
        )

    def run_again(self, rollout_id: str, actor: str, reason: str) -> Standing:
        """Run the gate that holds it once more, from its beginning.

        Raises:
            Refused: as `pause`.
        """
        return self._act(
            rollout_id,
            actor,
            lambda one, _, now_us: rules.run_again(one.course, one.progress, _words(actor, reason), now_us),
        )

    def roll_back(self, rollout_id: str, actor: str, reason: str) -> Standing:
        """Stable alone serves again.

        Raises:
            Refused: as `pause`.
        """
        return self._act(rollout_id, actor, lambda one, _, __: rules.rolled_back(one.progress, _words(actor, reason)))

    def _act(
        self, rollout_id: str, actor: str, step: Callable[[Stored, RolloutEvidence | None, int], Progress]
    ) -> Standing:
        return self._act_on(self.show(rollout_id), actor, step)

    def _act_on(
        self, standing: Standing, actor: str, step: Callable[[Stored, RolloutEvidence | None, int], Progress]
    ) -> Standing:
        one = standing.stored
        try:
            progress = step(one, standing.evidence, self._publisher.clock.unix_us())
        except NotPossible as error:
            hint = ""
            if one.progress.state is RolloutState.COMPLETED:
                hint = f"`lineclear rollback {one.row.route} -e {one.row.environment}` brings the release before back"
            raise Refused(AdminCode.CONFLICT, f"rollout {one.row.id}: {error}", hint=hint) from error
        return self._acted(one, replace(one, progress=progress), standing.evidence, actor)

    def _acted(self, was: Stored, now: Stored, evidence: RolloutEvidence | None, actor: str) -> Standing:
        if now != was:
            try:
                self._commit(was, now, evidence, actor)
            except Overtaken as error:
                raise Refused(
                    AdminCode.CONFLICT,
                    f"rollout {was.row.id} was moved meanwhile",
                    hint=f"look at it again: `lineclear rollouts show {was.row.id}`",
                ) from error
        return self.show(was.row.id)


@contextmanager
def _told(what: str, troubles: dict[str, Exception]) -> Iterator[None]:
    """Whatever is wrong with one rollout is noted, and is no other one's trouble."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - unknown trouble with one must not leave the others unguarded
        troubles[what] = error


def _name(row: RolloutRow) -> str:
    return f"rollout {row.id} of route {row.route} in {row.environment}"


def unknown(rollout_id: str) -> Refused:
    """What is said of a rollout that is not there, or that the caller may not see."""
    return Refused(AdminCode.NOT_FOUND, f"there is no rollout {rollout_id!r}", hint="`lineclear rollouts list`")


def kept_evidence(one: Stored) -> RolloutEvidence | None:
    """What was known at the last transition; None if nothing was."""
    return msgspec.json.decode(one.row.evidence, type=RolloutEvidence) if one.row.evidence else None


def _gaps(one: Stored, measured: Baseline) -> list[str]:
    """What cannot be frozen yet."""
    watched = {item.guard for item in one.course.guards}
    gaps = []
    if Guard.SLOW in watched and measured.slow_us is None:
        gaps.append(
            f"guard slow needs {SAMPLE_MIN} answered requests of stable, there are {len(measured.durations_us)}"
        )
    if Guard.COST in watched and measured.cost_cap_nano_usd is None:
        priced = sum(cost > 0 for cost in measured.costs_nano_usd)
        gaps.append(f"guard cost needs {SAMPLE_MIN} requests of stable that cost something, there are {priced}")
    return gaps


def _frozen(one: Stored, measured: Baseline, now_us: int) -> Stored:
    """With its plan and its first step."""
    watched = {item.guard: item for item in one.course.guards}
    cost = watched.get(Guard.COST)
    plan = SignalPlan(
        one.row.id,
        day_of(now_us),
        measured.slow_us if Guard.SLOW in watched else None,
        None if cost is None else measured.cost_cap_nano_usd,
    )
    if cost is not None:
        plan = msgspec.structs.replace(plan, cost_rho=cost.ratio)
    reviewed = watched.get(Guard.REVIEW)
    if reviewed is not None:
        floor = FLOOR_DEFAULT if reviewed.floor is None else reviewed.floor
        plan = msgspec.structs.replace(plan, review_rho=reviewed.ratio, review_floor=floor)
    return replace(one, plan=plan, progress=rules.begun(one.course, one.progress, now_us))


def _words(actor: str, reason: str) -> str:
    return f"by {actor}: {reason}" if reason else f"by {actor}"
