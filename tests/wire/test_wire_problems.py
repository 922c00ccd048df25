import json
import re
from pathlib import Path
from typing import Any

import pytest

from lineclear.domain.errors import (
    AttemptClass,
    CallerError,
    ErrorCode,
    LineclearError,
    PlatformFault,
    Sent,
    UpstreamError,
)
from lineclear.domain.exchange import Dialect
from lineclear.wire.problems import PASSED_ON_STATUSES, ROWS, Problem, clean_text, problem, status_of

ERRORS_PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def data_port_part() -> str:
    """The page without the admin API's codes, some of which have the same names."""
    return ERRORS_PAGE.read_text().partition("## The admin API's")[0]


def headers(answer: Problem) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in answer.head.decode().split("\r\n") if line)


def openai_body(error: LineclearError) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(problem(Dialect.OPENAI, error, "req_1").body)["error"]
    return body


def test_every_code_has_a_row_and_stands_in_the_docs_with_its_status() -> None:
    assert set(ROWS) == set(ErrorCode)
    rows = re.findall(r"^\| `([a-z_]+)` \| ([^|]+) \|", data_port_part(), re.MULTILINE)
    documented = {code: status.strip() for code, status in rows}
    expected = {str(code): str(row.status) for code, row in ROWS.items()}
    expected["upstream_refused"] = "the target's"
    assert documented == expected
    assert len(rows) == len(documented)


def test_the_docs_say_whether_to_try_again() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| [^|]+ \| (yes|no) \|", data_port_part(), re.MULTILINE)
    assert dict(rows) == {str(code): "yes" if row.should_retry else "no" for code, row in ROWS.items()}


@pytest.mark.parametrize("code", list(ErrorCode))
@pytest.mark.parametrize("dialect", list(Dialect))
def test_every_code_renders_in_both_dialects(code: ErrorCode, dialect: Dialect) -> None:
    answer = problem(dialect, CallerError(code, "what", hint="do this", param="model"), "req_1")
    body = json.loads(answer.body)
    error = body["error"]
    assert (error["message"], error["code"], error["hint"], error["request_id"]) == ("what", code, "do this", "req_1")
    assert error["param"] == "model"
    assert error["type"]
    assert answer.status == ROWS[code].status
    assert headers(answer)["content-type"] == "application/json"
    assert headers(answer)["x-should-retry"] in ("true", "false")
    if dialect is Dialect.ANTHROPIC:
        assert (body["type"], body["request_id"]) == ("error", "req_1")


@pytest.mark.parametrize(
    ("code", "status", "openai_type", "anthropic_type", "retry"),
    [
        (ErrorCode.BUDGET_EXCEEDED, 402, "insufficient_quota", "billing_error", "false"),
        (ErrorCode.RATE_LIMITED, 429, "rate_limit_error", "rate_limit_error", "true"),
        (ErrorCode.OVERLOADED, 503, "server_error", "overloaded_error", "true"),
        (ErrorCode.INVALID_API_KEY, 401, "authentication_error", "authentication_error", "false"),
        (ErrorCode.MODEL_NOT_FOUND, 404, "not_found_error", "not_found_error", "false"),
        (ErrorCode.MODEL_RETIRED, 410, "not_found_error", "not_found_error", "false"),
        (ErrorCode.MODEL_BLOCKED, 403, "permission_error", "permission_error", "false"),
        (ErrorCode.GUARDRAIL_BLOCKED, 403, "permission_error", "permission_error", "false"),
        (ErrorCode.POLICY_DENIED, 403, "permission_error", "permission_error", "false"),
        (ErrorCode.TASK_REQUIRED, 400, "invalid_request_error", "invalid_request_error", "false"),
        (ErrorCode.BODY_TOO_LARGE, 413, "invalid_request_error", "request_too_large", "false"),
        (ErrorCode.UPSTREAM_AUTH, 502, "server_error", "api_error", "false"),
        (ErrorCode.UPSTREAM_TIMEOUT, 504, "server_error", "timeout_error", "false"),
    ],
)
def test_the_table_of_decision_28(
    code: ErrorCode, status: int, openai_type: str, anthropic_type: str, retry: str
) -> None:
    error = PlatformFault(code, "what")
    answers = [problem(dialect, error, "req_1") for dialect in (Dialect.OPENAI, Dialect.ANTHROPIC)]
    assert [answer.status for answer in answers] == [status, status]
    assert [json.loads(answer.body)["error"]["type"] for answer in answers] == [openai_type, anthropic_type]
    assert [headers(answer)["x-should-retry"] for answer in answers] == [retry, retry]


@pytest.mark.parametrize(("wait_ms", "seconds"), [(0, "0"), (1, "1"), (1000, "1"), (1001, "2"), (86_400_000, "86400")])
def test_waits_are_exact_in_ms_and_rounded_up_in_seconds(wait_ms: int, seconds: str) -> None:
    lines = headers(problem(Dialect.OPENAI, CallerError(ErrorCode.RATE_LIMITED, "x", retry_after_ms=wait_ms), "r"))
    assert (lines["retry-after"], lines["retry-after-ms"]) == (seconds, str(wait_ms))


