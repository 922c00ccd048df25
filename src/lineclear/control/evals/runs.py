"""Runs of evals, and of the gates of rollouts that are like them: begun once, carried out, ended with a verdict.

In: what is to be shown of which releases. Out: where a run stands. The answers are a replay's, the scores the grader's,
the verdict `domain.evals`'. A restart of control goes on where a run was; only what was under way is asked again.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, TypeVar

import msgspec
from sqlalchemy import Connection

from lineclear.base.ids import random_id
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.evals.asking import Asker
from lineclear.control.evals.grading import Answers, Grader, Over, Purse
from lineclear.control.publish import Publisher, read_desired
from lineclear.control.releases import release_id
from lineclear.control.replays.datasets import find_in
from lineclear.control.replays.runner import RETRIED
from lineclear.control.replays.service import QueueFull, Replays, ReplaySpec
from lineclear.control.replays.service import Standing as ReplayStanding
from lineclear.control.scopes import scope_of_route
from lineclear.control.under_way import PLATFORM_ACTOR
from lineclear.domain.access import Scope
from lineclear.domain.alone import alone_report
from lineclear.domain.evals import EvalReport, EvalSpec, Scores, report_of, spec_of_eval
from lineclear.domain.evidence import Arm
from lineclear.domain.pairs import PairVerdict
from lineclear.domain.replay import ReplayState, Side
from lineclear.domain.rollout import StepKind
from lineclear.handover.inner_door import InnerPurpose
from lineclear.store import eval_rows as rows
from lineclear.store.eval_rows import EvalRow, ScoreRow

RUN_PREFIX: Final = "ev_"
REPLAY_PREFIX: Final = "rp_"
KEPT_MAX: Final = 500
"""Runs whose reports are kept; the oldest go first."""
RUNS_AT_ONCE: Final = 3
BY_HAND_AT_ONCE: Final = RUNS_AT_ONCE - 1
"""Of those that people start; a gate of a rollout never waits for people alone."""
BY_HAND_MAX: Final = 30
"""Runs under way or waiting that people started; one more is refused."""
BY_HAND_TEAM_MAX: Final = 5
"""Of one team."""
LOOK_S: Final = 0.5
IDLE_LOOK_S: Final = 10.0
"""How often a thread looks without being told of anything: whoever starts a run tells."""
CLOSE_S: Final = 10.0

_log = logging.getLogger(__name__)
_Made = TypeVar("_Made")


class EvalState(StrEnum):
    """Where a run is; the last three are its ends."""

    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"
    FAILED = "failed"


ENDS: Final = (EvalState.COMPLETED, EvalState.STOPPED, EvalState.FAILED)


@dataclass(frozen=True)
class EvalAsked:
    """What a run is begun with."""

    id: str
    """Empty = a new one."""
    kind: StepKind
    """EVAL or REPLAY."""
    spec: EvalSpec
    environment: str
    route: str
    stable: Side | None
    """None where nothing serves yet: the candidate is judged by itself."""
    candidate: Side
    rollout: str
    actor: str


@dataclass(frozen=True)
class EvalStanding:
    """One run with what is known of it now."""

    row: EvalRow
    spec: EvalSpec
    sides: Mapping[Arm, Side]
    report: EvalReport | None
    words: str
    """How far it is, or how it ended."""
    spent_nano_usd: int
    """By the releases and by judges."""
    scope: Scope
    """Of its route."""

    @property
    def is_open(self) -> bool:
        return self.row.state == EvalState.RUNNING


@dataclass
class _Active:
    team: str
    """Who started it by hand; empty for a gate of a rollout."""
    over: threading.Event = field(default_factory=threading.Event)
    grader: Grader | None = None
    """Once the answers are there."""


class EvalRuns:
    """Looks after every run."""

    def __init__(self, publisher: Publisher, replays: Replays, variables: Mapping[str, str]) -> None:
        """Nothing runs yet; `variables` is the server's environment, for checks in Python."""
        self._database = publisher.database
        self._clock = publisher.clock
        self._replays = replays
        self._variables = variables
        self._closing = threading.Event()
        self._poked = threading.Event()
        self._lock = threading.Lock()
        self._active: dict[str, _Active] = {}
        self._troubles: dict[str, str] = {}
        self._threads = [
            threading.Thread(target=self._work, name=f"evals-{number}", daemon=True) for number in range(RUNS_AT_ONCE)
        ]

    def open(self) -> None:
        """Begin; what was under way goes on."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End; the next control goes on."""
        self._closing.set()
        self._poked.set()
        with self._lock:
            for active in self._active.values():
                active.over.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(CLOSE_S)

    # what people and rollouts ask

    def spec(self, name: str) -> EvalSpec | None:
        """What an Eval asks for now; None if there is none of that name."""
        with self._database.read() as tx:
            found = read_desired(tx).evals.get(name)
        return None if found is None else spec_of_eval(found)

    def scopes(self, spec: EvalSpec, route: str, environments: Collection[str]) -> tuple[Scope, ...]:
        """Where whoever starts a run has to be allowed to: its route, its app and dataset, those that judge."""
        with self._database.read() as tx:
            desired = read_desired(tx)
            team = find_in(tx, spec.dataset).team
        named = [route, *(check.way.route for check in spec.checks if hasattr(check.way, "route"))]
        return (
            *(scope_of_route(desired, environment, name) for environment in environments for name in named),
            Scope(team=desired.apps[spec.app].team if spec.app in desired.apps else ""),
            Scope(team=team),
        )

    def begin(self, asked: EvalAsked) -> str:
        """Begin a run, once for each id.

        Returns:
            Its id.

        Raises:
            Refused: `not_found` for an app or dataset that is not there, `conflict` where they are of other teams, or
                where people have started too many.
        """
        id_ = asked.id or random_id(RUN_PREFIX)
        with self._database.write() as tx:
            if rows.read_run(tx, id_) is not None:
                return id_
            self._demand_own(tx, asked.spec)
            if not asked.rollout:
                _demand_room(asked.spec, rows.read_runs_in(tx, EvalState.RUNNING.value))
            row = EvalRow(
                id=id_,
                kind=asked.kind.value,
                spec=msgspec.json.encode(asked.spec).decode(),
                environment=asked.environment,
                route=asked.route,
                sides=msgspec.json.encode(
                    {Arm.CANDIDATE: asked.candidate}
                    if asked.stable is None
                    else {Arm.STABLE: asked.stable, Arm.CANDIDATE: asked.candidate}
                ).decode(),
                rollout=asked.rollout,
                replay="",
                state=EvalState.RUNNING.value,
                verdict="",
                reason="",
                report="",
                spent_nano_usd=0,
                created_us=self._clock.unix_us(),
                created_by=asked.actor,
                ended_us=0,
            )
            rows.add_run(tx, row)
            rows.delete_runs_beyond(tx, KEPT_MAX, [state.value for state in ENDS])
            against = (
                "by itself"
                if asked.stable is None
                else f"against {release_id(asked.stable.release)} in {asked.stable.environment}"
            )
            candidate = f"{release_id(asked.candidate.release)} in {asked.candidate.environment}"
            after = f"{asked.spec.title}: {candidate} {against}"
            audit.record(
                tx, self._clock, asked.actor, [AuditEvent(AuditAction.EVAL_STARTED, f"eval/{id_}", after=after)]
            )
        self._poked.set()
        return id_

    def listed(self, row_limit: int) -> list[EvalStanding]:
        """Newest first."""
        with self._database.read() as tx:
            found = rows.read_runs(tx, row_limit)
            desired = read_desired(tx)
        return [self._standing(row, scope_of_route(desired, row.environment, row.route)) for row in found]

    def show(self, run_id: str) -> EvalStanding:
        """Where one stands.

        Raises:
            Refused: `not_found`.
        """
        with self._database.read() as tx:
            row = rows.read_run(tx, run_id)
            desired = read_desired(tx)
        if row is None:
            raise unknown(run_id)
        return self._standing(row, scope_of_route(desired, row.environment, row.route))

    def stop(self, run_id: str, actor: str, reason: str) -> EvalStanding:
        """End it without a verdict; nothing more is asked.

        Raises:
            Refused: `not_found`; `conflict` if it has ended.
        """
        words = f"by {actor}: {reason}" if reason else f"by {actor}"
        row = self._end(run_id, EvalState.STOPPED, None, words, actor)
        if row is None:
            raise Refused(AdminCode.CONFLICT, f"run {run_id} has ended already")
        with self._lock:
            active = self._active.get(run_id)
        if active is not None:
            active.over.set()
        self._stop_replay(row.replay, actor, reason)
        return self.show(run_id)

    def keep_only(self, run_ids: Collection[str]) -> None:
        """End every run of a rollout but these."""
        with self._database.read() as tx:
            found = rows.read_runs_in(tx, EvalState.RUNNING.value)
        for row in found:
            if row.rollout and row.id not in run_ids:
                try:
                    self.stop(row.id, PLATFORM_ACTOR, f"rollout {row.rollout} does not wait for it any more")
                except Refused as refused:
                    # It ended by itself meanwhile, which is as good.
                    _log.debug("%s", refused.message)

    # one thread

    def _work(self) -> None:
        while not self._closing.is_set():
            taken = self._next()
            if taken is None:
                self._poked.wait(IDLE_LOOK_S)
                self._poked.clear()
                continue
            row, active = taken
            try:
                self._carry_out(row, active)
            except RETRIED as error:
                self._tell(f"run {row.id}", error)
                self._closing.wait(LOOK_S)
            except Exception as error:  # noqa: BLE001 - the edge of this thread: told, and the run is over
                self._fail(row, error)
            finally:
                with self._lock:
                    self._active.pop(row.id, None)

    def _next(self) -> tuple[EvalRow, _Active] | None:
        try:
            with self._database.read() as tx:
                found = rows.read_runs_in(tx, EvalState.RUNNING.value)
        except Exception as error:  # noqa: BLE001 - as above
            self._tell("every run", error)
            self._closing.wait(LOOK_S)
            self._poked.set()
            return None
        with self._lock:
            self._troubles.pop("every run", None)
            row = self._first(one for one in found if one.id not in self._active)
            if row is None:
                return None
            active = self._active[row.id] = _Active(_team_by_hand(row))
        return row, active

    def _first(self, waiting: Iterable[EvalRow]) -> EvalRow | None:
        """Gates of rollouts, then the team of which the fewest are carried out; the oldest of equals."""
        teams = Counter(active.team for active in self._active.values() if active.team)
        may = (one for one in waiting if one.rollout or teams.total() < BY_HAND_AT_ONCE)
        return min(may, key=lambda one: (not one.rollout, teams[_team_by_hand(one)]), default=None)

    def _fail(self, row: EvalRow, error: Exception) -> None:
        """End a run that a defect, or data that do not open, keep from going on."""
        _log.error("run %s of evals ended in a defect", row.id, exc_info=error)
        words = f"Lineclear failed to carry it out: {type(error).__name__}: {error}"
        with suppress(Over, Refused):
            ended = self._insist(row.id, lambda: self._end(row.id, EvalState.FAILED, None, words, PLATFORM_ACTOR))
            if ended is not None:
                self._insist(row.id, lambda: self._stop_replay(ended.replay, PLATFORM_ACTOR, "its eval failed"))

    def _insist(self, run_id: str, write: Callable[[], _Made]) -> _Made:
        """Write something down. While that is not possible it is held, and nothing further is asked for the run.

        Raises:
            Over: this process ends.
        """
        while True:
            try:
                made = write()
            except RETRIED as error:
                self._tell(f"run {run_id}", error)
            else:
                self._troubles.pop(f"run {run_id}", None)
                return made
            if self._closing.wait(LOOK_S):
                raise Over

    def _tell(self, what: str, error: Exception) -> None:
        """Once, and again where something else is wrong."""
        words = str(error) or type(error).__name__
        if self._troubles.get(what) != words:
            self._troubles[what] = words
            _log.error("%s of evals does not go on: %s", what, words, exc_info=error)

    def _carry_out(self, row: EvalRow, active: _Active) -> None:
        spec = msgspec.json.decode(row.spec, type=EvalSpec)
        with self._database.read() as tx:
            now = rows.read_run(tx, row.id)
        if now is None or now.state != EvalState.RUNNING:
            return  # it was stopped before it was known to be carried out
        try:
            row = row if row.replay else self._with_replay(row, spec, active)
            standing = self._replays.show(row.replay)
            while standing.is_open:
                if active.over.wait(LOOK_S):
                    return
                standing = self._replays.show(row.replay)
            self._grade(row, spec, active, standing)
        except Refused as refused:
            self._end(row.id, EvalState.FAILED, None, refused.message, PLATFORM_ACTOR)
        except Over:
            return
        self._troubles.pop(f"run {row.id}", None)

    def _with_replay(self, row: EvalRow, spec: EvalSpec, active: _Active) -> EvalRow:
        """The run with its replay begun, once the queue of replays has room for it."""
        sides = msgspec.json.decode(row.sides, type=dict[Arm, Side])
        asked = ReplaySpec(
            InnerPurpose.EVAL if row.kind == StepKind.EVAL else InnerPurpose.REPLAY,
            row.environment,
            row.route,
            spec.app,
            spec.dataset,
            sides.get(Arm.STABLE),
            sides[Arm.CANDIDATE],
            spec.spend_cap_nano_usd,
            row.rollout,
        )
        replay_id = ""
        while not replay_id:
            try:
                replay_id = self._replays.start(asked, row.created_by, f"{REPLAY_PREFIX}{row.id}")
            except QueueFull:
                if active.over.wait(LOOK_S):
                    raise Over from None
        made = replace(row, replay=replay_id)
        with self._database.write() as tx:
            is_open = rows.move_run(tx, made, EvalState.RUNNING.value)
        if not is_open:
            self._stop_replay(replay_id, PLATFORM_ACTOR, "its eval was stopped")
            raise Over
        return made

    def _grade(self, row: EvalRow, spec: EvalSpec, active: _Active, standing: ReplayStanding) -> None:
        with self._database.read() as tx:
            kept = rows.read_scores(tx, row.id)
        paid = sum(one.cost_nano_usd for one in kept)
        grader = Grader(
            spec,
            Asker(self._replays.door, row.id, spec.app, row.environment, active.over),
            Purse(spec.spend_cap_nano_usd - standing.spent_nano_usd - paid),
            {(one.number, one.check_id, Arm(one.arm)): one.score for one in kept},
            lambda found: self._keep(row.id, found),
            active.over,
            self._variables,
        )
        active.grader = grader
        asked: set[str] = set()
        scores = grader.scores(_noted(self._replays.answers(row.replay), asked))
        if active.over.is_set():
            raise Over
        found = self._replays.datasets.find(f"{standing.row.dataset}@{standing.row.dataset_digest}")
        missing = [case.id for case in self._replays.datasets.cases(found) if case.id not in asked]
        for ones in scores.values():
            ones += [Scores(id_, None, None) for id_ in missing]
        is_whole = standing.row.state == ReplayState.COMPLETED
        judge = report_of if Arm.STABLE in msgspec.json.decode(row.sides, type=dict[Arm, Side]) else alone_report
        report = judge(spec, scores, "" if is_whole else f"not every case was asked: {standing.row.reason}")
        troubles = "; ".join(f"{id_}: {words}" for id_, words in sorted(grader.troubles.items()))
        words = report.words if report.verdict is PairVerdict.PASS or not troubles else f"{report.words} ({troubles})"
        self._end(row.id, EvalState.COMPLETED, report, words, PLATFORM_ACTOR)

    def _keep(self, run_id: str, found: Collection[ScoreRow]) -> None:
        """Write down what models said.

        Raises:
            Over: this process ends, or somebody has ended the run.
        """
        self._insist(run_id, lambda: self._add_scores(run_id, found))

    def _add_scores(self, run_id: str, found: Collection[ScoreRow]) -> None:
        with self._database.write() as tx:
            row = rows.read_run(tx, run_id)
            # Nobody would delete scores of a run that has ended.
            if row is None or row.state != EvalState.RUNNING:
                raise Over
            rows.add_scores(tx, run_id, found)

    def _end(self, run_id: str, state: EvalState, report: EvalReport | None, words: str, actor: str) -> EvalRow | None:
        """Write the end of a run, and what was paid for it; None if it has ended before.

        Raises:
            Refused: `not_found`.
        """
        verdict = PairVerdict.INCONCLUSIVE if report is None else report.verdict
        with self._database.write() as tx:
            row = rows.read_run(tx, run_id)
            if row is None:
                raise unknown(run_id)
            ended = replace(
                row,
                state=state.value,
                verdict=verdict.value,
                reason=words,
                report="" if report is None else msgspec.json.encode(report).decode(),
                spent_nano_usd=sum(one.cost_nano_usd for one in rows.read_scores(tx, run_id)),
                ended_us=self._clock.unix_us(),
            )
            if not rows.move_run(tx, ended, EvalState.RUNNING.value):
                return None
            rows.delete_scores(tx, run_id)
            event = AuditEvent(AuditAction.EVAL_ENDED, f"eval/{run_id}", row.state, verdict.value, words)
            audit.record(tx, self._clock, actor, [event])
        return ended

    def _stop_replay(self, replay_id: str, actor: str, reason: str) -> None:
        if not replay_id:
            return
        try:
            self._replays.stop(replay_id, actor, reason)
        except Refused as refused:
            # It has ended by itself.
            _log.debug("%s", refused.message)

    def _standing(self, row: EvalRow, scope: Scope) -> EvalStanding:
        replay = None
        if row.replay:
            try:
                replay = self._replays.show(row.replay)
            except Refused as refused:
                _log.debug("%s is kept no longer: %s", row.replay, refused.message)
        return EvalStanding(
            row,
            msgspec.json.decode(row.spec, type=EvalSpec),
            msgspec.json.decode(row.sides, type=dict[Arm, Side]),
            msgspec.json.decode(row.report, type=EvalReport) if row.report else None,
            row.reason if row.verdict else self._progress(row, replay),
            row.spent_nano_usd + (0 if replay is None else replay.spent_nano_usd),
            scope,
        )

    def _progress(self, row: EvalRow, replay: ReplayStanding | None) -> str:
        if replay is None:
            return "it has not begun to ask"
        if replay.is_open:
            done = min((sum_.results for sum_ in replay.sums.values()), default=0)
            return f"{done} of {replay.row.cases} cases asked"
        with self._lock:
            active = self._active.get(row.id)
        graded = 0 if active is None or active.grader is None else active.grader.graded
        return f"{graded} of {replay.row.cases} cases scored"

    def _demand_own(self, tx: Connection, spec: EvalSpec) -> None:
        """The app that pays and the dataset belong to one team, that of the Eval."""
        app = read_desired(tx).apps.get(spec.app)
        if app is None:
            raise Refused(AdminCode.NOT_FOUND, f"there is no app {spec.app!r}", hint="`lineclear apps list`")
        dataset = find_in(tx, spec.dataset)
        team = spec.team or app.team
        for what, owner in ((f"app {spec.app!r}", app.team), (f"dataset {spec.dataset!r}", dataset.team)):
            if owner != team:
                raise Refused(AdminCode.CONFLICT, f"{what} belongs to team {owner!r}, {spec.title} to team {team!r}")


