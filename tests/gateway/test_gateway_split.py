"""A route under rollout: which release a call gets, that it keeps it, what is recorded, and what nobody watches."""

import hashlib
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from gateway_house import KEY, House, Plan, in_house, model, route

from lineclear.base.clock import SystemClock
from lineclear.domain.arms import arm_point, arm_salt, is_candidate
from lineclear.domain.ledger import Intent, Refusal
from lineclear.domain.overrides import Rollback
from lineclear.domain.snapshot import PromptEntry, ReleaseEntry, TargetEntry
from lineclear.gateway.split import UNMONITORED
from lineclear.handover.overrides import append_override, journal_path
from lineclear.testing.load import Call, CallResult, chat_call

ROLLOUT = "ro_20270115"
WEIGHT_BP = 5_000
SALT = arm_salt(ROLLOUT)
USERS = [f"user-{number}" for number in range(40)]
OF_CANDIDATE = [user for user in USERS if is_candidate(arm_point(SALT, user), WEIGHT_BP)]
OF_STABLE = [user for user in USERS if user not in OF_CANDIDATE]


def release(id_: str, target: str, **facts: object) -> ReleaseEntry:
    plain = msgspec.structs.replace(
        route("x", target).stable,
        id=id_,
        digest=hashlib.sha256(id_.encode()).hexdigest(),
        targets=(TargetEntry(f"{target}@1", 1),),
    )
    return msgspec.structs.replace(plain, **facts)


VOICE = PromptEntry(name="voice", digest="0" * 64, mode="prepend", segments=("Be brief to ", "shop", "."))
OLD, NEW = release("rel_old", "old"), release("rel_new", "new")
SECTION = route(
    "chat", "old", stable=OLD, previous=(), candidate=NEW, weight_bp=WEIGHT_BP, rollout=ROLLOUT, lease_s=300.0
)
PLAN = Plan(models=[model("new"), model("old")], routes=[SECTION])


def chat(name: str = "chat", **headers: str) -> Call:
    call = chat_call(KEY, name, "hello")
    return replace(call, headers={**call.headers, **{key.replace("_", "-"): value for key, value in headers.items()}})


def by(user: str) -> Call:
    return chat(x_lineclear_user=user)


def watch(house: House) -> None:
    house.live.exposure.renew()


def served(answer: CallResult) -> tuple[str, str]:
    assert answer.status == 200, answer.body
    return answer.headers["x-lineclear-release"], answer.headers["x-lineclear-model"]


def intent_of(house: House, answer: CallResult) -> Intent:
    (found,) = [one for one in house.records() if isinstance(one, Intent) and one.id == answer.request_id]
    return found


