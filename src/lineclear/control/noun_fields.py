"""What differs between two states of a noun, field by field, in values and in words.

In: nouns. Out: `FieldChange`s with the paths that files use. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lineclear.control.desired import plain
from lineclear.domain.manifest import Manifest


@dataclass(frozen=True)
class FieldChange:
    """One field; None stands for "not there"."""

    path: str
    before: Any  # Any: a JSON value
    after: Any  # Any: a JSON value
    words: str = ""
    """The change as a person says it, where bare values do not: shares, money, limits."""


def field_changes(before: Manifest | None, after: Manifest | None) -> tuple[FieldChange, ...]:
    """Every field that differs; a noun that is not there has none."""
    old = dict(_flat("", plain(before))) if before is not None else {}
    new = dict(_flat("", plain(after))) if after is not None else {}
    return tuple(
        FieldChange(path, old.get(path), new.get(path), _words(path, old, new))
        for path in [*new, *(path for path in old if path not in new)]
        if path not in ("kind", "name") and old.get(path) != new.get(path)
    )


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Leaves by dotted path; list items that have a name of their own are told apart by it, not by their place."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat(f"{path}.{name}" if path else name, item)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for at, item in enumerate(value):
            label = item.get("version") or item.get("model") or at
            yield from _flat(f"{path}[{label}]", item)
    elif value not in ("", None, [], {}):
        yield path, value


Flat = Mapping[str, Any]

_PER_MTOK = re.compile(r"\.price\.(.+)_per_mtok$")
_UNITS = {
    "limits.requests_per_minute": "requests per minute",
    "limits.tokens_per_minute": "tokens per minute",
    "limits.concurrency": "requests at the same time",
}


def _words(path: str, old: Flat, new: Flat) -> str:
    target = re.fullmatch(r"(environments\.[^.]+\.targets)\[(.+)\]\.(?:weight|model)", path)
    if target is not None:
        return _share_words(target.group(1), target.group(2), old, new)
    per_mtok = _PER_MTOK.search(path)
    if per_mtok is not None:
        bucket = per_mtok.group(1).replace("_", " ")
        return f"{_usd(old.get(path))} → {_usd(new.get(path))} per million {bucket} tokens"
    if path.endswith(".price.per_request"):
        return f"{_usd(old.get(path))} → {_usd(new.get(path))} per answered request"
    if path.endswith("budget.usd_per_month"):
        return f"{_usd(old.get(path))} → {_usd(new.get(path))} a month"
    for end, unit in _UNITS.items():
        if path.endswith(end):
            return f"{_limit(old.get(path))} → {_limit(new.get(path))} {unit}"
    if re.search(r"\.timeouts\.[a-z_]+_s$", path):
        return f"{_seconds(old.get(path))} → {_seconds(new.get(path))}"
    return ""


def _share_words(targets: str, model: str, old: Flat, new: Flat) -> str:
    """`90 % → 80 % of its calls`, which is what a weight means among its neighbours."""
    return f"{_share(targets, model, old)} → {_share(targets, model, new)} of its calls"


def _share(targets: str, model: str, flat: Flat) -> str:
    models = [path for path in flat if path.startswith(f"{targets}[") and path.endswith("].model")]
    weights = {flat[path]: flat.get(path.removesuffix(".model") + ".weight", 1) for path in models}
    if model not in weights:
        return "none"
    environment = targets.removesuffix(".targets")
    if flat.get(f"{environment}.strategy") == "priority":
        return f"place {list(weights).index(model) + 1}"
    share = 100 * weights[model] / (sum(weights.values()) or 1)
    return f"{share:.4g} %"


def _usd(text: Any) -> str:
    return "none" if text is None else f"${text}"


def _limit(value: Any) -> str:
    return "no limit" if value is None else f"{value:,}"


def _seconds(value: Any) -> str:
    return "default" if value is None else f"{value:g} s"
