"""The dates of cards: what those of a model version must be, which statuses go with which, and a vendor record's.

In: one version, one vendor record. Out: (path, code, message) per mistake. Pure.
"""

from collections.abc import Iterator
from typing import TypeAlias

from lineclear.config.yaml_tree import PlainPath
from lineclear.domain.catalogue import ModelStatus, instant_s
from lineclear.domain.manifest import ModelVersion, VendorRecord

Mistake: TypeAlias = tuple[PlainPath, str, str]

LEAVING = frozenset({ModelStatus.DEPRECATED, ModelStatus.RETIRED, ModelStatus.BLOCKED})
"""Statuses that keep the dates of a deprecation."""


BROWNOUTS_MAX = 50


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
    yield from _brownouts(version, seconds.get("sunset"))
    if version.status not in LEAVING:
        yield from _out_of_place(version)
    sunset_s = seconds.get("sunset")
    if sunset_s is not None and sunset_s < seconds.get("deprecated_at", sunset_s):
        yield ("sunset",), "invalid_value", f"is before deprecated_at, {version.deprecated_at}"
    if sunset_s is not None and sunset_s > seconds.get("end_of_life", sunset_s):
        yield ("sunset",), "invalid_value", f"is after {version.end_of_life}, when the vendor stops serving it"


def _brownouts(version: ModelVersion, sunset_s: int | None) -> Iterator[Mistake]:
    if len(version.brownouts) > BROWNOUTS_MAX:
        yield ("brownouts",), "too_large", f"at most {BROWNOUTS_MAX}"
    for at, window in enumerate(version.brownouts):
        found: dict[str, int] = {}
        for name, text in (("starts", window.starts), ("ends", window.ends)):
            try:
                found[name] = instant_s(text)
            except ValueError as error:
                yield ("brownouts", at, name), "invalid_value", str(error)
        if len(found) == 2 and found["ends"] <= found["starts"]:
            yield ("brownouts", at, "ends"), "invalid_value", f"is not after {window.starts}"
        elif len(found) == 2 and sunset_s is not None and found["ends"] > sunset_s:
            yield ("brownouts", at, "ends"), "invalid_value", f"is after the sunset, {version.sunset}"


def check_vendor_record(record: VendorRecord) -> Iterator[Mistake]:
    """Every mistake of a vendor record."""
    dates: list[tuple[PlainPath, str]] = [
        (("evidence", at, "expires"), item.expires) for at, item in enumerate(record.evidence)
    ]
    if record.review_by is not None:
        dates.append((("review_by",), record.review_by))
    for path, text in dates:
        try:
            instant_s(text)
        except ValueError as error:
            yield path, "invalid_value", str(error)
    if record.retention_days is not None and record.retention_days < 0:
        yield ("retention_days",), "invalid_value", "must be 0 or more; leave it out if it is not known"


def _out_of_place(version: ModelVersion) -> Iterator[Mistake]:
    for name in ("deprecated_at", "sunset", "brownouts"):
        if getattr(version, name):
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
