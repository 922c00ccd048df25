"""Evidence that a rate lies above a fixed floor: the one-sample e-process behind "does it matter at all".

In: bad and good requests of one arm, or badness from 0 to 1. Out: ln E; while the mean badness is at most the floor,
P(E ever reaches 1/alpha) <= alpha. A rollback needs both this and the evidence against stable; since both must reject,
neither pays for the other (intersection-union test), and the promise about harmless rollouts never rests on this one.
Source: release-governance §2.1 (materiality floor) and §2.4 (budget rate); Waudby-Smith & Ramdas, JRSS-B 86(1) 2024.
"""

from collections import Counter
from collections.abc import Iterable
from math import log, log1p
from typing import Final

import msgspec

from lineclear.domain.evidence import FACTORS, UNITS_PER_NAT, add, log_units, mean_of_logs

FLOOR_DEFAULT: Final = 0.005
"""Half a percent. Source: release-governance §2.1."""


def floor_factors(floor: float) -> tuple[float, ...]:
    """The bets r on "r times the floor" whose rate is below 1.

    Raises:
        ValueError: if the floor is not above 0, or so high that no bet is left (from 5/6 on).
    """
    factors = tuple(factor for factor in FACTORS if factor * floor < 1)
    if not (floor > 0 and factors):
        raise ValueError(f"a floor lies above 0 and below {1 / FACTORS[0]:.2f}, this is {floor!r}")
    return factors


class FloorCounts(msgspec.Struct, frozen=True, array_like=True):
    """Bad and good requests of the arm in question."""

    bad: int = 0
    good: int = 0

    def merge(self, other: "FloorCounts") -> "FloorCounts":
        """The counts of both."""
        return FloorCounts(self.bad + other.bad, self.good + other.good)

    def log_e(self, floor: float) -> float:
        """The logarithm of E against "the rate is at most `floor`"; 0 without requests.

        E_r = r**bad * ((1 - r*p0)/(1 - p0))**good, E their mean.

        Raises:
            ValueError: if the floor leaves no bet.
        """
        return mean_of_logs(
            self.bad * log(factor) + self.good * log1p((1 - factor) * floor / (1 - floor))
            for factor in floor_factors(floor)
        )


class FloorSums(msgspec.Struct, frozen=True):
    """The same for badness between 0 and 1: sums of ln(1 + (r-1)*(x-p0)/(1-p0)), in whole 2**-32 nats.

    For x of 0 and 1 these are the factors of `FloorCounts`.
    """

    floor: float
    sums: tuple[int, ...]

    @classmethod
    def summed(cls, floor: float, badness: Iterable[float]) -> "FloorSums":
        """From each request's badness, the good ones' 0 included.

        Raises:
            ValueError: for a badness outside 0 to 1, or a floor that leaves no bet.
        """
        factors = floor_factors(floor)
        sums = [0] * len(factors)
        for one, number in Counter(badness).items():
            if not 0 <= one <= 1:
                raise ValueError(f"badness lies from 0 to 1, this is {one!r}")
            for place, factor in enumerate(factors):
                sums[place] += number * log_units((factor - 1) * (one - floor) / (1 - floor))
        return cls(floor, tuple(sums))

    def merge(self, other: "FloorSums") -> "FloorSums":
        """The sums of both.

        Raises:
            ValueError: if they stand against different floors.
        """
        if self.floor != other.floor:
            raise ValueError(f"sums against the floors {self.floor!r} and {other.floor!r} do not add")
        return FloorSums(self.floor, add(self.sums, other.sums))

    def log_e(self) -> float:
        """The logarithm of E; 0 without requests."""
        return mean_of_logs(units / UNITS_PER_NAT for units in self.sums)
