"""The dates of a model version's card: what they must be on their own, and which statuses go with which.

In: one version. Out: (path, code, message) per mistake. Pure.
"""

from collections.abc import Iterator
from typing import TypeAlias

from lineclear.config.yaml_tree import PlainPath
from lineclear.domain.catalogue import ModelStatus, instant_s
from lineclear.domain.manifest import ModelVersion

Mistake: TypeAlias = tuple[PlainPath, str, str]

LEAVING = frozenset({ModelStatus.DEPRECATED, ModelStatus.RETIRED, ModelStatus.BLOCKED})
"""Statuses that keep the dates of a deprecation."""


def check_dates(version: ModelVersion) -> Iterator[Mistake]:
    """Every mistake of `deprecated_at`, `sunset`, `end_of_life`, and what `deprecated` asks for."""
    seconds: dict[str, int] = {}
    for name in ("deprecated_at", "sunset", "end_of_life"):
        text = getattr(version, name)
        if text is None:
            continue
        try:
            seconds[name] = instant_s(text)
        except ValueError as error:
            yield (name,), "invalid_value", str(error)
    if version.status is ModelStatus.DEPRECATED:
        yield from _needed(version)
    elif version.status not in LEAVING:
        yield from _out_of_place(version)
    sunset_s = seconds.get("sunset")
    if sunset_s is not None and sunset_s < seconds.get("deprecated_at", sunset_s):
        yield ("sunset",), "invalid_value", f"is before deprecated_at, {version.deprecated_at}"
    if sunset_s is not None and sunset_s > seconds.get("end_of_life", sunset_s):
        yield ("sunset",), "invalid_value", f"is after {version.end_of_life}, when the vendor stops serving it"


def _out_of_place(version: ModelVersion) -> Iterator[Mistake]:
    for name in ("deprecated_at", "sunset"):
        if getattr(version, name) is not None:
            message = f"belongs to deprecated versions, and this one is {version.status.value}"
            yield (name,), "invalid_value", f"{message}; a date that the vendor announced is `end_of_life`"


def _needed(version: ModelVersion) -> Iterator[Mistake]:
    meanings = {
        "successor": "what callers are to use instead, as name@version",
        "deprecated_at": "since when callers are told to move",
        "sunset": "when it is to be retired",
    }
    for name, meaning in meanings.items():
        if getattr(version, name) is None:
            yield (name,), "missing_field", f"`{name}` is missing: a deprecated version says {meaning}"
