"""In what two releases of a route differ, component by component, each in the way in which it is read.

In: two release manifests. Out: `ComponentDiff`s; nothing for equal parts. Weights for targets, words for prompts,
fields for everything else. Pure.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# Any, in this file: release manifests are JSON.

STEPS_MAX = 100_000_000
"""Steps, a second at worst, for which a text is compared piece by piece; a passage that might take more is told as
replaced whole. Texts that repeat themselves take the cube of their length."""

_PIECES = (
    re.compile(r"[^\n]*\n|[^\n]+"),
    re.compile(r".*?[.!?](?=\s)|.+", re.DOTALL),
    re.compile(r"\s+|\S+"),
)
"""Lines, sentences, words and the spaces between them: every character of a text is in one piece."""


class Edit(StrEnum):
    """What became of a passage."""

    SAME = "same"
    REMOVED = "removed"
    ADDED = "added"


@dataclass(frozen=True)
class Passage:
    """A piece of a prompt's text; those that are same or removed make the text before, same or added the one after."""

    edit: Edit
    text: str


@dataclass(frozen=True)
class FieldDiff:
    """One value; None = it is not there."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True)
class ComponentDiff:
    """One part of a release that differs."""

    component: str
    """strategy, targets, fallback, prompt, parameters, retrieval, guardrails, tools, timeouts, max_tokens."""
    fields: tuple[FieldDiff, ...]
    passages: tuple[Passage, ...] = ()
    """Of a prompt whose text differs."""


def diff_releases(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[ComponentDiff]:
    """Every component that differs, in the order of the manifest's reading."""
    made = [
        _component("strategy", {"strategy": before["strategy"]}, {"strategy": after["strategy"]}),
        _component("targets", _targets(before), _targets(after)),
        _component("fallback", {"fallback": before["fallback"]}, {"fallback": after["fallback"]}),
        _prompt_diff(before["prompt"], after["prompt"]),
        *(_component(name, _values(before, name), _values(after, name)) for name in ("parameters", "retrieval")),
        _component("guardrails", _guardrails(before), _guardrails(after)),
        _component("tools", _tools(before), _tools(after)),
        _component("timeouts", before["timeouts"], after["timeouts"]),
        _component("max_tokens", {"max_tokens": before["max_tokens"]}, {"max_tokens": after["max_tokens"]}),
    ]
    return [item for item in made if item is not None]


def diff_texts(before: str, after: str) -> tuple[Passage, ...]:
    """Two texts as passages: lines first, then the sentences of those that changed, then the words of those."""
    return tuple(_joined(_passages(before, after, _PIECES, _Budget())))


class _Budget:
    """The steps that comparing one text may still take."""

    def __init__(self) -> None:
        self.left = STEPS_MAX

    def take(self, steps: int) -> bool:
        """Whether they are left; they are taken then."""
        has_room = steps <= self.left
        self.left -= steps if has_room else 0
        return has_room


def _passages(before: str, after: str, pieces: Sequence[re.Pattern[str]], budget: _Budget) -> Iterator[Passage]:
    piece, *finer = pieces
    for is_same, was, now in _compared(piece.findall(before), piece.findall(after), budget):
        if is_same:
            yield Passage(Edit.SAME, was)
        elif finer and was and now:
            yield from _passages(was, now, finer, budget)
        else:
            yield Passage(Edit.REMOVED, was)
            yield Passage(Edit.ADDED, now)


def _compared(old: Sequence[str], new: Sequence[str], budget: _Budget) -> Iterator[tuple[bool, str, str]]:
    """Runs of pieces in order: whether they are the same, as they were, as they are."""
    shorter = min(len(old), len(new))
    head = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    tail = next((at for at in range(shorter - head) if old[-1 - at] != new[-1 - at]), shorter - head)
    yield True, "".join(old[:head]), "".join(new[:head])
    was, now = old[head : len(old) - tail], new[head : len(new) - tail]
    if not budget.take(_steps_at_most(was, now)):
        yield False, "".join(was), "".join(now)
    else:
        for edit, at, until, to_at, to_until in difflib.SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
            yield edit == "equal", "".join(was[at:until]), "".join(now[to_at:to_until])
    yield True, "".join(old[len(old) - tail :]), "".join(new[len(new) - tail :])


def _steps_at_most(old: Sequence[str], new: Sequence[str]) -> int:
    """What difflib may take: each run that it finds costs it at most every pair of equal pieces (its own comments)."""
    counts = Counter(new)
    return min(len(old), len(new)) * sum(counts[piece] for piece in old)


def _joined(passages: Iterable[Passage]) -> Iterator[Passage]:
    """Each change as one removal and one addition; a space between two changed words is part of the change."""
    same = removed = added = ""
    for passage in passages:
        is_changing = bool(removed or added)
        if passage.edit is Edit.SAME and not (is_changing and passage.text == " "):
            if is_changing:
                yield from _change(same, removed, added)
                same = removed = added = ""
            same += passage.text
        else:
            removed += "" if passage.edit is Edit.ADDED else passage.text
            added += "" if passage.edit is Edit.REMOVED else passage.text
    yield from _change(same, removed, added)


def _change(same: str, removed: str, added: str) -> Iterator[Passage]:
    """What stayed, and what came after it."""
    for edit, text in ((Edit.SAME, same), (Edit.REMOVED, removed), (Edit.ADDED, added)):
        if text:
            yield Passage(edit, text)


def _component(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> ComponentDiff | None:
    fields = tuple(
        FieldDiff(field, before.get(field), after.get(field))
        for field in dict.fromkeys([*before, *after])
        if before.get(field) != after.get(field)
    )
    return ComponentDiff(name, fields) if fields else None


def _prompt_diff(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> ComponentDiff | None:
    was, now = dict(before or {}), dict(after or {})
    old, new = str(was.pop("text", "")), str(now.pop("text", ""))
    found = _component("prompt", was, now)
    if found is None:
        return None
    return ComponentDiff("prompt", found.fields, diff_texts(old, new) if old != new else ())


def _targets(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Weights by model version."""
    return {item["model"]: item["weight"] for item in manifest["targets"]}


def _values(manifest: Mapping[str, Any], part: str) -> dict[str, Any]:
    return dict(_flat("", manifest.get(part, {}).get("values", {})))


def _guardrails(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of every rule; a rule's own id tells it apart."""
    return {
        f"{rule['id']}.{name}": value
        for guardrail in manifest.get("guardrails", ())
        for rule in guardrail["rules"]
        for name, value in rule.items()
        if name != "id"
    }


def _tools(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The mode, and every definition field by field."""
    tools = manifest.get("tools")
    if tools is None:
        return {}
    by_name = {
        item["name"]: {name: value for name, value in item.items() if name != "name"} for item in tools["definitions"]
    }
    return {"mode": tools["mode"], **dict(_flat("", by_name))}


def _flat(path: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        where = f"{path}.{name}" if path else name
        if isinstance(value, dict):
            yield from _flat(where, value)
        else:
            yield where, value
