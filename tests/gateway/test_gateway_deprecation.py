"""What callers are told of a version that is on its way out, through real sockets, on every operation."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from gateway_house import KEY, House, Plan, in_house, key_entry, make_key, model, route

from lineclear.base.clock import SystemClock
from lineclear.domain.catalogue import ModelStatus
from lineclear.domain.snapshot import AppEntry, ModelVersionEntry
from lineclear.testing.load import (
    Call,
    chat_call,
    classify_call,
    completions_call,
    embeddings_call,
    messages_call,
)

SINCE_S, SUNSET_S, END_S = 1_780_272_000, 1_811_808_000, 1_814_400_000
LEAVING = model(
    "leaving",
    status=ModelStatus.DEPRECATED,
    successor="good@1",
    deprecated_at=SINCE_S,
    sunset=SUNSET_S,
    end_of_life=END_S,
    context=8192,
)
ENDING = model("ending", end_of_life=END_S)
GONE = model("gone", status=ModelStatus.RETIRED, successor="good@1", deprecated_at=SINCE_S, sunset=SUNSET_S)
DATELESS = model("dateless", status=ModelStatus.RETIRED, successor="good@1")
PLAN = Plan(
    models=[LEAVING, ENDING, GONE, DATELESS],
    routes=[
        route("leaving", "leaving"),
        route("ending", "ending"),
        route("gone", "gone"),
        route("dateless", "dateless"),
        route("both", "dateless", "gone"),
    ],
    apps=[AppEntry("other", "team", ("ending",))],
    keys=[key_entry("k3", "other", "live")],
)
LINK = (
    '</v1/model-versions/leaving@1>; rel="deprecation sunset"; type="application/json", '
    '</v1/model-versions/good@1>; rel="successor-version"; type="application/json"'
)


def calls(name: str) -> dict[str, Call]:
    """Every operation in every form it can be asked in."""
    counted = messages_call(KEY, name, "hi")
    return {
        "chat": chat_call(KEY, name, "hi"),
        "chat stream": chat_call(KEY, name, "hi", stream=True),
        "messages": messages_call(KEY, name, "hi"),
        "messages stream": messages_call(KEY, name, "hi", stream=True),
        "count_tokens": Call("/v1/messages/count_tokens", counted.headers, counted.body),
        "completions": completions_call(KEY, name, "hi"),
        "completions stream": completions_call(KEY, name, "hi", stream=True),
        "embeddings": embeddings_call(KEY, name, "hi"),
        "classify": classify_call(KEY, name, "hi"),
    }


@pytest.mark.parametrize("form", calls(""))
def test_every_answer_of_a_deprecated_version_says_so(tmp_path: Path, form: str) -> None:
    async def play(house: House) -> None:
        answer = await house.call(calls("leaving")[form])
        assert answer.failure == "", answer.body
        assert answer.headers["deprecation"] == f"@{SINCE_S}"
        assert answer.headers["sunset"] == "Tue, 01 Jun 2027 00:00:00 GMT"
        assert answer.headers["link"] == LINK

    in_house(tmp_path, PLAN, play)


def test_a_vendors_date_is_told_of_an_approved_version_and_nothing_of_others(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        ending = await house.call(chat_call(KEY, "ending", "hi"))
        assert "deprecation" not in ending.headers
        assert ending.headers["sunset"] == "Thu, 01 Jul 2027 00:00:00 GMT"
        assert ending.headers["link"] == '</v1/model-versions/ending@1>; rel="sunset"; type="application/json"'
        good = await house.call(chat_call(KEY, "good", "hi"))
        assert not {"deprecation", "sunset", "link"} & good.headers.keys()

    in_house(tmp_path, PLAN, play)


@pytest.mark.parametrize("form", calls(""))
def test_a_retired_version_is_gone_and_names_its_successor(tmp_path: Path, form: str) -> None:
    async def play(house: House) -> None:
        answer = await house.call(calls("gone")[form])
        assert answer.status == 410
        assert answer.json["error"]["successor"] == "good@1"
        assert answer.headers["link"].startswith('</v1/model-versions/good@1>; rel="successor-version"')
        assert answer.headers["deprecation"] == f"@{SINCE_S}"
        assert answer.headers["sunset"] == "Tue, 01 Jun 2027 00:00:00 GMT"
        assert answer.headers["x-lineclear-policy"] == "status.retired"
        assert house.vendor.dispatches == 0

    in_house(tmp_path, PLAN, play)


@pytest.mark.parametrize("name", ["dateless", "both"])
def test_a_refusal_tells_no_date_but_that_of_the_version_that_it_names(tmp_path: Path, name: str) -> None:
    async def play(house: House) -> None:
        answer = await house.call(chat_call(KEY, name, "hi"))
        assert answer.status == 410
        assert ("sunset" in answer.headers) == ("gone@1 is retired" in answer.json["error"]["message"])

    in_house(tmp_path, PLAN, play)


def test_the_link_leads_to_what_a_caller_may_know(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        async def ask(name: str, key: str = KEY) -> tuple[int, Any]:
            return await house.get(f"/v1/model-versions/{name}", authorization=f"Bearer {key}")

        status, told = await ask("leaving@1")
        assert (status, told) == (
            200,
            {
                "object": "model_version",
                "id": "leaving@1",
                "status": "deprecated",
                "deprecated_at": "2026-06-01",
                "sunset": "2027-06-01",
                "end_of_life": "2027-07-01",
                "successor": "good@1",
                "context": 8192,
                "capabilities": [],
                "brownouts": [],
                "routes": ["leaving"],
                "successor_routes": ["good"],
            },
        )
        assert (await ask("good@1"))[1]["routes"] == ["good"]
        other = make_key("k3")
        assert (await ask("ending@1", other))[0] == 200
        for name in ("leaving@1", "good@1", "nothing@1", ""):
            assert (await ask(name, other))[0] == 404
        assert (await ask("leaving@1", "lc_live_none"))[0] == 401

    in_house(tmp_path, PLAN, play)


def browned_out(name: str, from_s: int, until_s: int, **facts: Any) -> ModelVersionEntry:
    now_s = SystemClock().unix_us() // 1_000_000
    return msgspec.structs.replace(
        LEAVING,
        id=f"{name}@1",
        model=name,
        upstream_id=name,
        brownouts=((now_s - 10_000, now_s - 9_000), (now_s + from_s, now_s + until_s)),
        **facts,
    )


BROWNOUTS = Plan(
    models=[browned_out("dim", -60, 3_600), browned_out("bright", 3_600, 7_200)],
    routes=[
        route("dim", "dim"),
        route("bright", "bright"),
        route("backed", "dim", fallback=("good@1",)),
        route("half", "dim", "good", weights=(1_000_000, 1)),
    ],
)


@pytest.mark.parametrize("form", calls(""))
def test_a_brownout_is_told_as_what_it_is(tmp_path: Path, form: str) -> None:
    async def play(house: House) -> None:
        answer = await house.call(calls("dim")[form])
        assert answer.status == 503
        assert (answer.json["error"]["code"], answer.json["error"]["successor"]) == ("brownout", "good@1")
        assert (answer.headers["x-lineclear-policy"], answer.headers["x-should-retry"]) == ("status.brownout", "false")
        assert 3_500 < int(answer.headers["retry-after"]) <= 3_600
        assert 'rel="successor-version"' in answer.headers["link"]
        assert house.vendor.dispatches == 0
        (considered,) = house.refusal_of(answer).candidates
        assert considered.model == "dim@1"
        assert considered.exclusion.startswith("deprecated, and not served until 20")

    in_house(tmp_path, BROWNOUTS, play)


def test_a_brownout_is_over_at_its_end_and_other_targets_serve_meanwhile(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        bright = await house.call(chat_call(KEY, "bright", "hi"))
        assert (bright.failure, "deprecation" in bright.headers) == ("", True)
        for name in ("backed", "half"):
            answer = await house.call(chat_call(KEY, name, "hi"))
            assert (answer.failure, answer.headers["x-lineclear-model"]) == ("", "good@1")

    in_house(tmp_path, BROWNOUTS, play)
