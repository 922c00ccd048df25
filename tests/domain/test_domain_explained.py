"""Every member of the closed sets has its words, and the words fit where they are shown."""

import re
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path

import pytest

from lineclear.cli.main import COMMANDS
from lineclear.domain import explained
from lineclear.domain.errors import AttemptClass, ErrorCode
from lineclear.domain.ledger import STEPS, Outcome
from lineclear.domain.money import CostBasis
from lineclear.domain.policy_rules import PolicyAction

ROOT = Path(__file__).parents[2]
TABLES: tuple[tuple[type[StrEnum], Collection[StrEnum]], ...] = (
    (explained.Check, explained.CHECKS.keys()),
    (explained.Verdict, explained.VERDICTS.keys()),
    (Outcome, explained.OUTCOMES.keys()),
    (AttemptClass, explained.ATTEMPT_CLASSES.keys()),
    (CostBasis, explained.COST_BASES.keys()),
    (ErrorCode, explained.ADVICE.keys()),
)
CELL_CHARS_MAX = 60
_RULE = re.compile(
    r'"((?:key|task|status|use|data-class|environment|operation|dialect|route|guardrail|rollout)\.[a-z-]+)"'
)


@pytest.mark.parametrize(("members", "words"), TABLES, ids=lambda value: getattr(value, "__name__", ""))
def test_every_member_has_words(members: type[StrEnum], words: Collection[StrEnum]) -> None:
    assert set(words) == set(members)


def test_every_step_has_words() -> None:
    assert tuple(explained.STEPS) == STEPS


def test_every_rule_of_the_gateway_has_words() -> None:
    """A rule's id is two words with a dot between, written as text where it refuses."""
    named = {
        rule
        for folder in ("gateway", "domain")
        for path in sorted((ROOT / "src/lineclear" / folder).glob("*.py"))
        if path.name != "explained.py"
        for rule in _RULE.findall(path.read_text())
    }
    assert len(named) > 5
    limits = {"limit.budget", "limit.requests", "limit.tokens", "limit.concurrency"}
    stops = {"stop.all", "stop.app", "stop.route", "stop.provider"}
    policies = {f"policy.{action.value}" for action in PolicyAction}
    assert named | limits | stops | policies == set(explained.RULES)


def test_what_stands_in_tables_fits_a_cell() -> None:
    texts = [*explained.CHECKS.values(), *explained.ATTEMPT_CLASSES.values(), *explained.RULES.values()]
    assert [text for text in texts if len(text) > CELL_CHARS_MAX] == []


def test_advice_names_commands_that_exist() -> None:
    said = " ".join(advice.next_step for advice in explained.ADVICE.values())
    assert set(re.findall(r"`lineclear ([a-z]+)", said)) <= set(COMMANDS)


def test_what_a_newer_program_recorded_is_shown_as_it_is() -> None:
    assert explained.outcome_words("vanished") == "vanished"
    assert explained.attempt_words("teleported") == "teleported"
    assert explained.basis_words("bartered") == "bartered"
    assert explained.advice_on("no_such_code") is None
    assert explained.label("new_fact") == "new fact"
