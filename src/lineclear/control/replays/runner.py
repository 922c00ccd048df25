"""Asks what replays have to ask: some calls at a time, within the spend cap, each result kept as it comes.

In: replays that are open. Out: results and an end for each. A restart of control goes on where the results end; calls
that were under way then are made again. Must not compare answers before all are there.
"""

import logging
import threading
from collections import deque
from dataclasses import replace
from typing import Final

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from lineclear.base.clock import Clock
from lineclear.base.seal import SealBroken
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.endpoint import Refused
from lineclear.control.replays.dataset_file import InvalidDataset
from lineclear.control.replays.datasets import Datasets
from lineclear.control.replays.door import Caller, DoorClosed, InnerAnswer, InnerDoor, Question, lost_answer
from lineclear.control.replays.run import Run
from lineclear.control.replays.stored import result_row, results_by_case, sides_of
from lineclear.control.under_way import PLATFORM_ACTOR
from lineclear.control.vault import Vault
from lineclear.domain.errors import ErrorCode, LineclearError
from lineclear.domain.evidence import Arm
from lineclear.domain.output_diff import report_of
from lineclear.domain.replay import ANSWERED, OPEN_STATES, ReplayState
from lineclear.handover.inner_door import InnerPurpose
from lineclear.store import replay_rows as rows
from lineclear.store.database import Database
from lineclear.store.replay_rows import ReplayRow, ResultRow

RUNS_AT_ONCE: Final = 2
CALLS_AT_ONCE: Final = 4
"""Of one replay; live traffic goes first, and its limits are shared."""
LOOK_S: Final = 1.0
IDLE_LOOK_S: Final = 10.0
"""How often a thread looks without being told of anything: whoever starts a replay tells."""
CLOSE_S: Final = 10.0
PATIENCE_S: Final = 600.0
"""How long one call waits for limits of the app and for gateways that are busy, before the replay fails."""
DOOR_PATIENCE_S: Final = 60.0
"""How long a call waits for any gateway at all; a rolling restart takes a moment."""
WAIT_DEFAULT_S: Final = 1.0
WAIT_S_MAX: Final = 60.0
LOST_TRIES_MAX: Final = 3
"""Tries of a call that gateways took and went away with, before that is its result; each may have been paid."""
VENDOR_TRIES_MAX: Final = 4
"""Tries of a call whose target is throttled, before that is its result."""
TEXTS_BYTES_MAX: Final = 64 * 1024 * 1024
"""Text kept of one replay; of further answers only the digest."""

BUSY: Final = frozenset(
    {
        ErrorCode.RATE_LIMITED,
        ErrorCode.CONCURRENCY_LIMITED,
        ErrorCode.OVERLOADED,
        ErrorCode.ACCOUNTANT_UNAVAILABLE,
        ErrorCode.LEDGER_UNAVAILABLE,
        ErrorCode.NOT_READY,
        ErrorCode.SERVER_DRAINING,
    }
)
"""What says nothing of a release: it is waited for."""
ENDING: Final = frozenset(
    {
        ErrorCode.INVALID_API_KEY,
        ErrorCode.NOT_FOUND,
        ErrorCode.MODEL_NOT_FOUND,
        ErrorCode.STOPPED,
        ErrorCode.BUDGET_EXCEEDED,
    }
)
"""What every further call would be told too: the replay stops."""

RETRIED: Final = (LineclearError, SQLAlchemyError, OSError)
"""What may be over by itself. Whatever else goes wrong would go wrong, and perhaps be paid, again and again."""

_log = logging.getLogger(__name__)


class _Over(Exception):
    """The replay is over, or this process is."""


