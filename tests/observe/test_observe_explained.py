"""Checks and sentences of every kind of end, from records as gateways write them; and the page lists what there is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineclear.control.endpoint import AdminCode, Call, Refused
from lineclear.control.ingest.ingest import Ingest
from lineclear.control.ledger.http import LedgerDesk
from lineclear.domain.access import PrincipalKind, with_every_role
from lineclear.domain.explained import RULES, Check, Verdict
from lineclear.domain.ledger import AttemptRecord, CandidateRecord
from lineclear.domain.money import Price, Usage
from lineclear.store.ledger import Ledger
from lineclear.testing.records import Spool, checkpoint, exchange_id, intent, refusal, settle

PAGE = (Path(__file__).parents[2] / "docs/explain.md").read_text(encoding="utf-8")
PRICE = Price(version="manifest", input_per_mtok=150_000_000, output_per_mtok=600_000_000)
CHECKS = [check.value for check in Check]


@pytest.fixture
def desk(tmp_path: Path, spool: Spool) -> Iterator[LedgerDesk]:
    ledger = Ledger.open(tmp_path / "ledger")
    ingest = Ingest(ledger, spool.directory, spool.clock, accountant_positions=dict)
    yield LedgerDesk(ledger, ingest, spool.clock, {"acme-small@2026-08": PRICE}.get)
    ledger.close()


def explained(desk: LedgerDesk, number: int = 1) -> dict[str, Any]:
    principal = with_every_role("admin", PrincipalKind.ADMIN_TOKEN)
    return desk.explain(Call(principal, {"request_id": exchange_id(number)}))


def verdicts(found: dict[str, Any]) -> dict[str, list[str]]:
    """By check, in the order of the answer."""
    told: dict[str, list[str]] = {}
    for row in found["checks"]:
        told.setdefault(row["check"], []).append(row["verdict"])
    assert list(told) == CHECKS, "every check, in the order of the walk"
    return told


def test_an_answer_passed_every_check(desk: LedgerDesk, spool: Spool) -> None:
    spool.write(intent(1), settle(1))
    found = explained(desk)
    told = verdicts(found)
    assert told.pop("candidate") == ["passed", "left_out"]
    assert told.pop("limit") == ["passed", "passed"]
    assert {verdict for each in told.values() for verdict in each} == {"passed"}
    rows = {(row["check"], row["about"]): row for row in found["checks"]}
    assert rows["candidate", "acme-large@2026-08"]["detail"] == "weight is 0"
    assert ("limit", "route:live/support-chat") in rows
    assert found["summary"][0] == (
        "It was answered by acme-small@2026-08 of acme; it took 250 ms and sent HTTP status 200."
    )
    assert "with key abcdefghijkl; release rel_0123456789abcdef decided, revision 7." in found["summary"][1]
    assert found["summary"][2] == "Left out: acme-large@2026-08 (weight is 0)."
    assert found["summary"][-1] == (
        "It cost 0.000024150 USD, tokens times the price in force then; 121 tokens in, 10 out."
    )
    assert (found["next_step"], found["error_words"]) == (None, None)


@pytest.mark.parametrize(
    ("code", "rules", "stage"),
    [
        ("invalid_json", (), "body"),
        ("not_yet_supported", (), "body"),
        ("model_not_found", (), "grant"),
        ("task_required", (), "task"),
        ("task_not_allowed", ("task.not-listed",), "task"),
        ("data_class_refused", ("environment.data-class",), "data_class"),
        ("model_blocked", ("status.blocked",), "candidate"),
        ("not_yet_supported", ("dialect.not-spoken",), "candidate"),
        ("operation_not_supported", ("operation.not-offered",), "candidate"),
        ("guardrail_blocked", ("guardrail.detect:house/secrets",), "guardrail"),
        ("no_healthy_target", (), "health"),
        ("upstream_rate_limited", (), "health"),
        ("variable_missing", (), "variables"),
        ("ledger_unavailable", (), "record"),
    ],
)
def test_a_refusal_says_where_it_ended(
    desk: LedgerDesk, spool: Spool, code: str, rules: tuple[str, ...], stage: str
) -> None:
    left_out = (CandidateRecord("acme-small@2026-08", 0.0, "acme-small@2026-08 is blocked"),)
    spool.write(refusal(1, error_code=code, rules=rules, candidates=left_out if stage == "candidate" else ()))
    found = explained(desk)
    told = verdicts(found)
    place = CHECKS.index(stage)
    expected = ["left_out", "refused"] if stage == "candidate" else ["refused"]
    assert told[stage] == expected
    before = [verdict for check in CHECKS[:place] for verdict in told[check]]
    assert set(before) <= {"passed", "not_applicable"}
    after = {verdict for check in CHECKS[place + 1 :] for verdict in told[check]}
    assert after <= {"not_reached"}
    (row,) = [row for row in found["checks"] if row["verdict"] == "refused"]
    assert row["rule"] == (rules[0] if rules else None)
    assert code in found["summary"][0]
    assert found["summary"][-2] == "Nothing was called, so nothing was charged."
    assert found["summary"][-1] == f"What to do: {found['next_step']}."


def test_a_refusal_that_no_check_made_is_not_explained_away(desk: LedgerDesk, spool: Spool) -> None:
    spool.write(refusal(1, error_code="internal_error", rules=(), status=500))
    told = verdicts(explained(desk))
    assert told.pop("key") == ["passed"]
    assert {verdict for each in told.values() for verdict in each} == {"not_known"}


def test_a_limit_says_no_after_the_intent(desk: LedgerDesk, spool: Spool) -> None:
    spool.write(
        intent(1),
        settle(
            1, outcome="refused", status=402, error_code="budget_exceeded", attempts=(),
            rules=("limit.budget:app:shop",), usage=Usage(), cost_nano_usd=0, model="", provider="",
        ),
    )  # fmt: skip
    found = explained(desk)
    told = verdicts(found)
    assert (told["limit"], told["record"], told["health"]) == (["refused"], ["passed"], ["passed"])
    (row,) = [row for row in found["checks"] if row["verdict"] == "refused"]
    assert (row["rule"], row["about"]) == ("limit.budget:app:shop", "app:shop")
    assert row["detail"] == "the month's budget does not cover the call"
    assert "raise the budget" in found["next_step"]


def test_an_answer_that_was_withheld_is_told_as_one(desk: LedgerDesk, spool: Spool) -> None:
    rule = "guardrail.schema:house/order"
    spool.write(intent(1), settle(1, outcome="refused", status=403, error_code="guardrail_blocked", rules=(rule,)))
    found = explained(desk)
    told = verdicts(found)
    assert (told["guardrail"], told["record"], told["answer"]) == (["passed"], ["passed"], ["refused"])
    (row,) = [row for row in found["checks"] if row["verdict"] == "refused"]
    assert (row["rule"], row["about"], row["detail"]) == (rule, "house/order", "the answer did not meet the schema")
    assert found["summary"][0].startswith("A model answered, and its answer was withheld")


@pytest.mark.parametrize(
    ("outcome", "code", "rule", "words"),
    [
        ("refused", "invalid_api_key", "key.revoked", "An override ended it while a model was at work on it"),
        ("truncated", "stopped", "stop.app:shop", "The answer broke off after part of it had gone out"),
        ("refused", "model_blocked", "status.blocked", "An override ended it while a model was at work on it"),
    ],
)
def test_an_answer_that_an_override_ended_is_told_as_one(
    desk: LedgerDesk, spool: Spool, outcome: str, code: str, rule: str, words: str
) -> None:
    tried = AttemptRecord(1, "acme-large@2026-08", "acme", "ambiguous", 0, code, 10, 3000, "", 50)
    spool.write(
        intent(1),
        settle(
            1, outcome=outcome, status=403, error_code=code, rules=(rule,), attempts=(tried,), usage=Usage(),
            cost_nano_usd=0, waste_nano_usd=50, model="", provider="",
        ),
    )  # fmt: skip
    found = explained(desk)
    told = verdicts(found)
    assert (told["key"], told["record"], told["answer"]) == (["passed"], ["passed"], ["refused"])
    assert set(told["limit"]) == {"passed"}
    (row,) = [row for row in found["checks"] if row["verdict"] == "refused"]
    assert (row["rule"], row["detail"]) == (rule, RULES[rule.partition(":")[0]])
    assert found["summary"][0].startswith(words)


def test_failed_attempts_are_told_one_by_one(desk: LedgerDesk, spool: Spool) -> None:
    first = AttemptRecord(1, "acme-large@2026-08", "acme", "not_sent", 0, "upstream_unreachable", 10, 3000, "", 0)
    second = AttemptRecord(2, "acme-small@2026-08", "acme", "ambiguous", 0, "upstream_timeout", 4000, 9000, "", 50)
    spool.write(
        intent(1),
        settle(
            1, outcome="failed", status=504, error_code="upstream_timeout", attempts=(first, second), usage=Usage(),
            cost_nano_usd=0, waste_nano_usd=50, model="", provider="",
        ),
    )  # fmt: skip
    found = explained(desk)
    assert [one["attempt_words"] for one in found["attempts"]] == [
        "nothing was sent, so another try is safe",
        "sent and not answered: perhaps done, perhaps billed",
    ]
    assert found["summary"][3].startswith("Attempt 1 at acme-large@2026-08: nothing was sent, so another try is safe (")
    assert (
        "Nothing was delivered, so nothing was charged; 0.000000050 USD went to abandoned attempts." in found["summary"]
    )


def test_what_is_open_or_lost_is_explained_too(desk: LedgerDesk, spool: Spool) -> None:
    spool.write(intent(1), intent(2), checkpoint(2))
    found = explained(desk)
    assert (found["outcome_words"], found["kind"]) == ("it is still under way", "open")
    assert "acme-small@2026-08 is first in line" in found["summary"][0]
    spool.die()
    found = explained(desk, 2)
    assert (found["kind"], verdicts(found)["candidate"]) == ("orphan", ["passed"])
    assert "how it ended is not known" in found["summary"][0]


def test_an_attempts_id_leads_to_its_exchange(desk: LedgerDesk, spool: Spool) -> None:
    principal = with_every_role("admin", PrincipalKind.ADMIN_TOKEN)
    spool.write(intent(1), settle(1), intent(2), intent(3, inbound_id=f"{exchange_id(9)}.1"), settle(3))
    assert explained(desk, 1)["id"] == exchange_id(1)
    for request, exchange in (
        (f"{exchange_id(1)}.2", exchange_id(1)),
        (f"{exchange_id(2)}.1", exchange_id(2)),
        (f"{exchange_id(9)}.1", exchange_id(3)),
    ):
        assert desk.explain(Call(principal, {"request_id": request}))["id"] == exchange


def test_callers_are_told_of_their_own_and_without_what_is_the_operators(desk: LedgerDesk, spool: Spool) -> None:
    spool.write(intent(1, inbound_id="theirs"), settle(1), intent(2))
    assert desk.explain_own("shop", "live", exchange_id(1))["id"] == exchange_id(1)
    assert desk.explain_own("shop", "live", exchange_id(2))["kind"] == "open"
    assert not {"decided", "key", "models", "demo"} & desk.explain_own("shop", "live", exchange_id(1)).keys()
    for app, environment, request in (
        ("other", "live", exchange_id(1)),
        ("shop", "test", exchange_id(1)),
        ("other", "live", exchange_id(2)),
        ("shop", "live", exchange_id(3)),
        ("shop", "live", "theirs"),
        ("shop", "live", "../../etc"),
    ):
        with pytest.raises(Refused) as caught:
            desk.explain_own(app, environment, request)
        assert caught.value.code is AdminCode.NOT_FOUND


def cells(section: str) -> list[str]:
    """The code words in the first cells of a section's table rows."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return [
        word for cell in re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE) for word in re.findall(r"`([^`]+)`", cell)
    ]


