"""What a guardrail's rules must be on their own: one thing to look for each, and an action that fits it.

In: one Guardrail. Out: (path, code, message) per mistake. Pure; whether a schema can be used is control's knowledge.
"""

from collections.abc import Iterator
from typing import Final

from lineclear.config.manifest_fields import near_words
from lineclear.config.yaml_tree import PlainPath
from lineclear.domain.guardrails import DETECTOR_NAMES, GuardrailAction, GuardrailSide
from lineclear.domain.manifest import Guardrail, GuardrailCheck

RULES_MAX: Final = 50
PHRASES_MAX: Final = 5_000
PHRASE_CHARS_MAX: Final = 200
PHRASES_CHARS_MAX: Final = 50_000
"""Of all phrases of a rule together; each gateway keeps them ready in memory."""
KINDS: Final = ("detect", "deny", "max_bytes", "json_schema")


def check_guardrail(guardrail: Guardrail) -> Iterator[tuple[PlainPath, str, str]]:
    """Every mistake of its rules, but for their names."""
    if not guardrail.rules:
        yield ("rules",), "invalid_value", "at least one rule is needed"
    if len(guardrail.rules) > RULES_MAX:
        yield ("rules",), "too_large", f"more than {RULES_MAX} rules"
    for at, rule in enumerate(guardrail.rules):
        for path, code, message in _rule(rule):
            yield ("rules", at, *path), code, message


def _rule(rule: GuardrailCheck) -> Iterator[tuple[PlainPath, str, str]]:
    given = [name for name in KINDS if getattr(rule, name) not in ((), None)]
    if len(given) != 1:
        words = f"this one has {' and '.join(given)}" if given else "this one has none"
        yield ("id",), "invalid_value", f"a rule has one of {', '.join(KINDS)}; {words}"
    if not rule.on:
        yield ("on",), "invalid_value", "at least one of input, output is needed"
    if len(set(rule.on)) != len(rule.on):
        yield ("on",), "duplicate", "a side stands twice"
    yield from _action(rule)
    yield from _detect(rule)
    yield from _deny(rule)
    if rule.max_bytes is not None and rule.max_bytes < 1:
        yield ("max_bytes",), "invalid_value", "must be at least 1"
    if rule.json_schema is not None and GuardrailSide.INPUT in rule.on:
        yield ("on",), "invalid_value", "a json_schema is for answers; write `on: [output]`"
    if not rule.whole_words and not rule.deny:
        yield ("whole_words",), "invalid_value", "`whole_words` belongs to `deny`"


def _action(rule: GuardrailCheck) -> Iterator[tuple[PlainPath, str, str]]:
    if rule.action is not GuardrailAction.REDACT:
        return
    if rule.max_bytes is not None or rule.json_schema is not None:
        yield ("action",), "invalid_value", "there is nothing to take out: `redact` belongs to `detect` and `deny`"
    elif GuardrailSide.INPUT in rule.on:
        message = "redacting what is sent is not yet supported; block or flag it, or write `on: [output]`"
        yield ("action",), "not_yet_supported", message


def _detect(rule: GuardrailCheck) -> Iterator[tuple[PlainPath, str, str]]:
    for at, name in enumerate(rule.detect):
        if name not in DETECTOR_NAMES:
            near = near_words(name, DETECTOR_NAMES) or f"one of {', '.join(DETECTOR_NAMES)}"
            yield ("detect", at), "invalid_value", f"there is no detector {name!r}; {near}"


def _deny(rule: GuardrailCheck) -> Iterator[tuple[PlainPath, str, str]]:
    if len(rule.deny) > PHRASES_MAX or sum(map(len, rule.deny)) > PHRASES_CHARS_MAX:
        yield ("deny",), "too_large", f"more than {PHRASES_MAX} phrases or {PHRASES_CHARS_MAX} characters"
    for at, phrase in enumerate(rule.deny):
        if not any(character.isprintable() and not character.isspace() for character in phrase):
            yield ("deny", at), "invalid_value", "must have something that can be seen"
        elif len(phrase) > PHRASE_CHARS_MAX:
            yield ("deny", at), "too_large", f"longer than {PHRASE_CHARS_MAX} characters"