class Runner:
    """Threads that carry out open replays, oldest first."""

    def __init__(self, database: Database, clock: Clock, vault: Vault, datasets: Datasets, door: InnerDoor) -> None:
        """Nothing runs yet."""
        self._database = database
        self._clock = clock
        self._vault = vault
        self._datasets = datasets
        self._door = door
        self._closing = threading.Event()
        self._poked = threading.Event()
        self._lock = threading.Lock()
        self._active: dict[str, Run | None] = {}
        """By id; None while it is being prepared."""
        self._troubles: dict[str, str] = {}
        self._threads = [
            threading.Thread(target=self._work, name=f"replays-{number}", daemon=True) for number in range(RUNS_AT_ONCE)
        ]

    def start(self) -> None:
        """Begin; what was under way goes on."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End; calls under way are cut, and made again by the next control."""
        self._closing.set()
        self._poked.set()
        with self._lock:
            active = [run for run in self._active.values() if run is not None]
        for run in active:
            run.break_off()
        self._door.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(CLOSE_S)

    def poke(self) -> None:
        """There may be something to do."""
        self._poked.set()

    def stop(self, replay_id: str) -> None:
        """Make no further calls of a replay, which the database says is over."""
        with self._lock:
            run = self._active.get(replay_id)
        if run is not None:
            run.finish(ReplayState.STOPPED, "")

    # one thread

    def _work(self) -> None:
        while not self._closing.is_set():
            row = self._next()
            if row is None:
                self._poked.wait(IDLE_LOOK_S)
                self._poked.clear()
                continue
            try:
                self._carry_out(row)
            except RETRIED as error:
                self._tell(row, error)
                self._closing.wait(LOOK_S)
            except Exception as error:  # noqa: BLE001 - the edge of this thread: told, and the replay is over
                self._fail(row, error)
            finally:
                with self._lock:
                    self._active.pop(row.id, None)

    def _next(self) -> ReplayRow | None:
        try:
            with self._database.read() as tx:
                found = rows.read_replays_in(tx, OPEN_STATES)
        except Exception as error:  # noqa: BLE001 - as above
            _log.error("replays cannot be looked after: %s", error)
            self._closing.wait(LOOK_S)
            self._poked.set()
            return None
        with self._lock:
            # Whom a rollout waits for goes first; `min` takes the oldest of equals.
            waiting = (one for one in found if one.id not in self._active)
            row = min(waiting, key=lambda one: not one.rollout, default=None)
            if row is not None:
                self._active[row.id] = None
        return row

    def _tell(self, row: ReplayRow, error: Exception) -> None:
        words = str(error) or type(error).__name__
        if self._troubles.get(row.id) != words:
            self._troubles[row.id] = words
            is_known = isinstance(error, LineclearError | Refused | OSError | SQLAlchemyError)
            _log.error("replay %s does not go on: %s", row.id, words, exc_info=None if is_known else error)

    def _carry_out(self, row: ReplayRow) -> None:
        try:
            run = self._prepared(row)
        except (Refused, SealBroken, InvalidDataset) as error:
            self._close_row(row, ReplayState.FAILED, f"its dataset cannot be read: {error}")
            return
        if row.state == ReplayState.WAITING.value and not self._mark_running(row):
            return
        with self._lock:
            self._active[row.id] = run
        with self._database.read() as tx:
            now = rows.read_replay(tx, row.id)
        if now is None or now.state not in OPEN_STATES:
            run.finish(ReplayState.STOPPED, "")  # while it was being prepared, when nobody could be told
        if self._closing.is_set():
            run.break_off()
        callers = [
            threading.Thread(target=self._call_all, args=(run,), name=f"{row.id}-{number}", daemon=True)
            for number in range(CALLS_AT_ONCE)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        if run.end is None and self._closing.is_set():
            return
        state, reason = run.end or (ReplayState.COMPLETED, "every case was asked")
        self._close_row(row, state, reason)
        self._troubles.pop(row.id, None)

    def _prepared(self, row: ReplayRow) -> Run:
        cases = self._datasets.cases(self._datasets.find(f"{row.dataset}@{row.dataset_digest}"))
        sides = sides_of(row)
        done: set[tuple[int, str]] = set()
        spent_nano_usd = dearest_nano_usd = answered = text_bytes = 0
        with self._database.read() as tx:
            for one in rows.read_figures(tx, row.id):
                done.add((one.number, one.arm))
                cost_nano_usd = one.cost_nano_usd or 0
                spent_nano_usd += cost_nano_usd
                dearest_nano_usd = max(dearest_nano_usd, cost_nano_usd)
                answered += one.status == ANSWERED
                text_bytes += one.text_bytes
        # Side by side, so that both releases are asked a case at about the same time and in turn first.
        left = deque(
            (number, arm)
            for number in range(len(cases))
            for arm in (sorted(sides) if number % 2 else sorted(sides, reverse=True))
            if (number, arm.value) not in done
        )
        return Run(
            row=replace(row, state=ReplayState.RUNNING.value),
            cases=cases,
            sides=sides,
            left=left,
            spent_nano_usd=spent_nano_usd,
            dearest_nano_usd=dearest_nano_usd,
            answered=answered,
            text_bytes=text_bytes,
        )

    def _mark_running(self, row: ReplayRow) -> bool:
        with self._database.write() as tx:
            return rows.move_replay(tx, replace(row, state=ReplayState.RUNNING.value), [ReplayState.WAITING.value])

    def _close_row(self, row: ReplayRow, state: ReplayState, reason: str) -> None:
        """Write the end with the report; of a replay that a person has stopped meanwhile the report alone."""
        report = msgspec.json.encode(report_of(results_by_case(self._database, self._vault, row))).decode()
        self._write_end(row, state, reason, report)

    def _fail(self, row: ReplayRow, error: Exception) -> None:
        """End a replay that cannot go on, without reading its answers; held until that can be written down."""
        _log.error("replay %s ended in a defect", row.id, exc_info=error)
        words = f"Lineclear failed to carry it out: {type(error).__name__}: {error}"
        while True:
            try:
                self._write_end(row, ReplayState.FAILED, words, "")
            except RETRIED as trouble:
                self._tell(row, trouble)
            else:
                return
            if self._closing.wait(LOOK_S):
                return

    def _write_end(self, row: ReplayRow, state: ReplayState, reason: str, report: str) -> None:
        with self._database.write() as tx:
            now = rows.read_replay(tx, row.id)
            if now is None:
                return
            if now.state not in OPEN_STATES:
                rows.move_replay(tx, replace(now, report=report), [now.state])
                return
            ended = replace(now, state=state.value, reason=reason, report=report, ended_us=self._clock.unix_us())
            rows.move_replay(tx, ended, [now.state])
            audit.record(
                tx,
                self._clock,
                PLATFORM_ACTOR,
                [AuditEvent(AuditAction.REPLAY_ENDED, f"replay/{row.id}", row.state, state.value, reason)],
            )

    # one call

    def _call_all(self, run: Run) -> None:
        while (taken := run.take()) is not None:
            number, arm = taken
            try:
                answer = self._answer(run, number, arm)
                room = TEXTS_BYTES_MAX - run.text_bytes
                result = result_row(self._vault, run.row.id, number, arm, answer, room)
                if answer.is_cost_untold:
                    result = run.estimated(result, answer.paid_before_nano_usd)
                self._keep(run, result)
                run.count(result, answer.paid_before_nano_usd)
            except _Over:
                return
            except Exception as error:  # noqa: BLE001 - the edge of this thread: told, and the replay is over
                # Tried again, it would be paid again and again.
                _log.exception("replay %s ended in a defect", run.row.id)
                run.finish(ReplayState.FAILED, f"Lineclear failed to ask it: {type(error).__name__}: {error}")
            finally:
                run.give_back()

    def _keep(self, run: Run, result: ResultRow) -> None:
        """Write a result down. While that is not possible it is held, and nothing further is asked by this thread.

        Raises:
            _Over: this process ends.
        """
        while True:
            try:
                with self._database.write() as tx:
                    rows.add_results(tx, run.row.id, [result])
            except (LineclearError, SQLAlchemyError) as error:
                self._tell(run.row, error)
            else:
                self._troubles.pop(run.row.id, None)
                return
            if self._closing.wait(LOOK_S):
                raise _Over

    def _answer(self, run: Run, number: int, arm: Arm) -> InnerAnswer:
        """What the release says to a case, after waiting for what is not its doing.

        Raises:
            _Over: there is no sense in going on.
        """
        case, side = run.cases[number], run.sides[arm]
        caller = Caller(
            InnerPurpose(run.row.purpose), run.row.id, run.row.app, side.environment, run.row.route, side.release
        )
        question = Question(
            caller, case.operation, case.request, f"{case.id}/{arm.value}", case.variables, case.task, case.data_class
        )
        waited_s, shut_s, tries, lost, paid = 0.0, 0.0, 0, 0, 0
        while True:
            try:
                answer = replace(self._door.ask(question), paid_before_nano_usd=paid)
            except DoorClosed as closed:
                if closed.was_taken:
                    lost += 1
                    paid += run.pay(None)
                    if lost >= LOST_TRIES_MAX and not run.over.is_set():
                        return self._lost(run, question, closed, paid)
                shut_s += self._wait(run, WAIT_DEFAULT_S)
                if shut_s >= DOOR_PATIENCE_S:
                    run.finish(ReplayState.FAILED, f"no gateway answered for {DOOR_PATIENCE_S:g} s: {closed}")
                continue
            tries += 1
            code, message = ("", "") if answer.status == ANSWERED else answer.error()
            if not answer.was_sent and code in ENDING:
                run.finish(ReplayState.STOPPED, f"case {case.id!r} on {arm.value}: {message}")
                raise _Over
            if code == ErrorCode.UPSTREAM_RATE_LIMITED and tries < VENDOR_TRIES_MAX:
                paid += run.pay((answer.cost_nano_usd or 0) - paid)
                self._wait(run, answer.retry_after_s)
            elif not answer.was_sent and code in BUSY:
                waited_s += self._wait(run, answer.retry_after_s)
                if waited_s >= PATIENCE_S:
                    run.finish(ReplayState.FAILED, f"for {PATIENCE_S:g} s the gateways said: {message}")
            else:
                return answer

    def _lost(self, run: Run, question: Question, closed: DoorClosed, paid_nano_usd: int) -> InnerAnswer:
        """The result of a call that never came back."""
        if not run.answered:
            run.finish(ReplayState.STOPPED, f"nobody knows what a call costs, and the first one was lost: {closed}")
        return lost_answer(question.operation, str(closed), paid_nano_usd)

    def _wait(self, run: Run, wait_s: float | None) -> float:
        """Wait before another try; how long.

        Raises:
            _Over: the replay was over meanwhile.
        """
        wanted_s = min(WAIT_S_MAX, WAIT_DEFAULT_S if wait_s is None else max(0.05, wait_s))
        if run.over.wait(wanted_s):
            raise _Over
        return wanted_s
