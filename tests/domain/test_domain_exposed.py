"""What counts against an arm: a table of endings."""

import pytest

from lineclear.domain.exposed import Mark, is_of_other_release, marks_of
from lineclear.domain.ledger import AttemptRecord
from lineclear.testing.records import intent

BAD = Mark.FAILED | Mark.NOT_OK


def attempt(attempt_class: str) -> AttemptRecord:
    return AttemptRecord(1, "m@1", "p", attempt_class, 0, "", 0, 0, "", 0)


@pytest.mark.parametrize(
    ("outcome", "code", "attempts", "rules", "is_cut", "marks"),
    [
        ("ok", "", ("ok",), (), False, Mark(0)),
        ("ok", "", ("rejected", "ok"), (), False, Mark.FAILED),
        ("ok", "", ("ambiguous", "ok"), (), False, Mark.FAILED),
        ("ok", "", ("ok",), (), True, Mark.BROKE_CONTRACT),
        ("ok", "", ("ok",), ("guardrail.detect:house/secrets",), False, Mark.BROKE_CONTRACT),
        ("ok", "", ("ok",), ("rollout.unmonitored",), False, Mark(0)),
        ("rejected", "upstream_client_error", ("client_error",), (), False, BAD),
        ("failed", "upstream_error", ("rejected",), (), False, BAD),
        ("truncated", "upstream_error", ("partial",), (), False, BAD),
        ("client_gone", "", ("partial",), (), False, BAD),
        ("client_gone", "", ("ambiguous",), (), False, BAD),
        ("deadline", "upstream_timeout", ("ambiguous",), (), False, BAD),
        ("fault", "ledger_unavailable", (), (), False, BAD),
        ("unknown", "", ("ambiguous",), (), False, BAD),
        ("refused", "no_healthy_target", (), (), False, BAD),
        ("refused", "variable_missing", (), (), False, BAD),
        ("refused", "guardrail_blocked", ("policy",), ("guardrail.size",), False, Mark.NOT_OK | Mark.BROKE_CONTRACT),
        ("refused", "budget_exceeded", (), ("limit.budget:app:shop",), False, Mark(0)),
        ("refused", "rate_limited", (), ("limit.requests:app:shop",), False, Mark(0)),
        ("refused", "concurrency_limited", (), ("limit.concurrency:app:shop",), False, Mark(0)),
        ("truncated", "invalid_api_key", ("partial",), ("key.revoked",), False, Mark(0)),
        ("refused", "stopped", ("ambiguous",), ("stop.app:shop",), False, Mark(0)),
        ("truncated", "stopped", ("partial",), ("stop.all",), False, Mark(0)),
        ("truncated", "stopped", ("partial",), ("stop.provider:acme",), False, BAD),
        ("refused", "stopped", (), ("stop.provider:acme",), False, BAD),
        ("truncated", "model_blocked", ("partial",), ("status.blocked",), False, BAD),
    ],
)
def test_endings(
    outcome: str, code: str, attempts: tuple[str, ...], rules: tuple[str, ...], is_cut: bool, marks: Mark
) -> None:
    tried = [attempt(one) for one in attempts]
    assert marks_of(outcome, code, tried, rules, is_cut=is_cut) == marks


def test_an_app_of_another_release_is_of_neither_arm() -> None:
    assert not is_of_other_release(intent(1))
    assert not is_of_other_release(intent(1, echo="rel_0123456789abcdef"))
    assert is_of_other_release(intent(1, echo="rel_00000000000000ff"))
