"""Copies for a candidate: nobody hears them, waits for them or pays for them, and what they show is on record."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gateway_house import KEY, House, Plan, in_house, key_entry, model, route

from lineclear.base.clock import SystemClock
from lineclear.domain.guardrails import GuardrailAction, GuardrailRule, GuardrailSide
from lineclear.domain.ledger import Intent, Mirrored, Settle
from lineclear.domain.overrides import STOP_ALL, Block, Override, Revoke, Start, Stop
from lineclear.domain.snapshot import (
    AccountLimits,
    AppEntry,
    BudgetLimit,
    ReleaseEntry,
    RouteSection,
    ShadowEntry,
    TargetEntry,
)
from lineclear.gateway import copies
from lineclear.gateway.mirror import SHADOW_KEY, Mirror
from lineclear.handover.overrides import append_override, journal_path
from lineclear.testing.load import Call, chat_call

RICH = 1_000_000_000_000
LIMITS = {
    "app:app": AccountLimits(None, None, None, BudgetLimit(10_000_000_000, "UTC")),
    "route:live/chat": AccountLimits(1_000, None, None, None),
}


def shaded(stable: str, candidate: str, share_bp: int = 10_000, cap: int = RICH, **facts: Any) -> RouteSection:
    # Any: fields of a section.
    made = route("chat", stable, **facts)
    tried: ReleaseEntry = msgspec.structs.replace(
        made.stable, id="rel_fedcba9876543210", digest="f" * 64, targets=(TargetEntry(f"{candidate}@1", 1),)
    )
    shadow = ShadowEntry("ro_1-1-1", share_bp, cap)
    return msgspec.structs.replace(made, candidate=tried, rollout="ro_1", lease_s=3600.0, shadow=shadow)


def shaded_plan(section: RouteSection, **facts: Any) -> Plan:
    # Any: fields of a plan.
    return Plan(models=[model("other"), model("third")], routes=[section], **facts)


def play_with(directory: Path, plan: Plan, play: Callable[[House], Awaitable[None]], *, watched: bool = True) -> None:
    """In a house whose copies are asked."""

    async def played(house: House) -> None:
        if watched:
            house.live.exposure.renew()
        mirror = Mirror(house.parts, 1)
        mirror.start()
        try:
            await play(house)
        finally:
            await mirror.close()

    in_house(directory, plan, played)


def mirrored(house: House) -> list[Mirrored]:
    house.spool.flush_now()
    return [record for record in house.records() if isinstance(record, Mirrored)]


async def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def of_shadow(house: House) -> tuple[list[Intent], list[Settle]]:
    house.spool.flush_now()
    records = house.records()
    intents = [record for record in records if isinstance(record, Intent) and record.key_id == SHADOW_KEY]
    ids = {intent.id for intent in intents}
    return intents, [record for record in records if isinstance(record, Settle) and record.id in ids]


def test_a_copy_is_asked_of_the_candidate_and_compared(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answer = await house.call(chat_call(KEY, "chat", "hello [[text=always the same]]"))
        assert (answer.status, answer.headers["x-lineclear-release"]) == (200, "rel_0123456789abcdef")
        await until(lambda: len(mirrored(house)) == 1)
        (record,) = mirrored(house)
        assert (record.run, record.request, record.text) == ("ro_1-1-1", answer.request_id, "same")
        assert (record.stable_outcome, record.stable_status, record.candidate_outcome) == ("ok", 200, "ok")
        assert record.stable_bytes == record.candidate_bytes > 0
        assert record.stable_nano_usd == record.candidate_nano_usd > 0
        assert record.candidate_us > 0
        (intent,), (settle,) = of_shadow(house)
        assert (intent.id, intent.app, intent.team, intent.accounts) == (record.id, "(shadow)", "team", ())
        assert (intent.release, intent.rollout, intent.arm) == ("rel_fedcba9876543210", "", "")
        assert (settle.model, settle.rules, settle.cost_nano_usd) == (
            "other@1",
            ("rollout.shadow",),
            record.candidate_nano_usd,
        )
        second = await house.call(chat_call(KEY, "chat", "what the candidate says differently"))
        assert second.status == 200
        await until(lambda: len(mirrored(house)) == 2)

    play_with(tmp_path, shaded_plan(shaded("good", "other")), play)


def test_a_changed_text_a_failure_and_a_refusal_are_told_apart(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("other", always="text=something else")
        await house.call(chat_call(KEY, "chat", "hello"))
        await until(lambda: len(mirrored(house)) == 1)
        house.vendor.set_script("other", always="status=500")
        fine = await house.call(chat_call(KEY, "chat", "hello"))
        assert fine.status == 200
        await until(lambda: len(mirrored(house)) == 2)
        changed, failed = mirrored(house)
        assert (changed.text, changed.candidate_outcome) == ("changed", "ok")
        assert (failed.text, failed.stable_outcome, failed.candidate_outcome) == ("unknown", "ok", "failed")
        assert failed.error_code
        # Where stable fails too, the candidate is asked all the same: else only its own failures would be seen.
        house.vendor.set_script("good", always="status=500")
        broken = await house.call(chat_call(KEY, "chat", "hello"))
        assert broken.status >= 500
        await until(lambda: len(mirrored(house)) == 3)
        assert (mirrored(house)[2].stable_outcome, mirrored(house)[2].candidate_outcome) == ("failed", "failed")

    play_with(tmp_path, shaded_plan(shaded("good", "other")), play)


def test_a_stream_is_copied_without_its_text(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answer = await house.call(chat_call(KEY, "chat", "hello", stream=True))
        assert answer.failure == ""
        await until(lambda: len(mirrored(house)) == 1)
        (record,) = mirrored(house)
        assert (record.text, record.stable_outcome, record.candidate_outcome) == ("unknown", "ok", "ok")
        assert record.stable_bytes == record.candidate_bytes > 0

    play_with(tmp_path, shaded_plan(shaded("good", "other")), play)


def test_a_candidate_that_hangs_delays_nobody_and_copies_that_find_no_room_are_counted(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("other", always="hang")
        for number in range(copies.COPIES_MAX + 10):
            answer = await house.call(chat_call(KEY, "chat", f"hello {number}"))
            assert answer.failure == ""
        assert house.parts.counters["shadow_dropped"] >= 1
        assert mirrored(house) == []

    play_with(tmp_path, shaded_plan(shaded("good", "other")), play)


def test_copies_stay_within_their_spend_cap_and_on_nobodys_budget(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        said = {"model": "chat", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
        for _ in range(8):
            assert (await house.call(_call(said))).status == 200
        await until(lambda: house.parts.counters["shadow_over_cap"] >= 1)
        records = mirrored(house)
        assert 1 <= len(records) < 8
        assert sum(record.candidate_nano_usd for record in records) <= 300_000
        intents, _ = of_shadow(house)
        assert {intent.accounts for intent in intents} == {()}
        left = (await house.get("/v1/me", authorization=f"Bearer {KEY}"))[1]["limits"]
        (row,) = [row for row in left if row["account"] == "route:live/chat"]
        assert row["left"] >= 1_000 - 8

    play_with(tmp_path, shaded_plan(shaded("good", "other", cap=300_000), limits=LIMITS), play)


BOUNDS: list[tuple[dict[str, Any], int]] = [
    ({}, 4_096),
    ({"max_tokens": 700}, 700),
    ({"max_tokens": 50_000}, 50_000),
    ({"max_tokens": 700, "parameters": {"max_tokens": 500}}, 500),
]


@pytest.mark.parametrize(("facts", "output_tokens"), BOUNDS)
@pytest.mark.parametrize("fits", [True, False])
def test_a_copy_is_bounded_by_what_it_may_say_and_told_so(
    tmp_path: Path, facts: dict[str, Any], output_tokens: int, *, fits: bool
) -> None:
    call = chat_call(KEY, "chat", "hello")
    # 1,000 nano-USD for a byte of the request at most and 2,000 for a token of the answer.
    bound = len(call.body) * 1_000 + output_tokens * 2_000

    async def play(house: House) -> None:
        assert (await house.call(call)).status == 200
        await until(lambda: bool(mirrored(house)) or house.parts.counters["shadow_over_cap"] == 1)
        assert len(mirrored(house)) == fits
        if fits:
            assert json.loads(house.vendor.recent[-1][1])["max_tokens"] == output_tokens

    play_with(tmp_path, shaded_plan(shaded("good", "other", cap=bound if fits else bound - 1, **facts)), play)


def test_copies_that_fail_make_no_target_ill(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("other", always="status=500")
        for number in range(1, 7):
            assert (await house.call(chat_call(KEY, "chat", "hello"))).status == 200
            await until(lambda: len(mirrored(house)) == number)  # noqa: B023 - waited for here
        assert {record.candidate_outcome for record in mirrored(house)} == {"failed"}
        house.vendor.set_script("other", always="text=fine")
        assert not house.live.target("live", "other@1").is_suspect
        assert (await house.call(chat_call(KEY, "direct", "hello"))).status == 200

    plan = shaded_plan(shaded("good", "other"))
    plan.routes = [*plan.routes, route("direct", "other")]
    play_with(tmp_path, plan, play)


def test_a_long_copy_is_checked_in_no_callers_turn(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.live.exposure.renew()
        assert (await house.call(chat_call(KEY, "chat", "hello " * 20_000))).status == 200
        mirror = Mirror(house.parts, 1)
        async with house.parts.long_checks:
            mirror.start()
            try:
                await until(lambda: len(mirrored(house)) == 1)
            finally:
                await mirror.close()
        assert mirrored(house)[0].candidate_outcome == "ok"

    words = GuardrailRule("guardrail.deny:house/words", (GuardrailSide.INPUT,), GuardrailAction.BLOCK, deny=("falcon",))
    in_house(tmp_path, shaded_plan(shaded("good", "other"), mandatory=(words,)), play)


@pytest.mark.parametrize("case", ["stop", "brownout"])
def test_a_copy_that_was_kept_from_its_answer_says_nothing_of_the_candidate(tmp_path: Path, case: str) -> None:
    plan = shaded_plan(shaded("good", "other"))
    if case == "brownout":
        now_s = SystemClock().unix_us() // 1_000_000
        plan.models = [model("other", brownouts=((now_s - 60, now_s + 3_600),))]

    async def play(house: House) -> None:
        house.live.exposure.renew()
        mirror = Mirror(house.parts, 1)
        for _ in range(3):
            assert (await house.call(chat_call(KEY, "chat", "hello"))).status == 200
        if case == "stop":
            override(house, Stop("route:live/chat"))
        mirror.start()
        try:
            await until(lambda: house.parts.copies.waiting == 0)
            if case == "stop":
                override(house, Start("route:live/chat"))
            else:
                plan.models = [model("other")]
                house.publish(plan)
                house.refresh()
            assert (await house.call(chat_call(KEY, "chat", "hello"))).status == 200
            await until(lambda: bool(mirrored(house)))
        finally:
            await mirror.close()
        (record,) = mirrored(house)
        assert record.candidate_outcome == "ok"

    in_house(tmp_path, plan, play)


@pytest.mark.parametrize("case", ["stop of the app", "stop of everything", "revoked", "ended", "not granted", "gone"])
def test_copies_of_who_may_call_no_more_are_not_asked(tmp_path: Path, case: str) -> None:
    """They wait from before; whether their caller could make the call is asked when they are sent."""

    async def play(house: House) -> None:
        house.live.exposure.renew()
        for _ in range(3):
            assert (await house.call(chat_call(KEY, "chat", "hello"))).status == 200
        assert house.parts.copies.waiting == 3
        forbid(house, case)
        asked = len(house.vendor.recent)
        mirror = Mirror(house.parts, 1)
        mirror.start()
        try:
            await until(lambda: house.parts.counters["shadow_unmade"] == 3)
        finally:
            await mirror.close()
        assert (mirrored(house), of_shadow(house), len(house.vendor.recent)) == ([], ([], []), asked)

    in_house(tmp_path, shaded_plan(shaded("good", "other")), play)


def test_a_stop_that_comes_while_a_copy_is_checked_holds_for_it(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.live.exposure.renew()
        assert (await house.call(chat_call(KEY, "chat", "hello " * 20_000))).status == 200
        mirror = Mirror(house.parts, 1)
        try:
            async with mirror._checking.long_checks:
                mirror.start()
                await until(lambda: house.parts.copies.waiting == 0)
                override(house, Stop("app:app"))
            await until(lambda: house.parts.counters["shadow_unmade"] == 1)
        finally:
            await mirror.close()
        assert of_shadow(house) == ([], [])

    words = GuardrailRule("guardrail.deny:house/words", (GuardrailSide.INPUT,), GuardrailAction.BLOCK, deny=("falcon",))
    in_house(tmp_path, shaded_plan(shaded("good", "other"), mandatory=(words,)), play)


@pytest.mark.parametrize("fact", [Stop("app:app", cut_streams=True), Revoke("k1", cut_streams=True)])
def test_what_ends_a_callers_open_answers_ends_the_copies_of_their_calls(tmp_path: Path, fact: Override) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("other", always="hang")
        assert (await house.call(chat_call(KEY, "chat", "hello"))).status == 200
        await until(lambda: len(of_shadow(house)[0]) == 1)
        override(house, fact)
        await until(lambda: len(of_shadow(house)[1]) == 1)
        assert of_shadow(house)[1][0].error_code in ("stopped", "invalid_api_key")
        assert mirrored(house) == []

    play_with(tmp_path, shaded_plan(shaded("good", "other")), play)


def test_what_is_refused_to_the_candidate_by_a_rule_counts(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        override(house, Block("other@1"))
        assert (await house.call(chat_call(KEY, "chat", "hello"))).status == 200
        await until(lambda: len(mirrored(house)) == 1)
        (record,) = mirrored(house)
        assert (record.candidate_outcome, record.error_code, record.is_unpriced) == ("refused", "model_blocked", False)

    play_with(tmp_path, shaded_plan(shaded("good", "other")), play)


def test_a_candidate_without_a_price_is_asked_nothing(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        assert (await house.call(chat_call(KEY, "chat", "hello"))).status == 200
        await until(lambda: len(mirrored(house)) == 1)
        assert mirrored(house)[0].is_unpriced
        assert of_shadow(house) == ([], [])

    plan = shaded_plan(shaded("good", "other"))
    plan.models = [model("other", price=None)]
    play_with(tmp_path, plan, play)


def forbid(house: House, case: str) -> None:
    """What takes the call away from whoever made it."""
    plan = shaded_plan(shaded("good", "other"))
    match case:
        case "stop of the app":
            return override(house, Stop("app:app"))
        case "stop of everything":
            return override(house, Stop(STOP_ALL))
        case "revoked":
            return override(house, Revoke("k1"))
        case "ended":
            plan.keys = [key_entry("k1", "app", "live", expires_at=1)]
        case "not granted":
            plan.apps = [AppEntry("app", "team", ("another",))]
        case _:
            plan.keys = [key_entry("k1", "nobody", "live")]
    house.publish(plan)
    return house.refresh()


def override(house: House, fact: Override) -> None:
    append_override(journal_path(house.directory), fact, "ops", "it burns", SystemClock())
    house.refresh()


def _call(body: Mapping[str, object]) -> Call:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    return Call("/v1/chat/completions", headers, json.dumps(body).encode())


@pytest.mark.parametrize("case", ["share", "unwatched", "ended"])
def test_what_is_not_to_be_copied_is_not(tmp_path: Path, case: str) -> None:
    section = shaded("good", "other", share_bp=1 if case == "share" else 10_000)
    if case == "ended":
        section = msgspec.structs.replace(section, shadow=None)

    async def play(house: House) -> None:
        for _ in range(5):
            assert (await house.call(chat_call(KEY, "chat", "hello"))).status == 200
        # What is copied waits where the walk has put it, before its caller has the answer.
        assert not house.parts.copies.waiting
        assert mirrored(house) == []
        assert of_shadow(house) == ([], [])

    play_with(tmp_path, shaded_plan(section), play, watched=case != "unwatched")
