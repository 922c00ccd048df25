"""How vendors do: their ordinary speed and failures, and the spells in which they do badly.

In: a provider and an instant. Out: what a try there is up against. Pure values.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec


class Trouble(StrEnum):
    """What can go wrong with a try."""

    THROTTLED = "throttled"
    OVERLOADED = "overloaded"
    FAILED = "failed"
    SILENT = "silent"
    """Nothing comes within the time for a first event."""
    UNREACHABLE = "unreachable"
    REJECTED = "rejected"
    """It says that the request itself is wrong."""


class Sky(msgspec.Struct, frozen=True, gc=False):
    """One provider at one time."""

    first_ms: float
    """Median until an answer begins."""
    token_ms: float
    """Median per token put out."""
    troubles: Mapping[Trouble, float]
    """Share of tries that end so."""


class Spell(msgspec.Struct, frozen=True, gc=False):
    """Bad weather at one provider."""

    provider: str
    start_us: int
    end_us: int
    troubles: Mapping[Trouble, float]
    slower: float = 1.0


ORDINARY: Final[Mapping[str, Sky]] = {
    "aurora": Sky(
        380, 11,
        {Trouble.THROTTLED: 0.006, Trouble.OVERLOADED: 0.001, Trouble.FAILED: 0.001, Trouble.REJECTED: 0.0012,
         Trouble.SILENT: 0.0002},
    ),
    "meridian": Sky(520, 14, {Trouble.OVERLOADED: 0.004, Trouble.FAILED: 0.0008, Trouble.REJECTED: 0.0008}),
    "basalt": Sky(
        240, 19, {Trouble.UNREACHABLE: 0.004, Trouble.FAILED: 0.003, Trouble.SILENT: 0.001, Trouble.REJECTED: 0.001}
    ),
    "local": Sky(6, 0.4, {}),
}  # fmt: skip


class Weather:
    """Ordinary days and spells."""

    def __init__(self, spells: Sequence[Spell]) -> None:
        self._spells = tuple(spells)

    def at(self, provider: str, at_us: int) -> Sky:
        """What a try is up against; the first spell that covers the instant counts."""
        sky = ORDINARY[provider]
        for spell in self._spells:
            if spell.start_us <= at_us < spell.end_us and spell.provider == provider:
                return Sky(sky.first_ms * spell.slower, sky.token_ms * spell.slower, spell.troubles)
        return sky
