"""What copies show of a candidate: enough is seen, too much fails, too little came of it, or nobody knows the cost."""

import pytest

from lineclear.domain.rollout import GateVerdict
from lineclear.domain.shadow import ShadowSpec, ShadowSums, shadow_result

S = 1_000_000
SPEC = ShadowSpec(1_000, 300, 600 * S, 2_000_000_000, 0.02, 1.25, 0.05)


@pytest.mark.parametrize(
    ("sums", "now_s", "verdict", "words"),
    [
        (ShadowSums(both_good=500), 5, GateVerdict.PASS, "500 copies, 0 of them without an answer (0 of stable's)"),
        (ShadowSums(both_good=299), 5, GateVerdict.RUNNING, "at least 300 are needed"),
        (ShadowSums(both_good=60, worse=40), 5, GateVerdict.FAIL, "the candidate fails where stable answers"),
        (ShadowSums(both_good=9), 601, GateVerdict.INCONCLUSIVE, "nothing is shown in 601 s"),
        (
            ShadowSums(both_good=9, candidate_nano_usd=2_000_000_000),
            5,
            GateVerdict.INCONCLUSIVE,
            "2.000000000 USD are spent",
        ),
        # What was not asked for want of a price is no answer that the candidate owed.
        (ShadowSums(both_good=60, worse=40, unpriced=40), 5, GateVerdict.INCONCLUSIVE, "has no price"),
        (ShadowSums(both_good=500, worse=1, unpriced=1), 5, GateVerdict.INCONCLUSIVE, "has no price"),
    ],
)
def test_the_verdict_of_copies(sums: ShadowSums, now_s: int, verdict: GateVerdict, words: str) -> None:
    found = shadow_result(SPEC, sums, 0, now_s * S)
    assert found.verdict is verdict
    assert words in found.words