def test_each_unit_gets_its_release_and_the_record_says_which(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        watch(house)
        hashes = {}
        for user in USERS[:16]:
            is_new = user in OF_CANDIDATE
            answer = await house.call(by(user))
            assert served(answer) == (("rel_new", "new@1") if is_new else ("rel_old", "old@1"))
            assert served(await house.call(by(user))) == served(answer)
            intent = intent_of(house, answer)
            assert (intent.arm, intent.rollout, intent.weight_bp) == (
                "candidate" if is_new else "stable",
                ROLLOUT,
                WEIGHT_BP,
            )
            assert intent.release == served(answer)[0]
            hashes[user] = intent.unit_hash
        assert len(set(hashes.values())) == 16
        assert all(len(one) == 16 for one in hashes.values())

    in_house(tmp_path, PLAN, play)


def test_the_unit_is_user_then_session_then_idempotency_key_then_the_request(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        watch(house)
        new, old = OF_CANDIDATE[0], OF_STABLE[0]
        for headers, unit in (
            ({"x_lineclear_user": new, "x_lineclear_session": old, "idempotency_key": old}, new),
            ({"x_lineclear_session": new, "idempotency_key": old}, new),
            ({"idempotency_key": new}, new),
            ({"idempotency_key": old}, old),
        ):
            assert served(await house.call(chat(**headers)))[0] == ("rel_new" if unit == new else "rel_old")
        for _ in range(6):
            answer = await house.call(chat())
            is_new = is_candidate(arm_point(SALT, answer.request_id), WEIGHT_BP)
            assert served(answer)[0] == ("rel_new" if is_new else "rel_old")
            assert intent_of(house, answer).unit_hash == ""

    in_house(tmp_path, PLAN, play)


def test_a_failing_candidate_is_not_rescued_by_the_stable_release(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        watch(house)
        house.vendor.set_script("new", always="status=500")
        answer = await house.call(by(OF_CANDIDATE[0]))
        assert answer.status == 502
        settle = house.settle_of(answer)
        assert {attempt.model for attempt in settle.attempts} == {"new@1"}
        assert {candidate.model for candidate in settle.candidates} == {"new@1"}
        assert served(await house.call(by(OF_STABLE[0])))[0] == "rel_old"

    in_house(tmp_path, PLAN, play)


def test_what_an_arms_own_release_refuses_is_recorded_in_that_arm(tmp_path: Path) -> None:
    talkative = msgspec.structs.replace(SECTION, candidate=release("rel_new", "new", prompt=VOICE))
    gone = msgspec.structs.replace(SECTION, route="gone", candidate=release("rel_gone", "gone"))
    retired = model("gone", status="retired")

    async def play(house: House) -> None:
        watch(house)
        user = OF_CANDIDATE[0]
        for name, code, rel in (("chat", "variable_missing", "rel_new"), ("gone", "model_retired", "rel_gone")):
            answer = await house.call(chat(name, x_lineclear_user=user))
            assert answer.headers["x-lineclear-release"] == rel
            (refusal,) = [
                one for one in house.records() if isinstance(one, Refusal) and one.id == answer.headers["x-request-id"]
            ]
            assert (refusal.error_code, refusal.release) == (code, rel)
            assert (refusal.arm, refusal.rollout, refusal.weight_bp) == ("candidate", ROLLOUT, WEIGHT_BP)
            assert len(refusal.unit_hash) == 16
            assert (await house.call(chat(name, x_lineclear_user=OF_STABLE[0]))).status == 200
        answer = await house.call(chat("chat", x_lineclear_user=user, x_lineclear_task="none"))
        (refusal,) = [
            one for one in house.records() if isinstance(one, Refusal) and one.id == answer.headers["x-request-id"]
        ]
        assert (refusal.error_code, refusal.arm) == ("task_not_allowed", "")

    in_house(tmp_path, Plan(models=[model("new"), model("old"), retired], routes=[talkative, gone]), play)


def test_without_a_sign_of_control_the_candidate_gets_nothing(tmp_path: Path) -> None:
    short = msgspec.structs.replace(SECTION, lease_s=0.2)

    async def play(house: House) -> None:
        exposure = house.live.exposure
        user = OF_CANDIDATE[0]
        for is_watched in (False, True, False, True):
            if is_watched:
                exposure.renew()
            elif exposure.is_watched(10**12):
                while exposure.is_watched(200_000_000):
                    await house.call(chat("good"))
            answer = await house.call(by(user))
            assert served(answer)[0] == ("rel_new" if is_watched else "rel_old")
            intent = intent_of(house, answer)
            assert (intent.arm, intent.weight_bp) == (("candidate", WEIGHT_BP) if is_watched else ("stable", 0))
            assert (UNMONITORED in house.settle_of(answer).rules) is not is_watched
            assert (answer.headers.get("x-lineclear-policy") == UNMONITORED) is not is_watched

    in_house(tmp_path, Plan(models=PLAN.models, routes=[short]), play)


def test_apps_fetch_the_configuration_of_their_units_arm(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        watch(house)
        told = {}
        for user in (OF_CANDIDATE[0], OF_STABLE[0], ""):
            fields = {"authorization": f"Bearer {KEY}", **({"x_lineclear_user": user} if user else {})}
            status, config = await house.get("/v1/routes/chat/config", **fields)
            assert status == 200
            told[user] = (config["release"], config["arm"])
        assert told == {
            OF_CANDIDATE[0]: ("rel_new", "candidate"),
            OF_STABLE[0]: ("rel_old", "stable"),
            "": ("rel_old", "stable"),
        }

    in_house(tmp_path, PLAN, play)


@pytest.mark.parametrize("to", ["rel_old", "rel_older"])
def test_a_rollback_ends_the_exposure(tmp_path: Path, to: str) -> None:
    section = msgspec.structs.replace(SECTION, previous=(release("rel_older", "good"),))

    async def play(house: House) -> None:
        watch(house)
        user = OF_CANDIDATE[0]
        assert served(await house.call(by(user)))[0] == "rel_new"
        append_override(journal_path(house.directory), Rollback("live", "chat", to, 1), "ops", "fire", SystemClock())
        house.refresh()
        answer = await house.call(by(user))
        assert served(answer)[0] == to
        assert intent_of(house, answer).rollout == ""

    in_house(tmp_path, Plan(models=PLAN.models, routes=[section]), play)


@pytest.mark.parametrize("facts", [{"weight_bp": 10_000}, {"weight_bp": -1}, {"rollout": ""}, {"lease_s": 0.0}])
def test_what_is_no_rollout_refuses_the_snapshot(tmp_path: Path, facts: dict[str, object]) -> None:
    async def play(house: House) -> None:
        before = house.parts.current.snapshot().revision
        house.publish(Plan(models=PLAN.models, routes=[msgspec.structs.replace(SECTION, **facts)]))
        house.refresh()
        assert "no rollout at all" in house.parts.current.refused_reason
        assert house.parts.current.snapshot().revision == before

    in_house(tmp_path, PLAN, play)
