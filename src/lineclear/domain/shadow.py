"""A step of a rollout in which copies of calls go to the candidate and nobody gets its answers: what is held to what.

In: what a step asks for; sums over the pairs that were seen. Out: a spec that a rollout can keep; a verdict in words.
Pure. Only whether an answer came counts for the verdict: a changed text is what a change is for, so it is shown.
"""

from typing import Final

import msgspec

from lineclear.domain.money import usd_text
from lineclear.domain.pairs import PairRule, Pairs, PairVerdict
from lineclear.domain.rollout import GateResult, GateVerdict

SHADOW_APP: Final = "(shadow)"
"""In whose name copies are in the ledger: no app can have that name, so none is charged or asked for them."""
SAME: Final = "same"
CHANGED: Final = "changed"
UNKNOWN: Final = "unknown"
"""Of a stream the text is not kept, and of vectors there is none."""


class ShadowSpec(msgspec.Struct, frozen=True):
    """What is mirrored and what it is held to, whatever becomes of the manifest."""

    share_bp: int
    """Of stable's calls, in basis points."""
    pairs_min: int
    wait_max_us: int
    spend_cap_nano_usd: int
    margin: float
    ratio: float
    alpha: float

    @property
    def title(self) -> str:
        """In words."""
        return f"shadow of {self.share_bp / 100:g} %"

    @property
    def rule(self) -> PairRule:
        return PairRule(self.ratio, self.margin, self.alpha)


class ShadowSums(msgspec.Struct, frozen=True):
    """What was seen of a run."""

    both_good: int = 0
    both_bad: int = 0
    worse: int = 0
    """Pairs in which stable answered and the candidate did not."""
    better: int = 0
    same: int = 0
    changed: int = 0
    """Answers of which both texts were seen; the rest are neither."""
    stable_nano_usd: int = 0
    candidate_nano_usd: int = 0
    unpriced: int = 0
    """Copies that were not asked, because nobody knows what they would cost."""
    stable_us: int = 0
    candidate_us: int = 0
    """Time of answers, summed over the pairs in which both came."""
    stable_bytes: int = 0
    candidate_bytes: int = 0
    """Text of answers, over the same pairs."""
    first_us: int = 0
    """When the first copy ended; 0 without any."""

    def merge(self, other: "ShadowSums") -> "ShadowSums":
        """Of both days."""
        both = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        firsts = [one for one in (self.first_us, other.first_us) if one]
        summed = ShadowSums(*(one + two for one, two in both))
        return msgspec.structs.replace(summed, first_us=min(firsts, default=0))

    @property
    def pairs(self) -> int:
        return self.both_good + self.both_bad + self.worse + self.better


def shadow_result(spec: ShadowSpec, sums: ShadowSums, begun_us: int, now_us: int) -> GateResult:
    """Fail as soon as the candidate is shown to fail more; pass once enough is seen and it is shown not to."""
    if sums.unpriced:
        # They are among the pairs without an answer, which is no fault of the candidate.
        words = "a model of the candidate has no price, so that no spend cap can be held to it"
        return GateResult(GateVerdict.INCONCLUSIVE, words)
    pairs = Pairs.compared(
        spec.rule,
        (
            *((0.0, 0.0) for _ in range(sums.both_good)),
            *((1.0, 1.0) for _ in range(sums.both_bad)),
            *((1.0, 0.0) for _ in range(sums.worse)),
            *((0.0, 1.0) for _ in range(sums.better)),
        ),
    )
    found = pairs.verdict()
    words = _words(sums)
    if found is PairVerdict.FAIL:
        return GateResult(GateVerdict.FAIL, f"the candidate fails where stable answers: {words}")
    if found is PairVerdict.PASS and sums.pairs >= spec.pairs_min:
        return GateResult(GateVerdict.PASS, words)
    if sums.candidate_nano_usd >= spec.spend_cap_nano_usd:
        return GateResult(GateVerdict.INCONCLUSIVE, f"{usd_text(sums.candidate_nano_usd)} USD are spent: {words}")
    if now_us - begun_us > spec.wait_max_us:
        waited_s = (now_us - begun_us) // 1_000_000
        return GateResult(GateVerdict.INCONCLUSIVE, f"nothing is shown in {waited_s} s: {words}")
    return GateResult(GateVerdict.RUNNING, f"{words}, at least {spec.pairs_min} are needed")


def _words(sums: ShadowSums) -> str:
    failed = sums.worse + sums.both_bad
    said = f"{sums.pairs} copies, {failed} of them without an answer ({sums.better + sums.both_bad} of stable's)"
    compared = sums.same + sums.changed
    if compared:
        said += f", {sums.changed} of {compared} texts changed"
    return said
