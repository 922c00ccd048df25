"""What a refusal advises, in the message too: some clients show nothing else."""

from pathlib import Path

import pytest
from gateway_house import KEY, PROMPT, House, Plan, in_house, key_entry, make_key, model, route

from lineclear.domain.catalogue import ModelStatus
from lineclear.domain.snapshot import AppEntry, Timeouts
from lineclear.testing.load import Call, CallResult, chat_call, embeddings_call

PLAN = Plan(
    models=(
        model("gone", status=ModelStatus.RETIRED, successor="heir@1"),
        model("heir"),
        model("lost", status=ModelStatus.RETIRED),
    ),
    routes=(
        route("gone", "gone"),
        route("heir-of-gone", "heir"),
        route("lost", "lost"),
        route("summaries", "heir"),
    ),
    keys=(key_entry("poor", "poor", "live"), key_entry("none", "none", "live")),
    apps=(AppEntry("poor", "team", ("gone", "lost")), AppEntry("none", "team", ())),
)


def told(answer: CallResult) -> tuple[str, str]:
    error = answer.json["error"]
    return error["message"], error["hint"]


def test_a_retired_model_leads_to_a_route_that_can_be_called(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        refused = await house.call(chat_call(KEY, "gone", "hi"))
        message, hint = told(refused)
        assert hint == "call route 'heir-of-gone' instead, which serves its successor heir@1"
        assert message.endswith(f"gone@1 is retired; {hint}")
        assert refused.json["error"]["successor"] == "heir@1"
        assert (await house.call(chat_call(KEY, "heir-of-gone", "hi"))).status == 200
        assert (await house.call(chat_call(KEY, "heir@1", "hi"))).status == 404

    in_house(tmp_path, PLAN, play)


def test_where_no_route_serves_the_successor_its_name_is_no_promise(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        message, hint = told(await house.call(chat_call(make_key("poor"), "gone", "hi")))
        assert hint == "ask the route's team for a route that serves its successor heir@1"
        assert message.endswith(hint)
        assert told(await house.call(chat_call(make_key("poor"), "lost", "hi")))[1] == "ask the route's team"
        assert "instead" not in told(await house.call(embeddings_call(make_key("poor"), "gone", "hi")))[0]

    in_house(tmp_path, PLAN, play)


def test_an_unknown_route_is_answered_with_what_there_is(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        near, _ = told(await house.call(chat_call(KEY, "sumaries", "hi")))
        assert near.endswith("; did you mean 'summaries'?")
        far, hint = told(await house.call(chat_call(KEY, "x" * 500, "hi")))
        assert far.endswith("; it may call gone, good, heir-of-gone and 2 more")
        assert hint.startswith("routes this key may call: gone, good, heir-of-gone")
        none, _ = told(await house.call(chat_call(make_key("none"), "good", "hi")))
        assert none.endswith("; it may call none yet")
        _, listed = await house.get("/v1/models/sumaries", authorization=f"Bearer {KEY}")
        assert listed["error"]["message"].endswith("; did you mean 'summaries'?")

    in_house(tmp_path, PLAN, play)


def test_a_wrong_key_says_what_to_send(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        wrong, _ = told(await house.call(chat_call("sk-1234", "good", "hi")))
        assert wrong.endswith("; ask for a new one")
        plain = chat_call(KEY, "good", "hi")
        headers = {name: value for name, value in plain.headers.items() if name.lower() != "authorization"}
        missing, _ = told(await house.call(Call(plain.path, headers, plain.body)))
        assert "Authorization: Bearer lc_" in missing

    in_house(tmp_path, PLAN, play)


@pytest.mark.parametrize("stream", [False, True])
def test_a_deadline_says_whose_it_was(tmp_path: Path, stream: bool) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("good", always="hang")
        call = chat_call(KEY, "good", "hi", stream=stream)
        asked = Call(call.path, {**call.headers, "x-lineclear-timeout-ms": "120"}, call.body)
        message, hint = told(await house.call(asked))
        assert message == "the answer was not complete within the 120 ms that x-lineclear-timeout-ms allows"
        assert hint == "allow more, or leave x-lineclear-timeout-ms out"
        for milliseconds in ("", "60000"):
            fields = {**call.headers, "x-lineclear-timeout-ms": milliseconds}
            call = chat_call(KEY, "brief", "hi", stream=stream)
            message, hint = told(await house.call(Call(call.path, fields, call.body)))
            assert message == "the answer was not complete within the 0.2 s that route 'brief' allows"
            assert "timeouts.total_s" in hint

    in_house(tmp_path, Plan(routes=(route("brief", "good", timeouts=Timeouts(total_s=0.2)),)), play)


def test_a_stream_that_is_cut_by_a_deadline_says_whose_it_was(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("good", always="event-delay-ms=50,tokens=40")
        call = chat_call(KEY, "good", "hi", stream=True)
        cut = await house.call(Call(call.path, {**call.headers, "x-lineclear-timeout-ms": "400"}, call.body))
        assert cut.status == 200
        assert b"within the 400 ms that x-lineclear-timeout-ms allows" in cut.body

    in_house(tmp_path, Plan(), play)


@pytest.mark.parametrize(
    ("field", "value", "hint"),
    [
        ("x-lineclear-timeout-ms", "3s", "send digits alone: 3000 is three seconds"),
        ("x-lineclear-priority", "urgent", "one of: critical, interactive, batch, best_effort; or leave the field out"),
    ],
)
def test_a_value_that_a_fact_cannot_have_is_refused_with_those_it_can(
    tmp_path: Path, field: str, value: str, hint: str
) -> None:
    async def play(house: House) -> None:
        call = chat_call(KEY, "good", "hi")
        refused = await house.call(Call(call.path, {**call.headers, field: value}, call.body))
        error = refused.json["error"]
        assert (refused.status, error["code"], error["param"]) == (400, "invalid_header", field)
        assert error["hint"] == hint
        for right in ("", "batch"):
            fields = {**call.headers, "x-lineclear-priority": right}
            assert (await house.call(Call(call.path, fields, call.body))).status == 200

    in_house(tmp_path, Plan(), play)


def test_what_a_call_lacks_stands_in_the_message(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        several, _ = told(await house.call(chat_call(KEY, "several", "hi")))
        assert "say with x-lineclear-task which one" in several
        prompted, _ = told(await house.call(chat_call(KEY, "prompted", "hi")))
        assert prompted.endswith("needs the variable 'shop'; send it as x-lineclear-var-shop")
        embedded, hint = told(await house.call(embeddings_call(KEY, "prompted", "hi")))
        assert hint.startswith("this route answers POST /v1/chat/completions")
        assert embedded.endswith(f"; {hint}")
        _, asked = await house.get("/v1/chat/completions")
        assert asked["error"]["message"] == "GET is not answered at this path; use POST"

    routes = (route("several", "good", tasks=("a", "b")), route("prompted", "good", prompt=PROMPT))
    in_house(tmp_path, Plan(routes=routes), play)
