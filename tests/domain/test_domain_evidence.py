"""The algebra of the bets in exact fractions, figures worked out elsewhere, and evidence that adds in any order."""

from fractions import Fraction
from itertools import product
from math import log
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineclear.domain.evidence import (
    BETS_ON_SPLIT,
    FACTORS,
    UNITS_PER_NAT,
    Arm,
    ArmCounts,
    BadnessSums,
    Bets,
    bet,
    bets_on_not_worse,
    bets_on_worse,
    e_value,
    gain,
    log_factors,
)
from lineclear.domain.first_events import FirstEvent, FirstEvents
from lineclear.domain.floor import FloorCounts, FloorSums

WEIGHTS = [Fraction(bp, 10_000) for bp in (1, 100, 500, 1_000, 2_500, 5_000, 7_500, 9_800, 9_999)]
RHOS = [Fraction(1), Fraction(11, 10), Fraction(5, 4), Fraction(3, 2), Fraction(2), Fraction(4)]
EXACT_FACTORS = [Fraction(str(factor)) for factor in FACTORS]
BADNESS = [Fraction(1, 100), Fraction(1, 2), Fraction(1)]
ARMS = st.sampled_from(list(Arm))
EVENTS = st.lists(st.tuples(ARMS, st.sampled_from([1, 100, 1_000, 5_000, 9_800]), st.floats(0, 1)), max_size=30)


def exact_factor(arm: Arm, badness: Fraction, ratio: Fraction, rho: Fraction, weight: Fraction) -> Fraction:
    """The product's own two functions, which are plain arithmetic, in fractions instead of floats."""
    won = gain(arm, badness, rho, weight)  # type: ignore[arg-type]  # fractions know the same operations
    return 1 + bet(ratio, rho, weight) * won  # type: ignore[arg-type,return-value]  # the same


def mean_factor(
    badness: Fraction, ratio: Fraction, rho: Fraction, weight: Fraction, stable_rate: Fraction, true: Fraction
) -> Fraction:
    """E[factor] of one request: candidate with probability w, bad with its arm's rate."""
    on_candidate = exact_factor(Arm.CANDIDATE, badness, ratio, rho, weight)
    on_stable = exact_factor(Arm.STABLE, badness, ratio, rho, weight)
    assert on_candidate > 0
    assert on_stable > 0
    return 1 + weight * stable_rate * true * (on_candidate - 1) + (1 - weight) * stable_rate * (on_stable - 1)


@pytest.mark.parametrize("rho", RHOS, ids=str)
def test_a_bet_is_fair_at_the_edge_of_its_null_and_unfavourable_inside(rho: Fraction) -> None:
    for weight, factor, badness in product(WEIGHTS, EXACT_FACTORS, BADNESS):
        worse, not_worse, rate = rho * factor, rho / factor, Fraction(1, 100)
        for ratio in (worse, not_worse):
            assert mean_factor(badness, ratio, rho, weight, rate, rho) == 1
        # Evidence of "worse" shrinks where the candidate is better than tolerated, of "not worse" where it is worse.
        assert mean_factor(badness, worse, rho, weight, rate, rho / 2) < 1
        assert mean_factor(badness, not_worse, rho, weight, rate, rho * 2) < 1
        # And both grow where what they bet on is true.
        assert mean_factor(badness, worse, rho, weight, rate, rho * 2) > 1
        assert mean_factor(badness, not_worse, rho, weight, rate, rho / 2) > 1


def test_a_bad_event_counts_by_its_likelihood_ratio() -> None:
    for weight, rho, factor in product(WEIGHTS, RHOS, EXACT_FACTORS):
        for ratio in (rho * factor, rho / factor):
            on_candidate = exact_factor(Arm.CANDIDATE, Fraction(1), ratio, rho, weight)
            on_stable = exact_factor(Arm.STABLE, Fraction(1), ratio, rho, weight)
            assert on_candidate == ratio * (weight * rho + 1 - weight) / (rho * (weight * ratio + 1 - weight))
            assert on_stable == (weight * rho + 1 - weight) / (weight * ratio + 1 - weight)
            logs = log_factors(float(rho), float(ratio), float(weight))
            assert logs == pytest.approx((log(on_candidate), log(on_stable)), rel=1e-12, abs=1e-15)


def test_the_check_of_the_split_is_fair_to_any_split_that_is_as_said() -> None:
    for weight, ratio in product(WEIGHTS, BETS_ON_SPLIT.ratios):
        exact = Fraction(str(ratio))
        assert mean_factor(Fraction(1), exact, Fraction(1), weight, Fraction(1), Fraction(1)) == 1


