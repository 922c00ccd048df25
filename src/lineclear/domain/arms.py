"""Which arm of a rollout a unit is on: one hash, compared with the candidate's weight.

In: a rollout's id and a unit's name. Out: a point, and whether it lies below a weight. Monotone: a unit that the
candidate has at one weight it has at every higher one, so a ramp only ever moves units from stable to the candidate.
Each rollout deals anew, because its id is the salt. Source: design decision 38.
"""

from hashlib import blake2b
from typing import Final

from lineclear.domain.evidence import WEIGHT_BP_MAX

POINT_BITS: Final = 64


def arm_salt(rollout: str) -> blake2b:
    """A rollout's hash before any unit, to be copied; 8 bytes."""
    return blake2b(digest_size=POINT_BITS // 8, key=blake2b(rollout.encode(), digest_size=32).digest())


def arm_point(salt: blake2b, unit: str) -> int:
    """Where a unit lies, from 0 to 2**64 - 1."""
    dealt = salt.copy()
    dealt.update(unit.encode())
    return int.from_bytes(dealt.digest(), "big")


def is_candidate(point: int, weight_bp: int) -> bool:
    """Whether the candidate has what lies there, at this weight in basis points. At 0 it has nothing."""
    return point * WEIGHT_BP_MAX < weight_bp << POINT_BITS
