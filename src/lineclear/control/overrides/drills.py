"""Drills of rollbacks: carried out on a schedule or because somebody asks, measured, recorded; nothing served changes.

In: the desk, what environments say of their schedule. Out: results in database and audit trail, and what they say of
readiness. One thread looks for what is due; when that is stands in the database, so a restart forgets nothing. While
the database cannot be used people drill all the same; then the answer says that it is not recorded.
"""

import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from lineclear.base.clock import Clock
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.fold import CHANGE_PREFIX
from lineclear.control.folding import Overrides
from lineclear.domain.drills import DrillResult, can_be_drilled, drill_gap, due_us, is_due, judge_drill
from lineclear.domain.errors import LineclearError
from lineclear.domain.overrides import Drill, object_of
from lineclear.domain.snapshot import RouteSection
from lineclear.handover.override_desk import Overridden, OverrideState
from lineclear.handover.snapshot_dir import SnapshotRefused
from lineclear.handover.standing import DeploymentReadiness, DrillFacts, Standing
from lineclear.observe.period import time_text
from lineclear.store import drill_rows
from lineclear.store.database import Database

SCHEDULE_ACTOR: Final = "drill-schedule"
"""Who drills by itself."""
LOOK_S: Final = 5.0
"""How often it is looked for a drill that is due; one is carried out each time, so that many are spread out."""
CLOSE_S: Final = 10.0

_log = logging.getLogger(__name__)
_Key = tuple[str, str]
"""Environment and route."""