def test_figures_worked_out_in_fifty_digits() -> None:
    """Each from LR**n by decimal arithmetic, without logarithms until the end."""
    rollout = bets_on_worse(1.25)
    single = ArmCounts.counted([(Arm.STABLE, 1_000, 73), (Arm.CANDIDATE, 1_000, 27)])
    assert single.log_e(rollout) == pytest.approx(6.3703439160530552594, abs=1e-12)
    ramp = ArmCounts.counted(
        (arm, weight_bp, number)
        for weight_bp, stable, candidate in ((100, 55, 2), (500, 60, 9), (2_500, 30, 20))
        for arm, number in ((Arm.STABLE, stable), (Arm.CANDIDATE, candidate))
    )
    assert ramp.log_e(rollout) == pytest.approx(2.4275673156879898036, abs=1e-12)
    alike = ArmCounts.counted([(Arm.STABLE, 5_000, 40), (Arm.CANDIDATE, 5_000, 40)])
    assert alike.log_e(rollout) == pytest.approx(-2.9807974016648892571, abs=1e-12)
    alike = ArmCounts.counted([(Arm.STABLE, 5_000, 42), (Arm.CANDIDATE, 5_000, 42)])
    assert alike.log_e(bets_on_not_worse(2.0)) == pytest.approx(3.5122251057155490726, abs=1e-12)
    split = ArmCounts.counted([(Arm.STABLE, 1_000, 9_000), (Arm.CANDIDATE, 1_000, 1_200)])
    assert split.log_e(BETS_ON_SPLIT) == pytest.approx(14.115853686036203968, abs=1e-9)
    assert FloorCounts(27, 884).log_e(0.005) == pytest.approx(23.581582831350558028, abs=1e-11)
    # At a floor of 20 % the bets on 5, 10 and 30 times as much are no rates and stay out.
    assert FloorCounts(30, 60).log_e(0.2) == pytest.approx(3.3027093747900098619, abs=1e-12)
    cost = BadnessSums.summed(
        bets_on_worse(1.1),
        [
            (Arm.CANDIDATE, 1_000, 0.5),
            (Arm.STABLE, 1_000, 0.25),
            (Arm.CANDIDATE, 5_000, 0.8),
            (Arm.STABLE, 5_000, 1.0),
            (Arm.CANDIDATE, 5_000, 0.05),
        ],
    )
    assert cost.log_e() == pytest.approx(-0.061109716357665732569, abs=5 / UNITS_PER_NAT)
    assert cost.log_e() <= -0.0611097163576657


def test_no_event_is_no_evidence() -> None:
    assert ArmCounts().log_e(bets_on_worse(1.25)) == 0
    assert BadnessSums.empty(bets_on_worse(1.25)).log_e() == 0
    assert FloorCounts().log_e(0.005) == 0
    assert FloorSums.summed(0.005, []).log_e() == 0
    assert e_value(0) == 1


@given(EVENTS, st.randoms(use_true_random=False), st.integers(1, 6))
def test_evidence_is_the_same_in_any_order_and_any_pieces(
    events: list[tuple[Arm, int, float]], random: Random, pieces: int
) -> None:
    bets = bets_on_worse(1.1)
    shuffled = random.sample(events, len(events))
    parts = [shuffled[piece::pieces] for piece in range(pieces)]
    random.shuffle(parts)

    counts = ArmCounts()
    sums, floor_sums, floor_counts = BadnessSums.empty(bets), FloorSums.summed(0.02, []), FloorCounts()
    for part in parts:
        # Through bytes, as a process that was killed would read it again.
        counts = msgspec.json.decode(
            msgspec.json.encode(counts.merge(ArmCounts.counted((arm, bp, 1) for arm, bp, _ in part))), type=ArmCounts
        )
        sums = msgspec.msgpack.decode(
            msgspec.msgpack.encode(sums.merge(BadnessSums.summed(bets, part))), type=BadnessSums
        )
        floor_sums = floor_sums.merge(FloorSums.summed(0.02, (badness for _, _, badness in part)))
        bad = sum(badness > 0.5 for _, _, badness in part)
        floor_counts = floor_counts.merge(FloorCounts(bad, len(part) - bad))

    whole = ArmCounts.counted((arm, bp, 1) for arm, bp, _ in events)
    assert counts == whole
    assert counts.log_e(bets) == whole.log_e(bets)
    assert counts.total(Arm.STABLE) + counts.total(Arm.CANDIDATE) == len(events)
    assert sums == BadnessSums.summed(bets, events)
    assert sums.log_e() == BadnessSums.summed(bets, events).log_e()
    assert floor_sums == FloorSums.summed(0.02, (badness for _, _, badness in events))
    all_bad = sum(badness > 0.5 for _, _, badness in events)
    assert floor_counts == FloorCounts(all_bad, len(events) - all_bad)