def test_a_wait_is_always_named_where_trying_again_helps_and_else_never_invented() -> None:
    for code, row in ROWS.items():
        lines = headers(problem(Dialect.OPENAI, PlatformFault(code, "x"), "r"))
        assert ("retry-after" in lines) == ("retry-after-ms" in lines) == (row.retry_after_ms is not None)
        # A stop does not pass by itself, and a brownout is there to be noticed.
        if row.status in (429, 503) and code not in (ErrorCode.STOPPED, ErrorCode.BROWNOUT):
            assert row.should_retry
            assert row.retry_after_ms is not None


def test_facts_are_said_only_where_there_are_any() -> None:
    plain = openai_body(CallerError(ErrorCode.MODEL_NOT_FOUND, "x"))
    assert not {"rules", "successor", "known_names"} & set(plain)
    full = openai_body(
        CallerError(ErrorCode.MODEL_RETIRED, "x", rules=("a", "b"), successor="m@2", known_names=("chat", "draft"))
    )
    assert (full["rules"], full["successor"], full["known_names"]) == (["a", "b"], "m@2", ["chat", "draft"])


def rejected(status: int, body: bytes, code: ErrorCode = ErrorCode.UPSTREAM_REFUSED) -> UpstreamError:
    return UpstreamError(
        code,
        "The target refused the request.",
        attempt_class=AttemptClass.CLIENT_ERROR,
        sent=Sent.YES,
        status=status,
        body=body,
    )


NATIVE = (
    b'{"error":{"message":"too long","type":"invalid_request_error",'
    b'"code":"context_length_exceeded","param":"messages"}}'
)


@pytest.mark.parametrize("status", sorted(PASSED_ON_STATUSES))
def test_a_targets_verdict_on_the_request_is_passed_on(status: int) -> None:
    error = rejected(status, NATIVE)
    assert status_of(error) == problem(Dialect.OPENAI, error, "r").status == status
    body = openai_body(error)
    assert (body["message"], body["code"], body["param"]) == ("too long", "context_length_exceeded", "messages")
    assert body["type"] == "invalid_request_error"
    assert body["request_id"] == "req_1"


def test_an_anthropic_verdict_keeps_its_type() -> None:
    native = b'{"type":"error","error":{"type":"not_found_error","message":"model: x"},"request_id":"upstream"}'
    body = json.loads(problem(Dialect.ANTHROPIC, rejected(404, native), "req_1").body)
    assert body["error"]["type"] == "not_found_error"
    assert body["error"]["message"] == "model: x"
    assert body["request_id"] == "req_1"
    assert b"upstream" not in problem(Dialect.ANTHROPIC, rejected(404, native), "req_1").body


@pytest.mark.parametrize("status", [401, 403, 302, 500, 200])
def test_no_other_status_of_a_target_reaches_the_caller(status: int) -> None:
    answer = problem(Dialect.OPENAI, rejected(status, NATIVE), "r")
    assert answer.status == 400
    assert b"too long" not in answer.body


def test_a_body_is_never_shown_for_other_codes_or_if_it_is_no_error_body() -> None:
    assert b"too long" not in problem(Dialect.OPENAI, rejected(401, NATIVE, ErrorCode.UPSTREAM_AUTH), "r").body
    assert problem(Dialect.OPENAI, rejected(401, NATIVE, ErrorCode.UPSTREAM_AUTH), "r").status == 502
    html = openai_body(rejected(404, b"<html>secret</html>"))
    assert (html["message"], html["code"]) == ("The target refused the request.", "upstream_refused")
    assert (html["type"]) == "not_found_error"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("plain words", "plain words"),
        ("Incorrect API key provided: sk-proj-abcdefghijklmnop.", "Incorrect API key provided: [removed]"),
        ("header Bearer abcdefghijklmnopqrstuvwx end", "header [removed] end"),
        ("see https://docs.example.com/errors", "see https://docs.example.com/errors"),
        ("at https://h.example/x?key=abc&b=1 end", "at https://h.example/x end"),
        ("at https://user:pass@h.example/x", "at https://h.example/x"),
        ("a\x00b\r\nc\td", "a b \nc\td"),
    ],
)
def test_a_targets_text_is_cleaned(text: str, clean: str) -> None:
    assert clean_text(text) == clean


def test_a_targets_text_is_cut() -> None:
    assert len(clean_text("x" * 100_000)) == 2_000
    body = json.dumps({"error": {"message": "key sk-proj-abcdefghijklmnop", "code": "c" * 500}}).encode()
    shown = openai_body(rejected(400, body))
    assert shown["message"] == "key [removed]"
    assert len(shown["code"]) == 100