class Drills:
    """Drills what is due and what is asked for, and tells how it went."""

    def __init__(self, overrides: Overrides, database: Database, clock: Clock) -> None:
        self._overrides = overrides
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[_Key, DrillResult] = {}
        self._passed_us: dict[_Key, int] = {}
        self._is_read = False
        self._problem = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drills", daemon=True)

    def start(self) -> None:
        """Begin to look for what is due."""
        self._thread.start()

    def close(self) -> None:
        """End after the drill under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    # what people ask

    def drill(self, environment: str, route: str, actor: str, reason: str) -> Overridden:
        """Have every gateway prepare what a rollback would bring; measure and record it.

        Raises:
            Refused: as `Overrides.do`; there is nothing to drill.
        """
        done = self._overrides.do(lambda desk: desk.drill(environment, route, actor, reason))
        gateways = done.gateways
        failed = judge_drill(len(gateways.acknowledged), gateways.silent, gateways.complaints)
        result = DrillResult(
            environment=environment,
            route=route,
            at_us=self._clock.unix_us(),
            actor=actor,
            release=done.after,
            has_passed=not failed,
            in_s=gateways.in_s,
            acknowledged=len(gateways.acknowledged),
            silent=len(gateways.silent),
            reason=failed,
        )
        try:
            self._record(result, done.before, f"{CHANGE_PREFIX}{done.sequence}")
        except SQLAlchemyError as error:
            _log.warning("the drill of %s is not recorded: %s", done.object, error)
            return replace(done, recorded=False)
        return done

    def listed(self, row_limit: int) -> list[DrillResult]:
        """Results, newest first."""
        with self._database.read() as tx:
            return drill_rows.read_drills(tx, row_limit)

    def readiness(self) -> tuple[DeploymentReadiness, ...]:
        """Which deployments could go back at once, and what their drills say of that.

        Raises:
            SnapshotRefused: there is no usable snapshot.
        """
        standing = self._overrides.desk.standing()
        last, passed = self._results()
        return tuple(
            self._told(standing, row, last.get((row.environment, row.route)), passed.get((row.environment, row.route)))
            for row in self._overrides.desk.readiness()
        )

    def state(self) -> OverrideState | None:
        """What is overridden now and what is wrong, a failed drill too; None while there is no usable snapshot."""
        found = self._overrides.state()
        if found is None:
            return None
        not_ready = tuple(row for row in self.readiness() if row.previous and not row.rollback_ready)
        problems = (*found.problems, f"drills: {self._problem}") if self._problem else found.problems
        return replace(found, not_ready=not_ready, problems=problems)

    def ages_s(self) -> Mapping[_Key, float]:
        """Seconds since each deployment last passed a drill, infinite for one that is to be drilled and never did."""
        try:
            standing = self._overrides.desk.standing()
        except SnapshotRefused:
            return {}
        now_us = self._clock.unix_us()
        passed = self._results()[1]
        ages: dict[_Key, float] = {}
        for section in standing.ground.routes.values():
            key = (section.environment, section.route)
            if key in passed:
                ages[key] = max(0, now_us - passed[key]) / 1e6
            elif standing.drill_every_s(key[0]) is not None and can_be_drilled(section):
                ages[key] = float("inf")
        return ages

    # what a look does

    def look(self) -> DrillResult | None:
        """Carry out the drill that has been due for longest, if there is one and a gateway runs that could do it.

        Raises:
            SnapshotRefused: there is no usable snapshot.
            Refused: the journal cannot be written.
            SQLAlchemyError: the database cannot be used; nothing is drilled then, since nobody knows what is due.
        """
        standing = self._overrides.desk.standing()
        if not self._overrides.desk.gateways():
            return None
        last = self._demand_results()
        due = sorted(self._due(standing, last), key=lambda one: one[0])
        if not due:
            return None
        _, section = due[0]
        key = (section.environment, section.route)
        try:
            done = self.drill(*key, SCHEDULE_ACTOR, "it was due")
        except Refused as error:
            if error.code is not AdminCode.CONFLICT:
                raise
            self._record_refusal(key, error)
        else:
            if not done.recorded:
                _log.warning("%s was drilled and is not in the audit trail yet", done.object)
        return self._results()[0].get(key)

    def _due(self, standing: Standing, last: Mapping[_Key, DrillResult]) -> Iterator[tuple[int, RouteSection]]:
        now_us = self._clock.unix_us()
        for section in standing.ground.routes.values():
            every_s = standing.drill_every_s(section.environment)
            result = last.get((section.environment, section.route))
            if every_s is not None and can_be_drilled(section) and is_due(result, every_s, now_us):
                yield due_us(result, every_s), section

    def _record_refusal(self, key: _Key, error: Refused) -> None:
        """No earlier release is ready: a drill that failed before it could begin."""
        section = self._overrides.desk.standing().route(*key)
        if section is None or not can_be_drilled(section):
            # A rollout began, or it went back, after it was found to be due.
            return
        result = DrillResult(
            environment=key[0],
            route=key[1],
            at_us=self._clock.unix_us(),
            actor=SCHEDULE_ACTOR,
            release="",
            has_passed=False,
            in_s=0.0,
            acknowledged=0,
            silent=0,
            reason=error.message,
        )
        self._record(result, section.stable.id, "")

    def _record(self, result: DrillResult, stable: str, change_id: str) -> None:
        action = AuditAction.DRILL_PASSED if result.has_passed else AuditAction.DRILL_FAILED
        object_ = object_of(Drill(result.environment, result.route, result.release, 0))
        event = AuditEvent(action, object_, stable, result.release, result.words, change_id)
        key = (result.environment, result.route)
        with self._lock:
            # In force here even if the database cannot be written: it happened.
            self._last[key] = result
            if result.has_passed:
                self._passed_us[key] = result.at_us
        if not result.has_passed:
            _log.warning("the drill of %s in %s failed: %s", result.route, result.environment, result.words)
        with self._database.write() as tx:
            drill_rows.add_drill(tx, result)
            audit.record(tx, self._clock, result.actor, [event])

    def _demand_results(self) -> Mapping[_Key, DrillResult]:
        if not self._is_read:
            with self._database.read() as tx:
                last, passed = drill_rows.newest_drills(tx), drill_rows.last_passed_us(tx)
            with self._lock:
                # What happened since this process began is newer than what the database had.
                self._last = {**last, **self._last}
                self._passed_us = {**passed, **self._passed_us}
                self._is_read = True
        return self._results_known()[0]

    def _results(self) -> tuple[Mapping[_Key, DrillResult], Mapping[_Key, int]]:
        """As far as they are known: readiness is told with the database unusable too."""
        try:
            self._demand_results()
        except SQLAlchemyError as error:
            _log.warning("earlier drills are not known: %s", error)
        return self._results_known()

    def _results_known(self) -> tuple[Mapping[_Key, DrillResult], Mapping[_Key, int]]:
        with self._lock:
            return dict(self._last), dict(self._passed_us)

    def _told(
        self, standing: Standing, row: DeploymentReadiness, result: DrillResult | None, passed_us: int | None
    ) -> DeploymentReadiness:
        every_s, section = standing.drill_every_s(row.environment), standing.route(row.environment, row.route)
        is_scheduled = every_s is not None and section is not None and can_be_drilled(section)
        due = max(due_us(result, every_s), self._clock.unix_us()) if every_s is not None and is_scheduled else None
        facts = DrillFacts(
            last_at=None if result is None else time_text(result.at_us),
            last_release="" if result is None else result.release,
            last_passed=None if result is None else result.has_passed,
            last_words="" if result is None else result.words,
            passed_at=None if passed_us is None else time_text(passed_us),
            due_at=None if due is None else time_text(due),
        )
        gap = drill_gap(result, row.rollback_to)
        if not gap:
            return replace(row, drill=facts)
        return replace(row, rollback_ready=False, reason=gap, drill=facts)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - the edge of this thread: told, and tried again
                said = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
                if said != self._problem:
                    known = isinstance(error, SQLAlchemyError | OSError | LineclearError | Refused | SnapshotRefused)
                    _log.error("drills are not carried out: %s", said, exc_info=None if known else error)
                self._problem = said
            else:
                self._problem = ""
