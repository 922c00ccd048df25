"""Overrides over the snapshot in force: rollback, block, revoke, stop; a damaged journal; the boot from disk."""

import dataclasses
import hashlib
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from gateway_house import KEY, House, Plan, in_house, key_entry, make_key, model, route

from lineclear.base.clock import SystemClock
from lineclear.domain.guardrails import GuardrailAction, GuardrailRule, GuardrailSide
from lineclear.domain.overrides import Block, Drill, Override, Revoke, Rollback, Start, Stop
from lineclear.domain.snapshot import AppEntry, ReleaseEntry, TargetEntry
from lineclear.gateway.snapshot import Snapshot, compile_snapshot
from lineclear.handover.overrides import READ_BY_US, append_override, journal_path
from lineclear.testing.clock import TestClock
from lineclear.testing.load import Call, CallResult, chat_call


def release(id_: str, target: str) -> ReleaseEntry:
    digest = hashlib.sha256(id_.encode()).hexdigest()
    return msgspec.structs.replace(
        route("x", target).stable, id=id_, digest=digest, targets=(TargetEntry(f"{target}@1", 1),)
    )


NEW, OLD, OLDER = release("rel_new", "new"), release("rel_old", "old"), release("rel_older", "good")
PLAN = Plan(
    models=[model("new"), model("old"), model("apart", provider="openai-only")],
    routes=[route("chat", "new", stable=NEW, previous=(OLD, OLDER)), route("apart", "apart")],
    apps=[AppEntry("shop", "team", ("*",))],
    keys=[key_entry("k3", "shop", "live")],
)


def override(house: House, fact: Override) -> None:
    append_override(journal_path(house.directory), fact, "ops", "it burns", SystemClock())
    house.refresh()


def chat(name: str, key: str = KEY) -> Call:
    return chat_call(key, name, "hello")


async def served(house: House, name: str) -> tuple[str, str]:
    answer = await house.call(chat(name))
    assert answer.status == 200, answer.body
    return answer.headers["x-lineclear-release"], answer.headers["x-lineclear-model"]


def problem(answer: CallResult) -> dict[str, object]:
    return dict(msgspec.json.decode(answer.body)["error"])


