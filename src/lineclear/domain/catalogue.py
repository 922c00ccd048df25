"""Catalogue vocabulary: statuses, data classes, tiers, and the pure rules over them."""

import re
from datetime import UTC, datetime
from enum import StrEnum


class ModelStatus(StrEnum):
    """Where a model version stands. Source: research/release-governance.md §3.2."""

    TEST = "test"
    APPROVED = "approved"
    DEPRECATED = "deprecated"
    RETIRED = "retired"
    BLOCKED = "blocked"


class DataClass(StrEnum):
    """How sensitive data is; ordered public < internal < confidential < restricted."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"


DATA_CLASS_ORDER = (DataClass.PUBLIC, DataClass.INTERNAL, DataClass.CONFIDENTIAL, DataClass.RESTRICTED)


_RANKS = {data_class: rank for rank, data_class in enumerate(DATA_CLASS_ORDER)}


def data_class_rank(data_class: DataClass) -> int:
    """0 for public up to 3 for restricted."""
    return _RANKS[data_class]


_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?")


def instant_s(text: str) -> int:
    """Unix seconds of a card's date: a day, which begins at midnight UTC, or an instant in UTC.

    Raises:
        ValueError: it is neither; the message says what one looks like.
    """
    problem = f"{text!r} is no date: write 2026-11-22 or 2026-11-22T08:00:00Z"
    if not _INSTANT.fullmatch(text):
        raise ValueError(problem)
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise ValueError(problem) from error


def instant_text(unix_s: int) -> str:
    """As `instant_s` reads it; a midnight is a day."""
    at = datetime.fromtimestamp(unix_s, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if unix_s % 86_400 else at.strftime("%Y-%m-%d")


class EnvironmentClass(StrEnum):
    """What an environment is for: statuses allowed depend on it."""

    TEST = "test"
    LIVE = "live"


class CostTier(StrEnum):
    LOW = "low"
    STANDARD = "standard"
    HIGH = "high"


class RiskTier(StrEnum):
    LOW = "low"
    LIMITED = "limited"
    HIGH = "high"


class Capability(StrEnum):
    """What a model version can do beyond text in, text out, as its card says."""

    TOOLS = "tools"
    """Calls tools that a request defines."""
    VISION = "vision"
    """Takes images."""
    AUDIO = "audio"
    """Takes or gives sound."""
    JSON_SCHEMA = "json_schema"
    """Keeps to a schema that a request gives."""
    REASONING = "reasoning"
    """Thinks before it answers."""


class VendorState(StrEnum):
    """How a vendor's record stands; a hosted model, whose calls go to nobody, has none and counts as valid."""

    VALID = "valid"
    """Everything is known and in force."""
    MISSING = "missing"
    """There is no record."""
    INCOMPLETE = "incomplete"
    """Something in it is not known."""
    EXPIRED = "expired"
    """A piece of evidence has run out, or its review is overdue."""


UNKNOWN_REGION = "unknown"
"""What stands for the region of a provider that does not say it."""
HOSTED_REGION = "local"
"""What stands for the region of a hosted model."""


class Engine(StrEnum):
    """What runs a hosted model version."""

    GGUF = "gguf"
    ONNX = "onnx"
    SIMULATED = "simulated"
