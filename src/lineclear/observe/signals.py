"""Evidence of a rollout, folded from the ledger up to the watermark (decision 39).

In: what the rollout froze, the ledger's exposures, what ingest knows of sources. Out: `RolloutEvidence`. The ledger
holds each request once, and the fold is a sum over what it holds: memory is only a cache of it, rebuilt after any
failure. Must not: decide; write.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, select

from lineclear.base.clock import Clock
from lineclear.domain.evidence import (
    WEIGHT_BP_MAX,
    Arm,
    ArmCount,
    ArmCounts,
    BadnessSums,
    Bets,
    bet,
    bets_on_worse,
    gain,
    log_units,
    weight_of,
)
from lineclear.domain.exposed import Mark, is_of_other_release
from lineclear.domain.first_events import FirstEvent
from lineclear.domain.floor import FloorCounts
from lineclear.domain.ledger import Intent
from lineclear.domain.signals import CountedSignal, Guard, RolloutEvidence, SignalPlan
from lineclear.observe.review_signal import COLUMNS as REVIEW_COLUMNS
from lineclear.observe.review_signal import ReviewFold
from lineclear.store.ledger import Ledger
from lineclear.store.ledger_tables import exposures, reviews

SILENT_US: Final = 10_000_000
"""A source whose last record lies further back is silent: it writes one each second."""
UNITS_MAX: Final = 500_000
"""First events kept for one rollout, over all guards, about 250 bytes each; more make its evidence `is_full`."""
ROLLOUTS_KEPT_MAX: Final = 32
"""Folds kept in memory; the one asked for longest ago is read anew when it is asked for again."""
ROWS_AT_ONCE: Final = 10_000

_COLUMNS: Final = (
    exposures.c.number,
    exposures.c.arm,
    exposures.c.weight_bp,
    exposures.c.unit_hash,
    exposures.c.started_us,
    exposures.c.duration_us,
    exposures.c.cost_nano_usd,
    exposures.c.marks,
)


class Standing(msgspec.Struct, frozen=True):
    """What ingest knows at one moment, in which the ledger does not change."""

    open: Mapping[str, Intent]
    """Exchanges without their end yet, by id."""
    marks_us: Mapping[str, int]
    """By source that lives: everything it did before this instant is in the ledger; 0 = it has not said so."""


class Signals:
    """Reads evidence. Safe to call from several threads; one reads at a time."""

    def __init__(
        self,
        ledger: Ledger,
        standing: Callable[[], AbstractContextManager[Standing]],
        clock: Clock,
        *,
        units_max: int = UNITS_MAX,
    ) -> None:
        """Nothing is read yet; `standing` keeps ingest still inside its block."""
        self._units_max = units_max
        self._ledger = ledger
        self._standing = standing
        self._clock = clock
        self._folds: OrderedDict[str, _Fold] = OrderedDict()
        self._lock = threading.Lock()

    def evidence(self, plan: SignalPlan) -> RolloutEvidence:
        """Everything that is in the ledger about a rollout now. The first look reads all of it, later ones what is new.

        Raises:
            sqlalchemy.exc.DBAPIError: if the database refuses; the next call begins anew.
        """
        with self._lock, self._standing() as standing:
            fold = self._folds.pop(plan.rollout, None)
            if fold is None or fold.plan != plan:
                fold = _Fold(plan, self._units_max)
            # Kept only once all was read: what was read in part is forgotten with whatever broke off.
            for day in sorted(day for day in self._ledger.days() if day >= plan.first_day):
                self._read(fold, day)
            self._folds[plan.rollout] = fold
            while len(self._folds) > ROLLOUTS_KEPT_MAX:
                self._folds.popitem(last=False)
            return self._evidence(fold, standing)

    def keep_only(self, rollouts: Collection[str]) -> None:
        """Forget what was read of every other rollout: nobody asks for one that has ended."""
        with self._lock:
            for ended in [rollout for rollout in self._folds if rollout not in rollouts]:
                del self._folds[ended]

    def _read(self, fold: "_Fold", day: int) -> None:
        wanted = select(*_COLUMNS).where(
            exposures.c.day == day,
            exposures.c.rollout == fold.plan.rollout,
            exposures.c.number > fold.numbers.get(day, 0),
        )
        with self._ledger.read(day) as connection:
            for row in connection.execute(wanted.execution_options(yield_per=ROWS_AT_ONCE)):
                fold.take(row)
                fold.numbers[day] = max(fold.numbers.get(day, 0), row[0])
            if fold.reviews is not None:
                self._read_reviews(connection, fold, fold.reviews, day)

    def _read_reviews(self, connection: Connection, fold: "_Fold", said: ReviewFold, day: int) -> None:
        wanted = (
            select(*REVIEW_COLUMNS)
            .where(
                reviews.c.day == day,
                reviews.c.rollout == fold.plan.rollout,
                reviews.c.number > said.numbers.get(day, 0),
            )
            .order_by(reviews.c.number)
        )
        for row in connection.execute(wanted.execution_options(yield_per=ROWS_AT_ONCE)):
            said.take(row)
            said.numbers[day] = row[0]

    def _evidence(self, fold: "_Fold", standing: Standing) -> RolloutEvidence:
        plan = fold.plan
        now_us = self._clock.unix_us()
        marks = standing.marks_us
        under_way = [intent for intent in standing.open.values() if intent.rollout == plan.rollout]
        return RolloutEvidence(
            rollout=plan.rollout,
            requests=fold.requests.counts(),
            first_requests=fold.first_requests(under_way),
            counted=tuple(signal.read(fold.requests) for signal in fold.signals),
            cost=fold.cost.sums() if fold.cost is not None else None,
            unpriced=fold.unpriced.counts(),
            unmonitored=fold.unmonitored,
            other_release=fold.other_release,
            watermark_us=min(marks.values(), default=0) or None,
            missing=tuple(sorted(name for name, mark_us in marks.items() if now_us - mark_us > SILENT_US)),
            reviews=fold.reviews.signal() if fold.reviews is not None else None,
            is_full=fold.is_full or (fold.reviews is not None and fold.reviews.is_full),
        )


class _Cells:
    """Counts by weight and arm that also go down, when an earlier event of a unit takes the place of a later one."""

    def __init__(self) -> None:
        self._cells: dict[int, list[int]] = {}

    def add(self, event: FirstEvent, number: int = 1) -> None:
        self._cells.setdefault(event.weight_bp, [0, 0])[event.arm is Arm.CANDIDATE] += number

    def copy(self) -> "_Cells":
        copied = _Cells()
        copied._cells = {weight_bp: list(cell) for weight_bp, cell in self._cells.items()}
        return copied

    def of(self, arm: Arm) -> int:
        return sum(cell[arm is Arm.CANDIDATE] for cell in self._cells.values())

    def counts(self) -> ArmCounts:
        return ArmCounts({weight_bp: ArmCount(*cell) for weight_bp, cell in sorted(self._cells.items()) if any(cell)})


class _CostSums:
    """`BadnessSums` that also go down; whole numbers, so what is taken away is exactly what was added."""

    def __init__(self, bets: Bets, cap_nano_usd: int) -> None:
        self._bets = bets
        self._cap_nano_usd = cap_nano_usd
        self._columns = {arm: [0] * len(bets.ratios) for arm in Arm}

    def share(self, cost_nano_usd: int) -> float:
        return min(max(cost_nano_usd, 0), self._cap_nano_usd) / self._cap_nano_usd

    def add(self, event: FirstEvent, number: int = 1) -> None:
        weight, column = weight_of(event.weight_bp), self._columns[event.arm]
        won = gain(event.arm, event.badness, self._bets.rho, weight)
        for place, ratio in enumerate(self._bets.ratios):
            column[place] += number * log_units(bet(ratio, self._bets.rho, weight) * won)

    def sums(self) -> BadnessSums:
        return BadnessSums(self._bets, tuple(self._columns[Arm.STABLE]), tuple(self._columns[Arm.CANDIDATE]))


class _Signal:
    """One guard of 0/1 badness."""

    def __init__(self, guard: Guard, is_bad: Callable[[int, int], bool]) -> None:
        self.guard = guard
        self.is_bad = is_bad
        """Of marks and microseconds."""
        self.bad = _Cells()
        self.first = _Cells()
        self.by_unit: dict[int, FirstEvent] = {}

    def read(self, requests: _Cells) -> CountedSignal:
        bad = self.bad.of(Arm.CANDIDATE)
        candidate = FloorCounts(bad, requests.of(Arm.CANDIDATE) - bad)
        return CountedSignal(self.guard, self.first.counts(), self.bad.counts(), candidate)


class _Fold:
    """What has been read of one rollout."""

    def __init__(self, plan: SignalPlan, units_max: int) -> None:
        self.plan = plan
        self.units_max = units_max
        self.numbers: dict[int, int] = {}
        """By day: the last batch that was read."""
        self.requests, self.unpriced, self.first = _Cells(), _Cells(), _Cells()
        self.unmonitored = self.other_release = 0
        self.by_unit: dict[int, FirstEvent] = {}
        """First request of each unit that sticks; badness is its cost."""
        self.signals = _signals(plan)
        cap = plan.cost_cap_nano_usd
        self.cost = None if cap is None else _CostSums(bets_on_worse(plan.cost_rho), cap)
        rho, floor = plan.review_rho, plan.review_floor
        self.reviews = None if rho is None else ReviewFold(rho, floor, units_max)
        self.units = 0
        self.is_full = False

    def take(self, row: Sequence[Any]) -> None:
        """One request. Any: a row's values are text and int."""
        _, arm, weight_bp, unit_hash, started_us, duration_us, cost_nano_usd, marks = row
        if not 0 < weight_bp < WEIGHT_BP_MAX:
            # Where one arm gets everything nothing is compared.
            self.unmonitored += weight_bp == 0
            return
        if marks & Mark.OTHER_RELEASE:
            self.other_release += 1
            return
        unit = int(unit_hash, 16) if unit_hash else None
        badness = 0.0 if self.cost is None else self.cost.share(cost_nano_usd)
        event = FirstEvent(started_us, Arm(arm), weight_bp, badness)
        self.requests.add(event)
        if marks & Mark.UNPRICED:
            self.unpriced.add(event)
        self._count(self.by_unit, unit, event, [self.first] if self.cost is None else [self.first, self.cost])
        bad = FirstEvent(started_us, event.arm, weight_bp)
        for signal in self.signals:
            if signal.is_bad(marks, duration_us):
                signal.bad.add(bad)
                self._count(signal.by_unit, unit, bad, [signal.first])

    def _count(
        self, by_unit: dict[int, FirstEvent], unit: int | None, event: FirstEvent, sums: Iterable[_Cells | _CostSums]
    ) -> None:
        """Count an event if it is its unit's first so far, and no longer the one that was held for it."""
        known = None
        if unit is not None:
            known = by_unit.get(unit)
            if known is not None and known.rank() <= event.rank():
                return
            if known is None:
                if self.units >= self.units_max:
                    self.is_full = True
                    return
                self.units += 1
            by_unit[unit] = event
        for one in sums:
            one.add(event)
            if known is not None:
                one.add(known, -1)

    def first_requests(self, under_way: Iterable[Intent]) -> ArmCounts:
        """First requests with those that have not ended: they were dealt an arm, and the slow arm has more of them."""
        first = self.first.copy()
        dealt: dict[int, FirstEvent] = {}
        for intent in under_way:
            if not 0 < intent.weight_bp < WEIGHT_BP_MAX or is_of_other_release(intent):
                continue
            event = FirstEvent(intent.at_us, Arm(intent.arm), intent.weight_bp)
            if not intent.unit_hash:
                first.add(event)
                continue
            unit = int(intent.unit_hash, 16)
            known = dealt.get(unit) or self.by_unit.get(unit)
            if known is None or event.rank() < known.rank():
                first.add(event)
                if known is not None:
                    first.add(known, -1)
                dealt[unit] = event
        return first.counts()


def _signals(plan: SignalPlan) -> tuple[_Signal, ...]:
    failed = _Signal(Guard.ERROR, lambda marks, _: bool(marks & Mark.FAILED))
    broken = _Signal(Guard.CONTRACT, lambda marks, _: bool(marks & Mark.BROKE_CONTRACT))
    slow_us = plan.slow_us
    if slow_us is None:
        return failed, broken
    return failed, _Signal(Guard.SLOW, lambda marks, took_us: bool(marks & Mark.NOT_OK) or took_us > slow_us), broken
