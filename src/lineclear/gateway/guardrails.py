"""A route's guardrails, ready to check: the rules of its environment and of its release, with their detectors.

In: rules of sections. Out: Guardrails. Made when the snapshot is compiled; a rule that cannot be made refuses the
snapshot. Must not: look at a request.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from lineclear.checks.answer_schema import AnswerSchema, SchemaMistake
from lineclear.checks.deny_list import DenyList
from lineclear.checks.finding import Detector
from lineclear.checks.known import detectors_named
from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.domain.guardrails import GuardrailAction, GuardrailRule, GuardrailSide


class Checks(msgspec.Struct, frozen=True, gc=False):
    """What one side of a call, input or output, is held against."""

    detectors: tuple[Detector, ...]
    formats: tuple[Detector, ...]
    """Those of them that tell a thing by its format; the others have lists of words."""
    rules: dict[str, tuple[GuardrailRule, ...]]
    """By the detector's name."""
    caps: tuple[GuardrailRule, ...]
    schemas: tuple[tuple[GuardrailRule, AnswerSchema], ...]
    ids: tuple[str, ...]

    @property
    def reads_text(self) -> bool:
        return bool(self.detectors or self.schemas)


class Guardrails(msgspec.Struct, frozen=True, gc=False):
    """Both sides of a route; None where no rule looks."""

    input: Checks | None
    output: Checks | None


def compile_guardrails(rules: Sequence[GuardrailRule]) -> Guardrails | None:
    """The rules made ready; None if there are none.

    Raises:
        ValueError: naming the rule that cannot be made.
    """
    if not rules:
        return None
    return Guardrails(_side(rules, GuardrailSide.INPUT), _side(rules, GuardrailSide.OUTPUT))


def _side(rules: Iterable[GuardrailRule], side: GuardrailSide) -> Checks | None:
    mine = [rule for rule in rules if side in rule.on]
    if not mine:
        return None
    detectors: dict[str, Detector] = {}
    by_detector: dict[str, tuple[GuardrailRule, ...]] = {}
    for rule in mine:
        for detector in _detectors(rule):
            detectors[detector.name] = detector
            by_detector[detector.name] = (*by_detector.get(detector.name, ()), rule)
    formats = tuple(detectors.values())
    for detector, rules in _deny_lists(mine):
        detectors[detector.name] = detector
        by_detector[detector.name] = rules
    return Checks(
        detectors=tuple(detectors.values()),
        formats=formats,
        rules=by_detector,
        caps=tuple(rule for rule in mine if rule.max_bytes is not None),
        schemas=tuple((rule, _schema(rule)) for rule in mine if rule.json_schema),
        ids=tuple(rule.id for rule in mine),
    )


def _detectors(rule: GuardrailRule) -> list[Detector]:
    try:
        return detectors_named(rule.detect)
    except KeyError as error:
        raise ValueError(
            f"guardrail rule {rule.id!r} names a detector {error} that this program does not have"
        ) from error


def _deny_lists(rules: Iterable[GuardrailRule]) -> Iterator[tuple[Detector, tuple[GuardrailRule, ...]]]:
    """A list for each set of phrases, and the rules that have it.

    An environment and a release may have one rule at two points in time: both hold, under names of their own.
    """
    sharing: dict[tuple[str, tuple[str, ...], bool], list[GuardrailRule]] = {}
    for rule in rules:
        if rule.deny:
            sharing.setdefault((rule.whose, rule.deny, rule.whole_words), []).append(rule)
    seen: Counter[str] = Counter()
    for (whose, phrases, whole_words), mine in sharing.items():
        seen[whose] += 1
        name = whose if seen[whose] == 1 else f"{whose}#{seen[whose]}"
        yield DenyList(name, phrases, whole_words=whole_words), tuple(mine)


def _schema(rule: GuardrailRule) -> AnswerSchema:
    try:
        return AnswerSchema(msgspec.json.decode(rule.json_schema))
    except (SchemaMistake, msgspec.DecodeError) as error:
        raise ValueError(f"the schema of guardrail rule {rule.id!r} {error}") from error


def blocked(rules: Iterable[str], what: str, hint: str) -> CallerError:
    """The refusal of a call or its answer; it never repeats what was found."""
    ids = tuple(dict.fromkeys(rules))
    return CallerError(ErrorCode.GUARDRAIL_BLOCKED, f"{what} (guardrail rule {', '.join(ids)})", hint=hint, rules=ids)


def is_block(rule: GuardrailRule) -> bool:
    return rule.action is GuardrailAction.BLOCK
