"""Catalogue vocabulary: statuses, data classes, tiers, and the pure rules over them."""

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


class Engine(StrEnum):
    """What runs a hosted model version."""

    GGUF = "gguf"
    ONNX = "onnx"
    SIMULATED = "simulated"