def _team_by_hand(row: EvalRow) -> str:
    """The team whose Eval a person runs; empty for a gate of a rollout."""
    return "" if row.rollout else msgspec.json.decode(row.spec, type=EvalSpec).team


def _demand_room(spec: EvalSpec, under_way: Collection[EvalRow]) -> None:
    """That people have not started too many runs; nothing is told of those of other teams."""
    teams = Counter(_team_by_hand(one) for one in under_way if not one.rollout)
    hint = "wait for one to end, or stop one of yours: `lineclear evals runs`"
    if teams[spec.team] >= BY_HAND_TEAM_MAX:
        raise Refused(
            AdminCode.CONFLICT, f"{BY_HAND_TEAM_MAX} runs of team {spec.team!r} are under way or waiting", hint=hint
        )
    if teams.total() >= BY_HAND_MAX:
        raise Refused(AdminCode.CONFLICT, f"{BY_HAND_MAX} runs are under way or waiting", hint=hint)


def unknown(run_id: str) -> Refused:
    """What is said of a run that is not there, or that the caller may not see."""
    return Refused(AdminCode.NOT_FOUND, f"there is no eval run {run_id!r}", hint="`lineclear evals runs`")


def _noted(answers: Iterator[Answers], asked: set[str]) -> Iterator[Answers]:
    for case, results in answers:
        asked.add(case.id)
        yield case, results
