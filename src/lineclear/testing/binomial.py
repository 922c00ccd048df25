"""The exact binomial check: whether so many out of so many agree with a probability.

In: how many were seen, of how many, and the probability that is promised. Out: the probability of so many or more (or
fewer), summed term by term; no normal approximation.
"""

from math import exp, fsum, lgamma, log, log1p


def probability_of_at_least(seen: int, runs: int, share: float) -> float:
    """P(X >= seen) for X of `runs` draws, each with probability `share`, 0 < share < 1."""
    return fsum(_probability(number, runs, share) for number in range(seen, runs + 1))


def probability_of_at_most(seen: int, runs: int, share: float) -> float:
    """P(X <= seen)."""
    return fsum(_probability(number, runs, share) for number in range(seen + 1))


def _probability(number: int, runs: int, share: float) -> float:
    ways = lgamma(runs + 1) - lgamma(number + 1) - lgamma(runs - number + 1)
    return exp(ways + number * log(share) + (runs - number) * log1p(-share))
