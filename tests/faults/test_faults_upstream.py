"""Faults of vendors, through real sockets and the running platform: rows U1 to U30 that this version holds.

Source: the fault matrix; each test names its row. Every target has a script of its own, so rows do not meet.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from lineclear.testing import manifests, proc
from lineclear.testing.blackhole import Blackhole, closed_port
from lineclear.testing.load import CallResult, chat_call, messages_call
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

PAIRS = ("u5", "u6", "u8", "u10", "u16", "u16-date", "u18", "u19-401", "u19-403", "u20")
"""Rows with a target that misbehaves (`<row>-a`) and a good one (`<row>-b`)."""
DIALECTS = ("openai", "anthropic")
SLACK_MS = 400
"""What a busy machine may add to a time that a row states."""


def documents(port: int, dead: int, hole: int) -> list[Document]:
    found = [
        manifests.team(),
        manifests.provider("vendor", port, "openai"),
        manifests.provider("claude", port, "anthropic", path=""),
        manifests.provider("dead", dead),
        manifests.provider("hole", hole),
        manifests.model("good", "vendor"),
        manifests.model("refused", "dead"),
        manifests.model("silent", "hole"),
        manifests.model("lost", "dead"),
        manifests.route("u1", "refused", fallback=["good"]),
        manifests.route("u2", "silent", fallback=["good"], timeouts={"connect_s": 0.5}),
        manifests.route("u30", "lost"),
    ]
    for row in PAIRS:
        for dialect, provider_name in (("openai", "vendor"), ("anthropic", "claude")):
            names = [f"{row}-{dialect}-{letter}" for letter in "abc"]
            found += [manifests.model(name, provider_name) for name in names]
            timeouts = {"first_event_s": 0.6, "total_s": 3.0 if row == "u5" else 20.0}
            found.append(manifests.route(f"{row}-{dialect}", names[0], fallback=[names[1]], timeouts=timeouts))
            found.append(manifests.route(f"{row}-{dialect}-alone", names[2], timeouts=timeouts))
    return found


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    dead = closed_port()
    with Blackhole() as hole:
        directory = tmp_path_factory.mktemp("faults")
        with Stage(directory, lambda port: documents(port, dead, hole.port), environment=child_environment) as stage:
            yield stage


@pytest.fixture(autouse=True)
def one_end_for_each_request(stage: Stage) -> Iterator[None]:
    """A2 and A3 of every row: the books are even and no socket stays behind."""
    (gateway,) = stage.platform.processes("gateway")
    before = proc.open_files(gateway)
    yield
    stage.platform.wait_for(lambda: proc.open_files(gateway) <= before + 4, "sockets to be closed", 8.0)
    assert stage.platform.processes("gateway") == [gateway]


def ask(stage: Stage, route: str, *, dialect: str = "openai", stream: bool = False, text: str = "x") -> CallResult:
    make = chat_call if dialect == "openai" else messages_call
    return stage.call(make(stage.key, route, text, stream=stream))


def attempts(stage: Stage, answer: CallResult) -> list[dict[str, Any]]:
    return list(stage.explain(answer.request_id)["attempts"])


def assert_clean_error(answer: CallResult) -> None:
    """A4: typed, with a request id, nothing internal."""
    error = answer.json["error"]
    assert error["code"]
    assert answer.request_id
    for secret in (b"127.0.0.1", b"scripted", b"Traceback", b"/v1/"):
        assert secret not in answer.body, answer.body


def test_u1_connection_refused_goes_to_the_next_candidate(stage: Stage) -> None:
    answer = ask(stage, "u1")
    assert answer.failure == ""
    assert answer.headers["x-lineclear-fallback"] == "true"
    assert answer.headers["x-lineclear-attempts"] == "2"
    first, second = attempts(stage, answer)
    assert (first["attempt_class"], second["attempt_class"]) == ("not_sent", "ok")
    assert stage.explain(answer.request_id)["waste_usd"] == "0.000000000"


def test_u2_blackhole_ends_at_the_connect_limit(stage: Stage) -> None:
    answer = ask(stage, "u2")
    assert answer.failure == ""
    assert 450_000 <= answer.duration_us <= 1_000_000 + SLACK_MS * 1000
    assert attempts(stage, answer)[0]["attempt_class"] == "not_sent"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_u5_a_target_that_hangs_is_left_once(stage: Stage, dialect: str) -> None:
    stage.upstream.script(f"u5-{dialect}-a", always="hang")
    answer = ask(stage, f"u5-{dialect}", dialect=dialect, stream=True)
    assert answer.failure == ""
    assert 550_000 <= answer.duration_us <= (1000 + SLACK_MS) * 1000
    first, second = attempts(stage, answer)
    assert (first["attempt_class"], second["attempt_class"]) == ("ambiguous", "ok")
    assert stage.explain(answer.request_id)["usage"]["output_tokens"] == 16, "the caller pays one answer"


def test_u5_both_targets_hang(stage: Stage) -> None:
    for letter in "ab":
        stage.upstream.script(f"u5-openai-{letter}", always="hang")
    answer = ask(stage, "u5-openai", stream=True)
    assert (answer.status, answer.json["error"]["code"]) == (504, "upstream_timeout")
    assert len(stage.dispatches_of(answer.request_id)) == 2, "one fallback after an ambiguous attempt, no more"
    assert_clean_error(answer)


def test_u5_a_whole_call_ends_at_its_total_deadline(stage: Stage) -> None:
    stage.upstream.script("u5-anthropic-c", always="hang")
    answer = ask(stage, "u5-anthropic-alone", dialect="anthropic")
    assert (answer.status, answer.json["error"]["code"]) == (504, "upstream_timeout")
    assert 2_900_000 <= answer.duration_us <= 4_000_000
    assert_clean_error(answer)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_u6_a_connection_closed_while_idle_is_retried_fresh(stage: Stage, dialect: str) -> None:
    target = f"u6-{dialect}-a"
    stage.upstream.script(target, always="close-reused")
    answers = [ask(stage, f"u6-{dialect}", dialect=dialect) for _ in range(4)]
    assert [answer.failure for answer in answers] == [""] * 4
    assert {answer.headers["x-lineclear-model"] for answer in answers} == {f"{target}@1"}
    assert {answer.headers["x-lineclear-fallback"] for answer in answers} == {"false"}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("script", ["cut-after=5", "rst-after=5", "end-after=5"])
def test_u8_u9_a_cut_after_content_is_a_typed_error(stage: Stage, dialect: str, script: str) -> None:
    stage.upstream.script(f"u8-{dialect}-a", always=script)
    answer = ask(stage, f"u8-{dialect}", dialect=dialect, stream=True)
    assert answer.status == 200
    assert answer.failure in {"unterminated", "cut"}
    text = answer.body.decode()
    assert "w4 " in text
    assert "[DONE]" not in text
    assert "message_stop" not in text
    assert "upstream_truncated" in text
    assert len(stage.dispatches_of(answer.request_id)) == 1, "nothing is replayed after content"
    explained = stage.explain(answer.request_id)
    assert explained["outcome"] == "truncated"
    assert explained["usage"]["output_tokens"] > 0
    assert float(explained["cost_usd"]) > 0


@pytest.mark.parametrize("dialect", DIALECTS)
def test_u10_an_error_before_content_falls_back_with_one_preamble(stage: Stage, dialect: str) -> None:
    stage.upstream.script(f"u10-{dialect}-a", always="error-after=0")
    answer = ask(stage, f"u10-{dialect}", dialect=dialect, stream=True)
    assert answer.failure == ""
    text = answer.body.decode()
    assert "error" not in text
    assert text.count("message_start") == (2 if dialect == "anthropic" else 0), "one event: its name and its type"
    assert text.count('"role": "assistant"') == 1
    assert attempts(stage, answer)[0]["attempt_class"] != "ok"


def http_date(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("script", "at_least_ms", "at_most_ms"),
    [
        ("status=429,retry-after=1", 900, 2500),
        ("status=429,retry-after-ms=300", 250, 1500),
        ("status=429", 0, 3500),
    ],
)
def test_u16_a_short_retry_after_is_waited_for(stage: Stage, script: str, at_least_ms: int, at_most_ms: int) -> None:
    stage.upstream.script("u16-openai-c", following=[script])
    answer = ask(stage, "u16-openai-alone")
    assert answer.failure == ""
    assert at_least_ms * 1000 <= answer.duration_us <= (at_most_ms + SLACK_MS) * 1000
    assert answer.headers["x-lineclear-attempts"] == "2"


@pytest.mark.parametrize("value", ["20", "1000000000", "soon", "-5", ""])
def test_u16_any_other_retry_after_goes_to_the_next_candidate(stage: Stage, value: str) -> None:
    stage.upstream.script("u16-anthropic-a", always=f"status=429,retry-after={value}" if value else "status=429")
    answer = ask(stage, "u16-anthropic", dialect="anthropic")
    assert answer.failure == ""
    assert answer.headers["x-lineclear-model"] == "u16-anthropic-b@1"
    assert answer.duration_us <= (1000 + SLACK_MS) * 1000


def test_u16_a_429_that_reaches_the_caller_has_whole_seconds(stage: Stage) -> None:
    stage.upstream.script("u16-anthropic-c", always="status=429,retry-after=20")
    answer = ask(stage, "u16-anthropic-alone", dialect="anthropic")
    assert answer.status == 429
    assert 15 <= int(answer.headers["retry-after"]) <= 20
    assert answer.headers["x-should-retry"] in {"true", "false"}
    assert_clean_error(answer)
    date = http_date(20).replace(",", "%2C")
    stage.upstream.script("u16-date-openai-c", always=f"status=429,retry-after={date}")
    answer = ask(stage, "u16-date-openai-alone")
    assert answer.status == 429
    assert 10 <= int(answer.headers["retry-after"]) <= 21


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529])
def test_u18_a_5xx_is_retried(stage: Stage, status: int) -> None:
    stage.upstream.script("u18-openai-a", following=[f"status={status}"])
    answer = ask(stage, "u18-openai")
    assert answer.failure == ""
    assert answer.headers["x-lineclear-attempts"] == "2"
    assert attempts(stage, answer)[0]["status"] == status


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_u19_a_vendors_401_is_never_the_callers(stage: Stage, status: int, dialect: str) -> None:
    stage.upstream.script(f"u19-{status}-{dialect}-c", always=f"status={status}")
    answer = ask(stage, f"u19-{status}-{dialect}-alone", dialect=dialect)
    assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_auth")
    assert_clean_error(answer)


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_u20_a_callers_error_is_passed_on_once(stage: Stage, status: int) -> None:
    stage.upstream.script("u20-openai-a", always=f"status={status}")
    answer = ask(stage, "u20-openai")
    assert answer.status == status
    assert len(stage.dispatches_of(answer.request_id)) == 1
    assert answer.json["error"]["message"]
    stage.upstream.script("u20-openai-a")
    assert ask(stage, "u20-openai").headers["x-lineclear-model"] == "u20-openai-a@1", "no breaker opened"


def test_u30_with_every_target_down_the_answer_is_quick(stage: Stage) -> None:
    answers = [ask(stage, "u30") for _ in range(12)]
    for answer in answers:
        assert (answer.status, answer.json["error"]["code"]) == (503, "no_healthy_target")
        assert int(answer.headers["retry-after"]) >= 1
        assert_clean_error(answer)
    quick = sorted(answer.duration_us for answer in answers[-5:])
    assert quick[2] <= 50_000, "once the targets are known to be down, nobody waits"


def test_after_every_row_the_books_are_even(stage: Stage) -> None:
    deadline = time.monotonic() + 15
    while not (checked := stage.platform.check_ledger(stage.upstream.log_path))["ok"] and time.monotonic() < deadline:
        time.sleep(0.2)
    assert checked["ok"], checked
    assert checked["missing"] == checked["doubled"] == 0