def test_page_lists_every_field_check_and_verdict(desk: LedgerDesk, spool: Spool) -> None:
    spool.write(intent(1), settle(1))
    of_the_database = {"decided", "key", "models"}
    assert sorted(cells("The value")) == sorted(explained(desk).keys() | of_the_database)
    assert cells("Checks") == [*CHECKS, *(verdict.value for verdict in Verdict)]


def test_an_app_that_was_configured_by_another_release_is_told_of(desk: LedgerDesk, spool: Spool) -> None:
    spool.write(intent(1, echo="rel_00000000000000ff"), settle(1), intent(2, echo="rel_0123456789abcdef"), settle(2))
    found = explained(desk)
    assert found["echoed_release"] == "rel_00000000000000ff"
    assert "configured by release rel_00000000000000ff, which is not the one that served it" in found["summary"][2]
    same = explained(desk, 2)
    assert same["echoed_release"] == same["release"]
    assert not any("configured by" in sentence for sentence in same["summary"])


def test_a_refusal_for_its_data_says_which_data_it_was(desk: LedgerDesk, spool: Spool) -> None:
    rules = ("environment.data-class",)
    spool.write(refusal(1, error_code="data_class_refused", rules=rules, status=403, data_class="restricted"))
    (row,) = [row for row in explained(desk)["checks"] if row["check"] == "data_class"]
    assert (row["about"], row["verdict"], row["rule"]) == ("restricted", "refused", "environment.data-class")
    assert row["detail"] == "the environment takes no data as sensitive as this"