@given(st.lists(st.tuples(ARMS, st.sampled_from([1, 1_000, 9_800]), st.booleans()), max_size=60))
def test_whole_badness_gives_the_evidence_of_counts_and_never_more(events: list[tuple[Arm, int, bool]]) -> None:
    bets = bets_on_worse(1.25)
    counts = ArmCounts.counted((arm, bp, 1) for arm, bp, is_bad in events if is_bad).log_e(bets)
    sums = BadnessSums.summed(bets, ((arm, bp, float(is_bad)) for arm, bp, is_bad in events)).log_e()
    assert counts - (len(events) + 1) / UNITS_PER_NAT <= sums <= counts + 1e-12
    flags = [is_bad for _, _, is_bad in events]
    by_count = FloorCounts(sum(flags), len(flags) - sum(flags)).log_e(0.005)
    by_sum = FloorSums.summed(0.005, map(float, flags)).log_e()
    assert by_count - (len(events) + 1) / UNITS_PER_NAT <= by_sum <= by_count + 1e-12


UNIT_EVENTS = st.lists(
    st.tuples(
        st.integers(0, 2**64 - 1) | st.integers(0, 5),
        st.builds(FirstEvent, st.integers(0, 20), ARMS, st.sampled_from([100, 5_000]), st.sampled_from([0.5, 1.0])),
    ),
    max_size=25,
)


@given(UNIT_EVENTS, st.randoms(use_true_random=False), st.integers(1, 5))
def test_the_first_event_of_a_unit_is_the_same_in_any_order_and_any_pieces(
    events: list[tuple[int, FirstEvent]], random: Random, pieces: int
) -> None:
    shuffled = random.sample(events, len(events))
    gathered = FirstEvents()
    for piece in range(pieces):
        gathered = gathered.merge(FirstEvents.gathered(shuffled[piece::pieces]))
        gathered = msgspec.json.decode(msgspec.json.encode(gathered), type=FirstEvents)
    assert gathered == FirstEvents.gathered(events)
    # Reading some of it twice changes nothing.
    assert gathered.merge(FirstEvents.gathered(shuffled[:10])) == gathered
    for unit, first in gathered.by_unit.items():
        assert first.at_us == min(event.at_us for other, event in events if other == unit)
    counts = gathered.counts()
    assert counts.total(Arm.STABLE) + counts.total(Arm.CANDIDATE) == len({unit for unit, _ in events})
    bets = bets_on_worse(1.25)
    assert gathered.sums(bets) == FirstEvents.gathered(shuffled).sums(bets)


def test_sums_of_different_tests_do_not_add() -> None:
    with pytest.raises(ValueError, match=r"sums for rho 1\.1 and 1\.25 do not add"):
        BadnessSums.empty(bets_on_worse(1.1)).merge(BadnessSums.empty(bets_on_worse(1.25)))
    with pytest.raises(ValueError, match="do not add"):
        FloorSums.summed(0.01, []).merge(FloorSums.summed(0.02, []))


@pytest.mark.parametrize("weight_bp", [-1, 0, 10_000, 10_001])
def test_a_weight_that_compares_no_two_arms_is_refused(weight_bp: int) -> None:
    with pytest.raises(ValueError, match="compares no two arms"):
        ArmCounts.counted([(Arm.STABLE, weight_bp, 1)])
    with pytest.raises(ValueError, match="compares no two arms"):
        BadnessSums.summed(bets_on_worse(1.25), [(Arm.STABLE, weight_bp, 0.0)])


@pytest.mark.parametrize("badness", [-0.01, 1.01, float("nan"), float("inf")])
def test_badness_beyond_its_range_is_refused(badness: float) -> None:
    with pytest.raises(ValueError, match="badness lies from 0 to 1"):
        BadnessSums.summed(bets_on_worse(1.25), [(Arm.STABLE, 5_000, badness)])
    with pytest.raises(ValueError, match="badness lies from 0 to 1"):
        FloorSums.summed(0.01, [badness])


@pytest.mark.parametrize("floor", [0.0, -0.1, 0.84, 1.0])
def test_a_floor_that_leaves_no_bet_is_refused(floor: float) -> None:
    with pytest.raises(ValueError, match="a floor lies above 0"):
        FloorCounts(1, 1).log_e(floor)


@pytest.mark.parametrize(("rho", "ratios"), [(0.0, (1.0,)), (1.0, ()), (1.0, (-1.0,)), (float("nan"), (1.0,))])
def test_bets_on_nothing_are_refused(rho: float, ratios: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="ratio"):
        Bets(rho, ratios)


def test_evidence_beyond_what_a_float_holds_is_still_a_number() -> None:
    counts = ArmCounts.counted([(Arm.CANDIDATE, 1_000, 100_000)])
    assert counts.log_e(bets_on_worse(1.25)) > 1_000
    assert 1e299 < e_value(counts.log_e(bets_on_worse(1.25))) < float("inf")
