"""Arms: what every gateway, of any version, must deal alike; monotone in the weight; even over units."""

from hypothesis import given
from hypothesis import strategies as st

from lineclear.domain.arms import arm_point, arm_salt, is_candidate

GOLDEN = {
    ("ro_1", "ada"): 0x47E8EEE4DBF9B8E7,
    ("ro_1", "bob"): 0xCA134032D3E4B842,
    ("ro_2", "ada"): 0x410E5E20B6F96100,
}


def test_points_never_change() -> None:
    assert {key: arm_point(arm_salt(key[0]), key[1]) for key in GOLDEN} == GOLDEN


@given(st.text(), st.integers(0, 9_998))
def test_a_rising_weight_takes_nobody_back(unit: str, weight_bp: int) -> None:
    point = arm_point(arm_salt("ro_1"), unit)
    assert is_candidate(point, weight_bp) <= is_candidate(point, weight_bp + 1)
    assert not is_candidate(point, 0)
    assert is_candidate(point, 10_000)


def test_edges_of_a_weight() -> None:
    assert is_candidate(0, 1)
    assert is_candidate((1 << 63) - 1, 5_000)
    assert not is_candidate(1 << 63, 5_000)


def test_the_share_is_the_weight_and_each_rollout_deals_anew() -> None:
    units = [f"user-{number}" for number in range(20_000)]
    one, other = arm_salt("ro_1"), arm_salt("ro_2")
    first = {unit for unit in units if is_candidate(arm_point(one, unit), 1_000)}
    second = {unit for unit in units if is_candidate(arm_point(other, unit), 1_000)}
    assert abs(len(first) - 2_000) < 170  # four standard deviations
    assert abs(len(first & second) - 200) < 60
