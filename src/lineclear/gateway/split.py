"""Which release of a route under rollout a call gets: its unit's arm, chosen once and kept for the exchange.

In: a route's split and the call's head. Out: the arm, as records keep it. A route without a rollout has no split.
Must not: look at targets; one arm never rescues the other (decision 38).
"""

from hashlib import blake2b
from typing import Final

import msgspec

from lineclear.domain.arms import arm_point, arm_salt, is_candidate
from lineclear.domain.evidence import Arm
from lineclear.gateway.exposure import Exposure
from lineclear.gateway.head import Head

UNMONITORED: Final = "rollout.unmonitored"
"""The rule that left the candidate out because no control was seen (decision 41)."""
STABLE: Final = Arm.STABLE
CANDIDATE: Final = Arm.CANDIDATE
"""Reading an enum member through its class costs ten times a module name on Python 3.11."""


class Split(msgspec.Struct, frozen=True, gc=False):
    """How a route's traffic is dealt to its two releases."""

    rollout: str
    weight_bp: int
    """The candidate release's share in basis points, from 1 to 9,999."""
    salt: blake2b
    """See `domain.arms`."""
    unit_salt: blake2b
    """Hash of a unit as records keep it, before any unit: keyed, so that it joins and does not tell (decision 47)."""
    lease_ns: int
    exposure: Exposure


class Assigned(msgspec.Struct, frozen=True, gc=False):
    """The arm of one exchange; what happens afterwards counts there (decision 40)."""

    arm: Arm
    rollout: str
    weight_bp: int
    """The weight in force when it was dealt; 0 while nobody watches."""
    unit_hash: str
    """16 hex digits; empty where the request is its own unit."""


def split_of(rollout: str, weight_bp: int, lease_s: float, pepper: bytes, exposure: Exposure) -> Split:
    """Prepared once for a snapshot."""
    unit_salt = blake2b(rollout.encode() + b"\0", digest_size=8, key=pepper[:64])
    return Split(rollout, weight_bp, arm_salt(rollout), unit_salt, int(lease_s * 1e9), exposure)


def unit_of(head: Head) -> str:
    """Who stays on one arm and one target: user, else session, else idempotency key; empty = the request alone."""
    return head.user or head.session or head.idempotency_key


def assign(split: Split, head: Head) -> Assigned:
    """Deal one call."""
    unit = unit_of(head)
    weight_bp = split.weight_bp if split.exposure.is_watched(split.lease_ns) else 0
    arm = CANDIDATE if is_candidate(arm_point(split.salt, unit or head.request_id), weight_bp) else STABLE
    return Assigned(arm, split.rollout, weight_bp, _unit_hash(split, unit) if unit else "")


def _unit_hash(split: Split, unit: str) -> str:
    hashed = split.unit_salt.copy()
    hashed.update(unit.encode())
    return hashed.hexdigest()
