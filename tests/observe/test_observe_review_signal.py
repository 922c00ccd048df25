"""Reviews as evidence: the newest of each request, first of each unit, the same sums in any order."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lineclear.control.ingest.ingest import Ingest
from lineclear.domain.entry import day_of
from lineclear.domain.evidence import Arm, BadnessSums, bets_on_worse
from lineclear.domain.floor import FloorSums
from lineclear.domain.reviews import BADNESS, ReviewOutcome
from lineclear.domain.signals import ReviewSignal, SignalPlan
from lineclear.observe.signals import Signals
from lineclear.store.ledger import Ledger
from lineclear.testing.clock import START_UNIX_US
from lineclear.testing.records import Spool, exchange_id, intent, review, settle

ROLLOUT = "ro_1"
PLAN = SignalPlan(ROLLOUT, day_of(START_UNIX_US), None, None, review_rho=1.25, review_floor=0.01)
WORKERS = ("local-b00t-0-1", "local-b00t-1-1", "local-b00t-2-1")


def make_ingest(ledger: Ledger, spool: Spool) -> Ingest:
    return Ingest(ledger, spool.directory, spool.clock, accountant_positions=dict)


def signal_of(ledger: Ledger, ingest: Ingest, spool: Spool, plan: SignalPlan = PLAN) -> ReviewSignal:
    found = Signals(ledger, ingest.standing, spool.clock).evidence(plan).reviews
    assert found is not None
    return found


def exchange(number: int, arm: Arm, unit: str = "", weight_bp: int = 5_000, **more: Any) -> list[Any]:
    # Any: records, and their fields.
    facts = {"arm": arm, "rollout": ROLLOUT, "weight_bp": weight_bp, "unit_hash": unit, **more}
    return [intent(number, START_UNIX_US + number, **facts), settle(number, START_UNIX_US + number)]


def said(number: int, about: int, outcome: str, after_us: int = 0) -> Any:
    # Any: a record.
    at_us = START_UNIX_US + 1_000_000 + after_us
    return review(number, at_us, outcome=outcome, request=exchange_id(about, START_UNIX_US + about))


def test_the_sums_are_those_of_the_reviews(ledger: Ledger, spool: Spool) -> None:
    chance = random.Random(3)
    arms = {number: chance.choice(list(Arm)) for number in range(300)}
    outcomes = {number: chance.choice(list(ReviewOutcome)) for number in arms if chance.random() < 0.7}
    for number, arm in arms.items():
        spool.write(*exchange(number, arm), source=chance.choice(WORKERS))
    records = [said(1_000 + number, number, outcome) for number, outcome in outcomes.items()]
    chance.shuffle(records)
    ingest = make_ingest(ledger, spool)
    signals = Signals(ledger, ingest.standing, spool.clock)
    for start in range(0, len(records), 40):
        spool.write(*records[start : start + 40], source=chance.choice(WORKERS))
        ingest.catch_up()
        # Looked at between: what is read later adds to what was read before.
        signals.evidence(PLAN)
    found = signals.evidence(PLAN).reviews
    bets = bets_on_worse(1.25)
    events = [(arms[number], 5_000, BADNESS[outcome]) for number, outcome in outcomes.items()]
    expected = ReviewSignal(
        stable=_counts(arms, outcomes, Arm.STABLE),
        candidate=_counts(arms, outcomes, Arm.CANDIDATE),
        worse=BadnessSums.summed(bets, events),
        material=FloorSums.summed(0.01, [badness for arm, _, badness in events if arm is Arm.CANDIDATE]),
    )
    assert found == expected
    assert signal_of(ledger, ingest, spool) == expected


def _counts(arms: dict[int, Arm], outcomes: dict[int, ReviewOutcome], wanted: Arm) -> dict[ReviewOutcome, int]:
    return dict(Counter(outcome for number, outcome in sorted(outcomes.items()) if arms[number] is wanted))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_newest_review_of_a_request_is_the_one_that_counts(
    ledger: Ledger, spool: Spool, order: tuple[int, ...]
) -> None:
    spool.write(*exchange(1, Arm.CANDIDATE))
    three = [said(11, 1, "rejected"), said(12, 1, "approved", 5), said(13, 1, "edited", 9)]
    ingest = make_ingest(ledger, spool)
    for place in order:
        spool.write(three[place])
        ingest.catch_up()
    found = signal_of(ledger, ingest, spool)
    assert found.candidate == {ReviewOutcome.EDITED: 1}
    assert found.worse == BadnessSums.summed(bets_on_worse(1.25), [(Arm.CANDIDATE, 5_000, 0.5)])


def test_one_unit_that_dislikes_everything_is_one_piece_of_evidence(ledger: Ledger, spool: Spool) -> None:
    for number in range(50):
        spool.write(*exchange(number, Arm.CANDIDATE, unit=f"{7:016x}"), said(100 + number, number, "rejected"))
    ingest = make_ingest(ledger, spool)
    ingest.catch_up()
    found = signal_of(ledger, ingest, spool)
    assert found.count(Arm.CANDIDATE) == 50
    assert found.worse == BadnessSums.summed(bets_on_worse(1.25), [(Arm.CANDIDATE, 5_000, 1.0)])


def test_what_compares_nothing_counts_for_nothing(ledger: Ledger, spool: Spool) -> None:
    spool.write(*exchange(1, Arm.CANDIDATE, weight_bp=0), *exchange(2, Arm.STABLE, rollout="ro_other"))
    spool.write(*exchange(3, Arm.STABLE, echo="rel_00000000000000ff"), *exchange(4, Arm.STABLE, weight_bp=10_000))
    spool.write(*(said(10 + number, number, "rejected") for number in range(1, 5)))
    ingest = make_ingest(ledger, spool)
    ingest.catch_up()
    found = signal_of(ledger, ingest, spool)
    assert (found.stable, found.candidate) == ({}, {})
    assert (
        Signals(ledger, ingest.standing, spool.clock).evidence(msgspec.structs.replace(PLAN, review_rho=None)).reviews
        is None
    )


def test_more_reviews_than_are_kept_are_said_to_be_more(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    ledger = Ledger.open(tmp_path / "ledger")
    for number in range(4):
        spool.write(*exchange(number, Arm.STABLE), said(10 + number, number, "approved"))
    ingest = make_ingest(ledger, spool)
    ingest.catch_up()
    assert Signals(ledger, ingest.standing, spool.clock, units_max=3).evidence(PLAN).is_full
    assert not Signals(ledger, ingest.standing, spool.clock, units_max=4).evidence(PLAN).is_full
    ledger.close()
    spool.close()