def test_a_rollback_swaps_and_goes_further_only_by_name(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        assert await served(house, "chat") == ("rel_new", "new@1")
        override(house, Rollback("live", "chat", "rel_old", 1))
        assert await served(house, "chat") == ("rel_old", "old@1")
        override(house, Rollback("live", "chat", "rel_older", 1))
        assert await served(house, "chat") == ("rel_older", "good@1")
        override(house, Rollback("live", "chat", "rel_new", 1))
        assert await served(house, "chat") == ("rel_new", "new@1")
        assert (await house.get("/readyz"))[1]["overrides"] == 3

    in_house(tmp_path, PLAN, play)


def test_what_is_part_of_the_snapshot_is_not_applied_again(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        override(house, Rollback("live", "chat", "rel_old", 1))
        house.publish(PLAN, overrides_folded=1)
        house.refresh()
        assert await served(house, "chat") == ("rel_new", "new@1")
        override(house, Rollback("live", "chat", "rel_older", 1))
        assert await served(house, "chat") == ("rel_older", "good@1")

    in_house(tmp_path, PLAN, play)


def test_a_refused_snapshot_forgets_no_override(tmp_path: Path) -> None:
    unknown = GuardrailRule(
        "guardrail.detect:house/new", (GuardrailSide.INPUT,), GuardrailAction.BLOCK, detect=("mind-reading",)
    )
    newer = dataclasses.replace(PLAN, routes=[*PLAN.routes, route("read", "new", guardrails=(unknown,))])

    async def play(house: House) -> None:
        override(house, Revoke("k3"))
        override(house, Block("new@1"))
        house.publish(newer, overrides_folded=2)
        house.refresh()
        current = house.parts.current
        assert "mind-reading" in current.refused_reason
        for _ in range(2):
            assert (await house.call(chat("good", make_key("k3")))).status == 401
            assert (await house.call(chat("chat"))).status == 403
            # The snapshot in force is compiled anew; it holds neither of the two.
            override(house, Stop("app:nobody"))
        append_override(journal_path(house.directory), Stop("route:live/good"), "ops", "it burns", SystemClock())
        house.publish(newer, overrides_folded=2)
        house.refresh()
        assert "mind-reading" in current.refused_reason
        assert (await house.call(chat("good"))).status == 503
        house.publish(PLAN, overrides_folded=2)
        house.refresh()
        assert current.refused_reason == ""
        assert (await house.call(chat("good", make_key("k3")))).status == 503
        assert (await house.call(chat("chat"))).status == 200

    in_house(tmp_path, PLAN, play)


def test_a_blocked_version_and_a_revoked_key_are_refused(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        override(house, Block("new@1"))
        refused = await house.call(chat("chat"))
        assert (refused.status, problem(refused)["code"]) == (403, "model_blocked")
        assert (await house.call(chat("good", make_key("k3")))).status == 200
        override(house, Revoke("k3"))
        assert (await house.call(chat("good", make_key("k3")))).status == 401
        assert (await house.call(chat("good"))).status == 200
        override(house, Rollback("live", "chat", "rel_old", 1))
        assert await served(house, "chat") == ("rel_old", "old@1")
        assert (await house.call(chat("good", make_key("k3")))).status == 401

    in_house(tmp_path, PLAN, play)


@pytest.mark.parametrize(
    ("scope", "stopped", "others"),
    [
        ("all", [("chat", KEY), ("good", KEY), ("good", make_key("k3"))], []),
        ("app:shop", [("chat", make_key("k3"))], [("chat", KEY)]),
        ("route:live/chat", [("chat", KEY), ("chat", make_key("k3"))], [("good", KEY)]),
        ("provider:openai-only", [("apart", KEY)], [("good", KEY)]),
    ],
)
def test_a_stop_says_who_and_why_and_is_lifted(
    tmp_path: Path, scope: str, stopped: list[tuple[str, str]], others: list[tuple[str, str]]
) -> None:
    async def play(house: House) -> None:
        override(house, Stop(scope))
        for name, key in stopped:
            answer = await house.call(chat(name, key))
            told = problem(answer)
            assert (answer.status, told["code"]) == (503, "stopped")
            assert answer.headers["x-should-retry"] == "false"
            assert "retry-after" not in answer.headers
            assert "by ops: it burns" in str(told["message"])
            assert answer.headers["x-lineclear-policy"] == f"stop.{scope}"
            assert house.refusal_of(answer).error_code == "stopped"
        for name, key in others:
            assert (await house.call(chat(name, key))).status == 200
        override(house, Start(scope))
        for name, key in stopped:
            assert (await house.call(chat(name, key))).status == 200

    in_house(tmp_path, PLAN, play)


def test_the_good_part_of_a_damaged_journal_holds_and_the_rest_is_told(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        override(house, Rollback("live", "chat", "rel_old", 1))
        override(house, Stop("app:shop"))
        path = journal_path(house.directory)
        path.write_bytes(path.read_bytes().replace(b"app:shop", b"app:shoq"))
        house.refresh()
        # What was verified before stays in force, whatever happens to the file.
        assert (await house.call(chat("chat", make_key("k3")))).status == 503
        shutil.copytree(tmp_path / "snapshot", tmp_path / "again" / "snapshot")
        shutil.copytree(tmp_path / "overrides", tmp_path / "again" / "overrides")
        again = House(tmp_path / "again")
        await again.open(None)
        try:
            assert await served(again, "chat") == ("rel_old", "old@1")
            assert (await again.call(chat("chat", make_key("k3")))).status == 200
            told = (await again.get("/readyz"))[1]
            assert (told["status"], told["overrides"]) == ("ready", 1)
            assert "breaks the hash chain" in told["overrides_refused"]
        finally:
            await again.close()

    in_house(tmp_path, PLAN, play)


def test_a_drill_prepares_and_serves_nothing_else(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        override(house, Drill("live", "chat", "rel_old", 1))
        assert await served(house, "chat") == ("rel_new", "new@1")
        told = (await house.get("/readyz"))[1]
        assert (told["overrides"], told["overrides_refused"]) == (1, None)
        override(house, Drill("live", "chat", "rel_none", 1))
        assert await served(house, "chat") == ("rel_new", "new@1")
        assert "rel_none" in (await house.get("/readyz"))[1]["overrides_refused"]

    in_house(tmp_path, PLAN, play)


def test_a_drill_leaves_every_view_in_force_as_it_is_and_prepares_no_other_route(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(house: House) -> None:
        current = house.parts.current
        override(house, Drill("live", "chat", "rel_old", 1))
        before = current.snapshot()
        prepared: list[Snapshot] = []

        def compiled(*args: Any, **keywords: Any) -> Snapshot:
            prepared.append(compile_snapshot(*args, **keywords))
            return prepared[-1]

        monkeypatch.setattr("lineclear.gateway.current.compile_snapshot", compiled)
        override(house, Drill("live", "chat", "rel_older", 1))
        assert current.snapshot().overrides == 2
        assert current.snapshot().routes is before.routes
        assert [list(one.routes) for one in prepared] == [[("live", "chat")]]
        # One that is gone since is nothing that a later drill of the route could fail for.
        gone = dataclasses.replace(PLAN, routes=[route("chat", "new", stable=NEW, previous=(OLD,))])
        house.publish(gone)
        house.refresh()
        override(house, Drill("live", "chat", "rel_old", 1))
        assert current.overrides_refused == ""
        override(house, Stop("route:live/chat"))
        assert (await house.call(chat("chat"))).status == 503
        assert current.snapshot().overrides == 4

    in_house(tmp_path, PLAN, play)


def test_a_drill_that_control_took_over_first_is_prepared_all_the_same(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        for number, (name, problem) in enumerate({"rel_none": "rel_none", "rel_old": ""}.items(), start=1):
            fact = Drill("live", "chat", name, 1)
            append_override(journal_path(house.directory), fact, "ops", "", SystemClock())
            # The revision that holds the entry is there before the worker reads either.
            house.publish(PLAN, overrides_folded=number)
            house.refresh()
            told = (await house.get("/readyz"))[1]
            assert told["overrides"] == number
            assert problem in (told["overrides_refused"] or "")
            assert bool(problem) == bool(told["overrides_refused"])
            assert await served(house, "chat") == ("rel_new", "new@1")

    in_house(tmp_path, PLAN, play)


def test_a_worker_that_begins_during_a_drill_prepares_it_and_none_of_long_ago(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        path = journal_path(house.directory)
        long_ago = TestClock(SystemClock().unix_us() - READ_BY_US - 1_000_000)
        append_override(path, Drill("live", "chat", "rel_long_ago", 1), "ops", "", long_ago)
        house.publish(PLAN, overrides_folded=1)
        assert await told_by_another(house, tmp_path / "late") == (1, None)
        append_override(path, Drill("live", "chat", "rel_none", 1), "ops", "", SystemClock())
        house.publish(PLAN, overrides_folded=2)
        overrides, refused = await told_by_another(house, tmp_path / "again")
        assert overrides == 2
        assert "rel_none" in str(refused)
        assert "rel_long_ago" not in str(refused)

    in_house(tmp_path, PLAN, play)


async def told_by_another(house: House, directory: Path) -> tuple[int, str | None]:
    """What a worker that begins now says of the overrides."""
    for name in ("snapshot", "overrides"):
        shutil.copytree(house.directory / name, directory / name)
    another = House(directory)
    await another.open(None)
    try:
        told = (await another.get("/readyz"))[1]
        return told["overrides"], told["overrides_refused"]
    finally:
        await another.close()


def test_what_is_not_there_is_told_and_harms_nothing(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        override(house, Rollback("live", "chat", "rel_none", 1))
        override(house, Block("none@1"))
        override(house, Revoke("none"))
        assert await served(house, "chat") == ("rel_new", "new@1")
        told = (await house.get("/readyz"))[1]
        assert told["status"] == "ready"
        assert "override 1 names release rel_none" in told["overrides_refused"]
        assert "override 2 blocks none@1" in told["overrides_refused"]

    in_house(tmp_path, PLAN, play)
