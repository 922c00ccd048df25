"""The walk through real sockets, in this process: answers, refusals, recovery, records."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gateway_house import KEY, PRICE, PROMPT, TEST_KEY, House, Plan, in_house, key_entry, make_key, model, route

from lineclear.domain.catalogue import DataClass, ModelStatus
from lineclear.domain.ledger import STEPS, Checkpoint, Intent, Settle
from lineclear.domain.snapshot import AccountLimits, AppEntry, BudgetLimit, CredentialEntry, Timeouts
from lineclear.testing.load import Call, CallResult, LoadConnection, chat_call, messages_call

Play = Callable[[House], Awaitable[None]]
MAKERS = {"openai": chat_call, "anthropic": messages_call}
BOTH = pytest.mark.parametrize("dialect", ["openai", "anthropic"])


def error_of(answer: CallResult) -> dict[str, Any]:
    found: dict[str, Any] = answer.json["error"]
    return found


def run(tmp_path: Path, plan: Plan, play: Play) -> None:
    in_house(tmp_path, plan, play)


@BOTH
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_has_its_fields_its_cost_and_one_settled_entry(tmp_path: Path, dialect: str, stream: bool) -> None:
    async def play(house: House) -> None:
        answer = await house.call(MAKERS[dialect](KEY, "good", "hello", stream=stream))
        assert answer.failure == ""
        fields = answer.headers
        assert fields["x-request-id"] == fields["request-id"]
        assert fields["x-lineclear-route"] == "good"
        assert fields["x-lineclear-model"] == "good@1"
        assert fields["x-lineclear-provider"] == "vendor"
        assert fields["x-lineclear-environment"] == "live"
        assert fields["x-lineclear-release"] == "rel_0123456789abcdef"
        assert fields["x-lineclear-revision"] == "1"
        assert (fields["x-lineclear-attempts"], fields["x-lineclear-fallback"]) == ("1", "false")
        assert "server-timing" in fields
        settle = house.settle_of(answer)
        assert (settle.outcome, settle.cost_basis, settle.status) == ("ok", "priced", 200)
        used = settle.usage
        assert settle.cost_nano_usd == used.input_tokens * 1_000 + used.output_tokens * 2_000 > 0
        cost = f"{settle.cost_nano_usd / 1e9:.9f}"
        if stream:
            comment = f": lineclear cost-usd={cost} basis=priced\n\n".encode()
            assert answer.body.count(comment) == 1
            terminator = b"data: [DONE]" if dialect == "openai" else b"event: message_stop"
            assert answer.body.split(comment)[1].startswith(terminator)
        else:
            assert (fields["x-lineclear-cost-usd"], fields["x-lineclear-cost-basis"]) == (cost, "priced")
        assert len(settle.steps_us) == len(STEPS)
        intents = [record for record in house.records() if isinstance(record, Intent)]
        assert [intent.id for intent in intents] == [answer.request_id]

    run(tmp_path, Plan(), play)


def test_a_streams_usage_frame_that_the_caller_did_not_ask_for_is_removed_whole(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        plain = await house.call(chat_call(KEY, "good", "hello", stream=True))
        asked = await house.call(chat_call(KEY, "good", "hello", stream=True, stream_options={"include_usage": True}))
        assert b'"usage":{' not in plain.body.replace(b" ", b"")
        assert b'"usage":{' in asked.body.replace(b" ", b"")
        assert house.settle_of(plain).usage == house.settle_of(asked).usage

    run(tmp_path, Plan(), play)


@BOTH
@pytest.mark.parametrize("stream", [False, True])
def test_what_the_vendor_says_travels_byte_for_byte(tmp_path: Path, dialect: str, stream: bool) -> None:
    async def play(house: House) -> None:
        more = {"stream_options": {"include_usage": True}} if dialect == "openai" and stream else {}
        through = await house.call(MAKERS[dialect](KEY, "good", "same", stream=stream, **more))
        vendor = LoadConnection(f"http://127.0.0.1:{house.vendor_port}")
        direct = await vendor.call(MAKERS[dialect]("vendor-key", "good", "same", stream=stream, **more))
        await vendor.close()
        told = b"".join(
            part + b"\n\n" for part in through.body.split(b"\n\n") if part and not part.startswith(b": lineclear")
        )
        assert (told if stream else through.body) == direct.body

    run(tmp_path, Plan(), play)


REFUSALS: dict[str, tuple[dict[str, str], str, int, str]] = {
    "no key": ({"authorization": ""}, "good", 401, "invalid_api_key"),
    "foreign key": ({"authorization": "Bearer sk-1234"}, "good", 401, "invalid_api_key"),
    "wrong checksum": ({"authorization": "Bearer " + KEY[:-1] + "0"}, "good", 401, "invalid_api_key"),
    "unknown id": ({"authorization": "Bearer " + make_key("zz")}, "good", 401, "invalid_api_key"),
    "expired": ({"authorization": "Bearer " + make_key("old")}, "good", 401, "invalid_api_key"),
    "app is gone": ({"authorization": "Bearer " + make_key("orphan")}, "good", 401, "invalid_api_key"),
    "basic": ({"authorization": "Basic abc"}, "good", 401, "invalid_api_key"),
    "two keys": ({"x-api-key": TEST_KEY}, "good", 400, "conflicting_credentials"),
    "unknown route": ({}, "absent", 404, "model_not_found"),
    "no grant": ({"authorization": "Bearer " + make_key("poor")}, "good", 404, "model_not_found"),
    "other environment": ({"authorization": "Bearer " + TEST_KEY}, "good", 404, "model_not_found"),
    "task needed": ({}, "two-tasks", 400, "task_required"),
    "task not listed": ({"x-lineclear-task": "nonsense"}, "two-tasks", 403, "task_not_allowed"),
    "use": ({"x-lineclear-task": "other"}, "two-tasks", 403, "use_not_approved"),
    "data class": ({"x-lineclear-data-class": "restricted"}, "public-only", 403, "data_class_refused"),
    "bad data class": ({"x-lineclear-data-class": "cosmic"}, "good", 400, "invalid_header"),
    "status test": ({}, "untested", 403, "model_not_approved"),
    "retired": ({}, "retired", 410, "model_retired"),
    "blocked": ({}, "blocked", 403, "model_blocked"),
    "variable": ({}, "prompted", 400, "variable_missing"),
    "simulate in live": ({"x-lineclear-simulate": "status=500"}, "good", 400, "simulate_forbidden"),
    "bad timeout": ({"x-lineclear-timeout-ms": "soon"}, "good", 400, "invalid_header"),
    "long fact": ({"x-lineclear-tags": "x" * 2000}, "good", 400, "invalid_header"),
    "bad variable": ({"x-lineclear-var-shop": "%ff"}, "good", 400, "invalid_header"),
    "long variable": ({"x-lineclear-var-shop": "x" * 9000}, "good", 400, "invalid_header"),
    "media type": ({"content-type": "text/plain"}, "good", 415, "unsupported_media_type"),
    "compressed": ({"content-encoding": "gzip"}, "good", 415, "unsupported_media_type"),
}

GATED = Plan(
    models=(
        model("fussy", approved_uses=("drafting",)),
        model("shy", data_classes=(DataClass.PUBLIC, DataClass.INTERNAL)),
        model("untested", status=ModelStatus.TEST),
        model("retired", status=ModelStatus.RETIRED, successor="good@1"),
        model("blocked", status=ModelStatus.BLOCKED),
        model("one-tongue", provider="openai-only"),
    ),
    routes=(
        route("two-tasks", "fussy", tasks=("drafting", "other")),
        route("public-only", "shy"),
        route("untested", "untested"),
        route("retired", "retired"),
        route("blocked", "blocked"),
        route("half-blocked", "blocked", "good"),
        route("prompted", "good", prompt=PROMPT),
        route("one-tongue", "one-tongue"),
        route("empty"),
    ),
    keys=(
        key_entry("old", "app", "live", expires_at=1),
        key_entry("poor", "poor", "live"),
        key_entry("orphan", "nobody", "live"),
    ),
    apps=(AppEntry("poor", "team", ("retired",)),),
)


def test_every_refusal_has_its_status_code_hint_and_record(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        for name, (fields, asked, status, code) in REFUSALS.items():
            call = chat_call(KEY, asked, "hello")
            headers = {key: value for key, value in {**call.headers, **fields}.items() if value}
            answer = await house.call(Call(call.path, headers, call.body))
            assert answer.status == status, (name, answer)
            error = error_of(answer)
            assert error["code"] == code, name
            assert error["message"], name
            assert error["request_id"] == answer.request_id, name
            assert answer.headers["x-lineclear-attempts"] == "0", name
            assert answer.headers["server-timing"].endswith(", upstream;dur=0.000"), name
            is_known = status != 401 and code != "conflicting_credentials"
            assert ("x-lineclear-environment" in answer.headers) == is_known, name
            assert ("x-lineclear-revision" in answer.headers) == is_known, name
            if is_known:
                assert house.refusal_of(answer).error_code == code, name
        assert not [record for record in house.records() if isinstance(record, Intent)]

    run(tmp_path, GATED, play)


def test_a_refusal_tells_what_to_do_instead(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        unknown = await house.call(chat_call(KEY, "absent", "x"))
        assert "good" in error_of(unknown)["hint"]
        nobody = await house.call(chat_call(make_key("poor"), "absent", "x"))
        assert "retired" in error_of(nobody)["hint"]
        retired = await house.call(chat_call(KEY, "retired", "x"))
        assert "good@1" in error_of(retired)["hint"]
        assert retired.headers["x-lineclear-policy"] == "status.retired"
        assert retired.headers["x-lineclear-route"] == "retired"
        in_url = chat_call(KEY, "good", "x")
        keyed = await house.call(Call(in_url.path + "?key=abc", in_url.headers, in_url.body))
        assert (keyed.status, error_of(keyed)["code"]) == (400, "invalid_request")
        empty = await house.call(chat_call(KEY, "empty", "x"))
        assert empty.status == 503

    run(tmp_path, GATED, play)


def test_excluded_models_are_left_out_and_kept_for_explain(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answer = await house.call(chat_call(KEY, "half-blocked", "x"))
        assert answer.status == 200
        considered = {record.model: record.exclusion for record in house.settle_of(answer).candidates}
        assert considered["good@1"] == ""
        assert "blocked" in considered["blocked@1"]
        wrong_tongue = await house.call(messages_call(KEY, "one-tongue", "x"))
        assert (wrong_tongue.status, error_of(wrong_tongue)["type"]) == (400, "invalid_request_error")

    run(tmp_path, GATED, play)


def test_a_prompt_with_its_variable_reaches_the_vendor(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        call = chat_call(KEY, "prompted", "x")
        answer = await house.call(Call(call.path, {**call.headers, "x-lineclear-var-shop": "B%C3%A4cker"}, call.body))
        assert answer.status == 200

    run(tmp_path, GATED, play)


def test_the_model_list_shows_what_a_key_may_call(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        status, found = await house.get("/v1/models", authorization=f"Bearer {KEY}")
        assert status == 200
        assert "good" in [entry["id"] for entry in found["data"]]
        status, found = await house.get("/v1/models", x_api_key=make_key("poor"), anthropic_version="2023-06-01")
        assert [entry["id"] for entry in found["data"]] == ["retired"]
        assert found["has_more"] is False
        status, found = await house.get("/v1/models/good", authorization=f"Bearer {KEY}")
        assert (status, found["id"]) == (200, "good")
        status, found = await house.get("/v1/models/good", x_api_key=KEY, anthropic_version="2023-06-01")
        assert (status, found["display_name"]) == (200, "good")
        status, _ = await house.get("/v1/models/absent", authorization=f"Bearer {KEY}")
        assert status == 404
        status, _ = await house.get("/v1/models")
        assert status == 401
        assert (await house.get("/livez"))[0] == 200
        status, found = await house.get("/readyz")
        assert (status, found["status"], found["snapshot"]) == (200, "ready", 1)
        assert (await house.get("/nowhere"))[0] == 404
        assert (await house.get("/v1/chat/completions"))[0] == 405
        assert (await house.get("/v1/messages", anthropic_version="x"))[0] == 405

    run(tmp_path, GATED, play)


@BOTH
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault", ["status=500", "status=503", "status=401", "status=402", "html", "error-after=0", "reset-head", "no-usage"]
)
def test_a_failing_target_is_replaced_before_anything_is_said(
    tmp_path: Path, dialect: str, stream: bool, fault: str
) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("ill", always=fault)
        answer = await house.call(MAKERS[dialect](KEY, "pair", "x", stream=stream))
        assert answer.failure == ""
        settle = house.settle_of(answer)
        if fault in {"no-usage"} or (fault == "error-after=0" and not stream):
            return  # not a failure of such an answer
        assert (settle.model, len(settle.attempts)) == ("good@1", 2)
        assert answer.headers["x-lineclear-fallback"] == "true"
        checkpoints = [record for record in house.records() if isinstance(record, Checkpoint)]
        assert [(point.id, point.attempt, point.model) for point in checkpoints] == [(answer.request_id, 2, "good@1")]

    run(tmp_path, Plan(models=(model("ill"),), routes=(route("pair", "ill", fallback=("good@1",)),)), play)


@BOTH
@pytest.mark.parametrize("fault", ["cut-after=3", "rst-after=3", "no-terminator,cut-after=3"])
def test_a_stream_that_breaks_after_content_ends_in_an_error_and_is_billed_in_part(
    tmp_path: Path, dialect: str, fault: str
) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("ill", always=fault)
        answer = await house.call(MAKERS[dialect](KEY, "pair", "x", stream=True))
        assert b"upstream_truncated" in answer.body
        assert b"[DONE]" not in answer.body
        assert b"message_stop" not in answer.body
        settle = house.settle_of(answer)
        assert (settle.outcome, settle.cost_basis, len(settle.attempts)) == ("truncated", "estimated", 1)
        assert settle.usage.output_tokens > 0

    run(tmp_path, Plan(models=(model("ill"),), routes=(route("pair", "ill", fallback=("good@1",)),)), play)


@pytest.mark.parametrize(
    ("dialect", "fault", "more", "outcome"),
    [
        ("openai", "no-terminator", {}, "ok"),
        ("openai", "no-terminator,malformed-after=2", {}, "truncated"),
        ("openai", "no-terminator", {"n": 2}, "truncated"),
        ("anthropic", "no-terminator", {}, "truncated"),
    ],
)
def test_u9_a_stream_without_its_end_marker_is_whole_only_where_servers_are_known_to_leave_it_out(
    tmp_path: Path, dialect: str, fault: str, more: dict[str, int], outcome: str
) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("ill", always=fault)
        answer = await house.call(MAKERS[dialect](KEY, "alone", "x", stream=True, **more))
        settle = house.settle_of(answer)
        assert settle.outcome == outcome
        assert settle.cost_basis == ("priced" if outcome == "ok" else "estimated")
        assert (b"upstream_truncated" in answer.body) == (outcome == "truncated")
        assert answer.failure == "unterminated"
        assert b"[DONE]" not in answer.body

    run(tmp_path, Plan(models=(model("ill"),), routes=(route("alone", "ill"),)), play)


def test_a_vendors_error_inside_a_stream_goes_out_as_it_came(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("ill", always="error-after=2")
        answer = await house.call(chat_call(KEY, "alone", "x", stream=True))
        assert b"[DONE]" not in answer.body
        assert house.settle_of(answer).outcome == "truncated"

    run(tmp_path, Plan(models=(model("ill"),), routes=(route("alone", "ill"),)), play)


@BOTH
def test_text_that_comes_with_an_error_in_one_read_is_delivered_and_charged(tmp_path: Path, dialect: str) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("ill", always="error-after=2,at-once")
        answer = await house.call(MAKERS[dialect](KEY, "pair", "x", stream=True))
        assert answer.status == 200
        assert answer.body.index(b"w0") < answer.body.index(b"w1") < answer.body.index(b'"error"')
        settle = house.settle_of(answer)
        assert (settle.outcome, settle.error_code, len(settle.attempts)) == ("truncated", "upstream_error", 1)
        assert settle.usage.output_tokens > 0
        assert settle.cost_nano_usd > 0
        house.vendor.set_script("ill", always="error-after=0,at-once")
        answer = await house.call(MAKERS[dialect](KEY, "pair", "x", stream=True))
        assert (answer.failure, house.settle_of(answer).model) == ("", "good@1")

    run(tmp_path, Plan(models=(model("ill"),), routes=(route("pair", "ill", fallback=("good@1",)),)), play)


@BOTH
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", ["delay-ms=120", "event-delay-ms=120,tokens=1"])
def test_the_timing_of_an_answer_gives_the_target_its_share(
    tmp_path: Path, dialect: str, stream: bool, script: str
) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("good", following=["delay-ms=60,status=500"], always=script)
        answer = await house.call(MAKERS[dialect](KEY, "good", "x", stream=stream))
        found = re.fullmatch(r"gateway;dur=([\d.]+), upstream;dur=([\d.]+)", answer.headers["server-timing"])
        assert found is not None
        ours_ms, upstream_ms = map(float, found.groups())
        assert upstream_ms >= (180 if stream or script.startswith("delay") else 60)
        # The rest: our own work, and up to 50 ms of pause before the second attempt.
        assert ours_ms < upstream_ms

    run(tmp_path, Plan(), play)


def test_a_malformed_event_is_dropped_and_counted(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("ill", always="malformed-after=2")
        answer = await house.call(chat_call(KEY, "alone", "x", stream=True))
        assert answer.failure == ""
        assert house.settle_of(answer).malformed_events == 1

    run(tmp_path, Plan(models=(model("ill"),), routes=(route("alone", "ill"),)), play)


def test_the_callers_own_mistake_is_passed_on_once(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("ill", always="status=422")
        answer = await house.call(chat_call(KEY, "pair", "x"))
        assert answer.status == 422
        settle = house.settle_of(answer)
        assert (settle.outcome, settle.status, len(settle.attempts), settle.cost_nano_usd) == ("rejected", 422, 1, 0)

    run(tmp_path, Plan(models=(model("ill"),), routes=(route("pair", "ill", fallback=("good@1",)),)), play)


def test_nothing_reachable_is_503_with_a_time_and_then_an_ejection(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answers = [await house.call(chat_call(KEY, "lost", "x")) for _ in range(4)]
        for answer in answers:
            assert (answer.status, error_of(answer)["code"]) == (503, "no_healthy_target")
            assert int(answer.headers["retry-after"]) >= 1
        assert answers[0].headers["x-should-retry"] == "false"
        refusal = house.refusal_of(answers[-1])
        assert refusal.error_code == "no_healthy_target"
        assert "ejected" in refusal.candidates[0].exclusion

    run(tmp_path, Plan(models=(model("lost", provider="dead"),), routes=(route("lost", "lost"),)), play)


def test_a_short_retry_after_is_waited_for_and_a_long_one_is_passed_on(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("ill", following=["status=429,retry-after-ms=30"])
        answer = await house.call(chat_call(KEY, "alone", "x"))
        assert (answer.status, len(house.settle_of(answer).attempts)) == (200, 2)
        house.vendor.set_script("ill", always="status=429,retry-after=7")
        answer = await house.call(chat_call(KEY, "alone", "x"))
        assert (answer.status, answer.headers["retry-after"]) == (429, "7")
        throttled = await house.call(chat_call(KEY, "alone", "x"))
        assert throttled.status == 429
        assert 1 <= int(throttled.headers["retry-after"]) <= 7

    run(tmp_path, Plan(models=(model("ill"),), routes=(route("alone", "ill"),)), play)


def test_a_refused_credential_is_parked_and_the_next_one_used(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("ill", following=["status=401"])
        first = await house.call(chat_call(KEY, "alone", "x"))
        assert (first.status, error_of(first)["code"]) == (502, "upstream_auth")
        second = await house.call(chat_call(KEY, "alone", "x"))
        assert second.status == 200
        house.vendor.set_script("ill", following=["status=401"])
        third = await house.call(chat_call(KEY, "alone", "x"))
        assert third.status == 502
        fourth = await house.call(chat_call(KEY, "alone", "x"))
        assert (fourth.status, house.settle_of(fourth).attempts[0].attempt_class) == (502, "rejected")

    credentials: dict[str, tuple[CredentialEntry, ...]] = {
        "vendor/live": (CredentialEntry("a", "one", 1), CredentialEntry("b", "two", 1))
    }
    run(tmp_path, Plan(models=(model("ill"),), routes=(route("alone", "ill"),), credentials=credentials), play)


def test_deadlines_cut_a_silent_target(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("ill", always="hang")
        call = chat_call(KEY, "alone", "x")
        asked = Call(call.path, {**call.headers, "x-lineclear-timeout-ms": "120"}, call.body)
        late = await house.call(asked)
        assert (late.status, house.settle_of(late).outcome) == (504, "deadline")
        silent = await house.call(chat_call(KEY, "quick", "x", stream=True))
        settle = house.settle_of(silent)
        assert (silent.status, settle.model) == (200, "good@1")
        assert settle.attempts[0].attempt_class == "ambiguous"
        assert settle.waste_nano_usd > 0
        house.vendor.set_script("ill", always="hang-after=2")
        quiet = await house.call(chat_call(KEY, "quick", "x", stream=True))
        assert house.settle_of(quiet).outcome == "truncated"

    timeouts = Timeouts(first_event_s=0.1, between_events_s=0.1, total_s=5.0)
    routes = (route("alone", "ill"), route("quick", "ill", fallback=("good@1",), timeouts=timeouts))
    run(tmp_path, Plan(models=(model("ill"),), routes=routes), play)


def test_a_target_that_trickles_bytes_is_as_silent_as_one_that_sends_no_event(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("ill", always="trickle-ms=1")  # an event has some two hundred bytes
        answer = await house.call(chat_call(KEY, "quick", "x", stream=True))
        assert b"upstream_timeout" in answer.body
        assert house.settle_of(answer).outcome == "truncated"

    timeouts = Timeouts(first_event_s=10.0, between_events_s=0.1, total_s=20.0)
    run(tmp_path, Plan(models=(model("ill"),), routes=(route("quick", "ill", timeouts=timeouts),)), play)


@pytest.mark.parametrize("script", ["hang", "hang-after=3"])
def test_a_caller_who_hangs_up_ends_the_targets_work_and_is_settled(tmp_path: Path, script: str) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("ill", always=script)
        call = chat_call(KEY, "alone", "x", stream=True)
        _, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rsplit(":", 1)[1]))
        lines = "".join(f"{name}: {value}\r\n" for name, value in call.headers.items())
        writer.write(
            f"POST {call.path} HTTP/1.1\r\nhost: x\r\n{lines}content-length: {len(call.body)}\r\n\r\n".encode()
            + call.body
        )
        await asyncio.sleep(0.15)
        writer.close()
        await writer.wait_closed()
        settles: list[Settle] = []
        for _ in range(100):
            settles = [record for record in house.records() if isinstance(record, Settle)]
            if settles:
                break
            await asyncio.sleep(0.01)
        (settle,) = settles
        assert settle.outcome == "client_gone"
        assert settle.cost_nano_usd + settle.waste_nano_usd > 0

    run(tmp_path, Plan(models=(model("ill"),), routes=(route("alone", "ill"),)), play)


def test_a_long_answer_goes_out_without_being_held(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("long", always="tokens=300,token-bytes=8192")
        answer = await house.call(chat_call(KEY, "long", "x"))
        assert answer.failure == ""
        assert len(answer.body) > 2_000_000
        assert "x-lineclear-cost-usd" not in answer.headers
        settle = house.settle_of(answer)
        assert (settle.outcome, settle.cost_basis) == ("ok", "priced")
        house.vendor.set_script("long", always="tokens=300,token-bytes=8192,cut-after=1500000")
        cut = await house.call(chat_call(KEY, "long", "x"))
        assert cut.failure != ""
        assert house.settle_of(cut).outcome == "truncated" if cut.headers else True

    run(tmp_path, Plan(models=(model("long"),), routes=(route("long", "long"),)), play)


def limits(**given: Any) -> AccountLimits:
    plain = AccountLimits(requests_per_minute=None, tokens_per_minute=None, concurrency=None, budget=None)
    return msgspec.structs.replace(plain, **given)


def test_limits_refuse_with_the_account_that_binds_and_the_exact_wait(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        first = await house.call(chat_call(KEY, "slow", "x"))
        assert first.status == 200
        assert first.headers["x-ratelimit-limit-requests"] == "1"
        assert first.headers["x-ratelimit-remaining-requests"] == "0"
        second = await house.call(chat_call(KEY, "slow", "x"))
        assert (second.status, error_of(second)["code"]) == (429, "rate_limited")
        assert "slow" in error_of(second)["message"]
        assert 0 < int(second.headers["retry-after-ms"]) <= 60_000
        assert second.headers["x-lineclear-policy"] == "limit.requests:route:live/slow"
        assert error_of(second)["rules"] == ["limit.requests:route:live/slow"]
        settled = house.settle_of(second)
        assert (settled.outcome, settled.status) == ("refused", 429)
        assert settled.rules == ("limit.requests:route:live/slow",)

    plan = Plan(routes=(route("slow", "good"),), limits={"route:live/slow": limits(requests_per_minute=1)})
    run(tmp_path, plan, play)


def test_concurrency_is_held_for_the_length_of_a_call(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("good", following=["delay-ms=300"])
        slow = asyncio.create_task(house.call(chat_call(KEY, "good", "x")))
        await asyncio.sleep(0.1)
        refused = await house.call(chat_call(KEY, "good", "x"))
        assert (refused.status, error_of(refused)["code"]) == (429, "concurrency_limited")
        assert (await slow).status == 200
        assert (await house.call(chat_call(KEY, "good", "x"))).status == 200

    run(tmp_path, Plan(limits={"app:app": limits(concurrency=1)}), play)


@BOTH
@pytest.mark.parametrize("stream", [False, True])
def test_a_budget_lets_through_what_it_covers_and_nothing_more(tmp_path: Path, dialect: str, stream: bool) -> None:
    per_call = 16 * 2_000

    async def play(house: House) -> None:
        answers = [await house.call(MAKERS[dialect](KEY, "good", "x", stream=stream, max_tokens=16)) for _ in range(5)]
        assert [answer.status for answer in answers] == [200, 200, 200, 402, 402]
        if not stream:
            assert answers[0].headers["x-lineclear-budget-remaining-usd"] == f"{2 * per_call / 1e9:.9f}"
        error = error_of(answers[3])
        assert answers[3].headers["x-should-retry"] == "false"
        assert "team" in error["message"]

    free_input = msgspec.structs.replace(PRICE, input_per_mtok=0)
    plan = Plan(
        models=(model("good", price=free_input),),
        limits={"team:team": limits(budget=BudgetLimit(3 * per_call, "UTC"))},
    )
    run(tmp_path, plan, play)


def test_a_stream_is_cut_where_its_budget_ends(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("good", always="tokens=400,token-bytes=16")
        answer = await house.call(chat_call(KEY, "good", "x", stream=True))
        assert b"budget_exceeded" in answer.body
        assert b"[DONE]" not in answer.body
        settle = house.settle_of(answer)
        assert (settle.outcome, settle.error_code) == ("truncated", "budget_exceeded")
        assert settle.cost_nano_usd > 0

    free_input = msgspec.structs.replace(PRICE, input_per_mtok=0)
    plan = Plan(
        models=(model("good", price=free_input),),
        limits={"team:team": limits(budget=BudgetLimit(2_500 * 2_000, "UTC"))},
    )
    run(tmp_path, plan, play)


def test_a_token_rate_is_corrected_by_what_was_used(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answers = [await house.call(chat_call(KEY, "good", "x", max_tokens=16)) for _ in range(5)]
        assert [answer.status for answer in answers] == [200] * 5
        assert answers[-1].headers["x-ratelimit-limit-tokens"] == "1000"

    run(tmp_path, Plan(limits={"app:app": limits(tokens_per_minute=1000)}), play)


def test_an_unpriced_model_is_visible_and_costs_nothing(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answer = await house.call(chat_call(KEY, "free", "x"))
        assert answer.headers["x-lineclear-cost-basis"] == "unpriced"
        assert "x-lineclear-cost-usd" not in answer.headers
        stream = await house.call(chat_call(KEY, "free", "x", stream=True))
        assert b": lineclear basis=unpriced\n\n" in stream.body

    run(tmp_path, Plan(models=(model("free", price=None),), routes=(route("free", "free"),)), play)


def test_the_split_is_sticky_and_follows_the_weights(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        served: dict[str, set[str]] = {}
        counts = {"good@1": 0, "other@1": 0}
        for number in range(120):
            user = f"user-{number % 60}"
            call = chat_call(KEY, "split", "x")
            answer = await house.call(Call(call.path, {**call.headers, "x-lineclear-user": user}, call.body))
            served.setdefault(user, set()).add(answer.headers["x-lineclear-model"])
            counts[answer.headers["x-lineclear-model"]] += 1
        assert all(len(models) == 1 for models in served.values())
        assert 20 <= counts["other@1"] <= 70

    routes = (route("split", "good", "other", weights=(2, 1)),)
    run(tmp_path, Plan(models=(model("other"),), routes=routes), play)


@pytest.mark.parametrize(("weights", "strategy"), [((0, 0), "weighted"), ((5, 1), "priority"), ((1, 0), "weighted")])
def test_drained_and_ordered_targets(tmp_path: Path, weights: tuple[int, int], strategy: str) -> None:
    async def play(house: House) -> None:
        answer = await house.call(chat_call(KEY, "two", "x"))
        assert answer.headers["x-lineclear-model"] == "good@1"
        house.vendor.set_script("good", always="status=500")
        answer = await house.call(chat_call(KEY, "two", "x"))
        assert answer.headers["x-lineclear-model"] == "other@1"

    routes = (route("two", "good", "other", weights=weights, strategy=strategy),)
    run(tmp_path, Plan(models=(model("other"),), routes=routes), play)


def test_a_new_revision_is_in_force_for_the_next_call_and_a_bad_one_is_not(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.publish(Plan(routes=(route("new", "good"),)))
        house.refresh()
        answer = await house.call(chat_call(KEY, "new", "x"))
        assert answer.headers["x-lineclear-revision"] == "2"
        house.publish(Plan(routes=(route("newer", "nowhere"),)))
        house.refresh()
        assert "nowhere" in house.parts.current.refused_reason
        answer = await house.call(chat_call(KEY, "new", "x"))
        assert answer.headers["x-lineclear-revision"] == "2"

    run(tmp_path, Plan(), play)


def test_count_tokens_takes_the_walk_and_costs_nothing(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        call = messages_call(KEY, "good", "x")
        answer = await house.call(Call(call.path + "/count_tokens", call.headers, call.body))
        assert answer.status == 200
        assert answer.json["input_tokens"] > 0
        assert house.settle_of(answer).cost_nano_usd == 0

    run(tmp_path, Plan(), play)


def test_a_slow_stream_leaves_a_checkpoint_every_second(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("good", always="tokens=8,event-delay-ms=180")
        answer = await house.call(messages_call(KEY, "good", "x", stream=True))
        assert answer.failure == ""
        points = [record for record in house.records() if isinstance(record, Checkpoint)]
        assert len(points) == 1
        assert points[0].usage.output_tokens >= 1
        assert 0 < points[0].cost_nano_usd < house.settle_of(answer).cost_nano_usd

    run(tmp_path, Plan(), play)


def test_a_large_body_is_read_whole(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answers = await asyncio.gather(*[house.call(chat_call(KEY, "good", "x" * 1_500_000)) for _ in range(3)])
        assert [answer.status for answer in answers] == [200] * 3
        assert house.settle_of(answers[0]).request_bytes > 1_500_000

    run(tmp_path, Plan(), play)


def test_a_stream_that_says_nothing_is_a_failed_try(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("ill", always="tokens=0,cut-after=0")
        answer = await house.call(chat_call(KEY, "alone", "x", stream=True))
        assert answer.status in {502, 504}
        assert house.settle_of(answer).outcome == "failed"

    run(tmp_path, Plan(models=(model("ill"),), routes=(route("alone", "ill"),)), play)


@BOTH
def test_limits_are_told_under_the_dialects_own_names(tmp_path: Path, dialect: str) -> None:
    async def play(house: House) -> None:
        answer = await house.call(MAKERS[dialect](KEY, "good", "x", stream=True))
        name = "x-ratelimit-limit-requests" if dialect == "openai" else "anthropic-ratelimit-requests-limit"
        assert answer.headers[name] == "60"
        reset = "x-ratelimit-reset-requests" if dialect == "openai" else "anthropic-ratelimit-requests-reset"
        assert answer.headers[reset].endswith("ms" if dialect == "openai" else "Z")

    run(tmp_path, Plan(limits={"app:app": limits(requests_per_minute=60)}), play)


def test_a_caller_who_hangs_up_while_sending_leaves_no_intent(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        call = chat_call(KEY, "good", "x")
        _, writer = await asyncio.open_connection("127.0.0.1", int(house.url.rsplit(":", 1)[1]))
        lines = "".join(f"{name}: {value}\r\n" for name, value in call.headers.items())
        writer.write(f"POST {call.path} HTTP/1.1\r\nhost: x\r\n{lines}content-length: 9000\r\n\r\n{{".encode())
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await writer.wait_closed()
        for _ in range(100):
            if house.parts.counters["gone_before_intent"]:
                break
            await asyncio.sleep(0.01)
        assert house.parts.counters["gone_before_intent"] == 1
        assert not [record for record in house.records() if isinstance(record, Intent)]

    run(tmp_path, Plan(), play)


def test_without_the_accountant_a_budget_is_closed_and_a_rate_goes_on(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        await house.stop_accountant()
        answer = await house.call(chat_call(KEY, "rated", "x"))
        assert answer.status == 200
        answer = await house.call(chat_call(KEY, "paid", "x"))
        assert (answer.status, error_of(answer)["code"]) == (503, "accountant_unavailable")
        assert house.settle_of(answer).outcome == "fault"

    plan = Plan(
        routes=(route("rated", "good"), route("paid", "good")),
        limits={
            "route:live/rated": limits(requests_per_minute=60, tokens_per_minute=10_000, concurrency=5),
            "route:live/paid": limits(budget=BudgetLimit(10**12, "UTC")),
        },
    )
    run(tmp_path, plan, play)


def test_before_the_first_snapshot_nothing_is_ready(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        empty = House(tmp_path / "empty")
        await empty.open(None)
        try:
            answer = await empty.call(chat_call(KEY, "good", "x"))
            assert (answer.status, error_of(answer)["code"]) == (503, "not_ready")
        finally:
            await empty.close()

    run(tmp_path, Plan(), play)


@pytest.mark.parametrize(
    ("slow", "stream", "status"), [("delay-ms=2000", False, 504), ("event-delay-ms=50,tokens=40", True, 200)]
)
def test_one_callers_short_deadline_costs_others_nothing(tmp_path: Path, slow: str, stream: bool, status: int) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("good", following=[slow] * 6)
        call = chat_call(KEY, "good", "x", stream=stream)
        hasty = Call(call.path, {**call.headers, "x-lineclear-timeout-ms": "1000"}, call.body)
        for late in await asyncio.gather(*(house.call(hasty) for _ in range(6))):
            assert (late.status, b"upstream_timeout" in late.body) == (status, True)
        assert (await house.call(call)).status == 200

    run(tmp_path, Plan(), play)


def test_one_verdict_on_one_request_parks_nothing_and_a_renewed_key_is_a_new_one(tmp_path: Path) -> None:
    def plan(secret: str) -> Plan:
        return Plan(credentials={"vendor/live": (CredentialEntry("vendor/KEY", secret, 1),)})

    async def play(house: House) -> None:
        house.vendor.set_script("good", following=["status=403"])
        assert (await house.call(chat_call(KEY, "good", "x"))).status == 502
        assert (await house.call(chat_call(KEY, "good", "x"))).status == 200
        house.vendor.set_script("good", following=["status=402,retry-after=86400"])
        assert (await house.call(chat_call(KEY, "good", "x"))).status == 502
        assert (await house.call(chat_call(KEY, "good", "x"))).status == 502
        house.publish(plan("renewed"))
        house.refresh()
        assert (await house.call(chat_call(KEY, "good", "x"))).status == 200

    run(tmp_path, plan("old"), play)


@pytest.mark.parametrize("secret", ["abc\u2013def", "abc\ndef", ""])
def test_a_snapshot_with_a_credential_that_cannot_be_sent_is_refused_whole(tmp_path: Path, secret: str) -> None:
    async def play(house: House) -> None:
        house.publish(Plan(credentials={"vendor/live": (CredentialEntry("vendor/KEY", secret, 1),)}))
        house.refresh()
        assert "vendor/KEY" in house.parts.current.refused_reason
        assert not secret or secret not in house.parts.current.refused_reason
        assert (await house.call(chat_call(KEY, "good", "x"))).status == 200

    run(tmp_path, Plan(), play)


@pytest.mark.parametrize("script", ["html", "status=302"])
def test_an_answer_that_cannot_be_used_is_not_asked_for_again_at_the_same_target(tmp_path: Path, script: str) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("good", always=script)
        answer = await house.call(chat_call(KEY, "good", "x"))
        assert (answer.status, error_of(answer)["code"]) == (502, "upstream_bad_response")
        settle = house.settle_of(answer)
        assert len(settle.attempts) == 1
        assert (settle.waste_nano_usd > 0) == (script == "html")

    run(tmp_path, Plan(), play)


def test_a_vendors_gone_is_passed_on(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("good", always="status=410")
        assert (await house.call(chat_call(KEY, "good", "x"))).status == 410

    run(tmp_path, Plan(), play)


def test_a_disk_that_is_full_leaves_no_settle_without_an_intent(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.fill_disk()
        answer = await house.call(chat_call(KEY, "good", "x"))
        assert (answer.status, error_of(answer)["code"]) == (503, "ledger_unavailable")
        house.free_disk()
        await asyncio.sleep(0.3)
        assert (await house.call(chat_call(KEY, "good", "x"))).status in {200, 503}
        intents = {record.id for record in house.records() if isinstance(record, Intent)}
        settles = {record.id for record in house.records() if isinstance(record, Settle)}
        assert settles <= intents

    run(tmp_path, Plan(), play)


def test_an_estimate_counts_the_routes_prompt(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("good", always="no-usage")
        answer = await house.call(chat_call(KEY, "long-winded", "x"))
        assert house.settle_of(answer).usage.input_tokens > 1_000

    prompt = msgspec.structs.replace(PROMPT, segments=("word " * 1_000,))
    run(tmp_path, Plan(routes=(route("long-winded", "good", prompt=prompt),)), play)


def test_no_fault_is_asked_of_a_vendor(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        call = chat_call(TEST_KEY, "tested", "x")
        answer = await house.call(Call(call.path, {**call.headers, "x-lineclear-simulate": "hang"}, call.body))
        assert (answer.status, error_of(answer)["code"]) == (400, "simulate_forbidden")

    run(tmp_path, Plan(routes=(route("tested", "good", environment="test"),)), play)
