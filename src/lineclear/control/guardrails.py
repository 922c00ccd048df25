"""Guardrails as gateways read them: the rules of named guardrails, each with the id that refusals carry.

In: nouns. Out: rules for a release's manifest and for the section of environments. Pure.
"""

from collections.abc import Iterable, Mapping

import msgspec

from lineclear.domain.guardrails import DENY, DETECT, SCHEMA, SIZE, GuardrailRule
from lineclear.domain.manifest import Guardrail, GuardrailCheck


def rules_of(names: Iterable[str], guardrails: Mapping[str, Guardrail]) -> tuple[GuardrailRule, ...]:
    """The rules of these guardrails, in the order named."""
    return tuple(_rule(name, check) for name in names for check in guardrails[name].rules)


def _rule(guardrail: str, check: GuardrailCheck) -> GuardrailRule:
    return GuardrailRule(
        id=f"{_kind(check)}:{guardrail}/{check.id}",
        on=check.on,
        action=check.action,
        detect=check.detect,
        deny=check.deny,
        whole_words=check.whole_words,
        max_bytes=check.max_bytes,
        json_schema=schema_text(check),
    )


def schema_text(check: GuardrailCheck) -> str:
    """A rule's schema as JSON with its keys in order; empty if it has none."""
    if check.json_schema is None:
        return ""
    return msgspec.json.encode(check.json_schema, order="deterministic").decode()


def _kind(check: GuardrailCheck) -> str:
    if check.detect:
        return DETECT
    if check.deny:
        return DENY
    return SIZE if check.max_bytes is not None else SCHEMA
