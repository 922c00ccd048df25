"""The inner door: control calls in the name of an app, on the one release that its principal names."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from gateway_house import KEY, MASTER_KEY, House, Plan, in_house, model, route
from test_gateway_split import NEW, OLD, SECTION, chat

from lineclear.base.seal import Keys
from lineclear.domain.ledger import Intent, Refusal
from lineclear.domain.snapshot import AccountLimits, AppEntry
from lineclear.handover.inner_door import InnerPrincipal, InnerPurpose, signed_principal
from lineclear.testing.load import Call, CallResult

KEYS = Keys(MASTER_KEY)
FAR = 4_000_000_000
PRINCIPAL = InnerPrincipal(InnerPurpose.REPLAY, "rp_1", "app", "live", "chat", "", FAR)
PLAN = Plan(models=[model("new"), model("old")], routes=[SECTION])
PENDING = Plan(models=[model("new"), model("old")], routes=[msgspec.structs.replace(SECTION, weight_bp=0)])
"""A rollout whose candidate has no traffic yet."""


def by(principal: InnerPrincipal, name: str = "chat", **headers: str) -> Call:
    call = chat(name, **headers)
    return replace(call, headers={**call.headers, "authorization": f"Bearer {signed_principal(KEYS, principal)}"})


def on(release: str) -> Call:
    return by(msgspec.structs.replace(PRINCIPAL, release=release))


def served(answer: CallResult) -> tuple[str, str]:
    assert answer.status == 200, answer.body
    return answer.headers["x-lineclear-release"], answer.headers["x-lineclear-model"]


@pytest.mark.parametrize("plan", [PLAN, PENDING])
def test_a_call_runs_on_exactly_the_release_that_it_names(tmp_path: Path, plan: Plan) -> None:
    async def play(house: House) -> None:
        house.live.exposure.renew()
        for _ in range(8):
            assert served(await house.call_inside(on(OLD.digest))) == ("rel_old", "old@1")
            assert served(await house.call_inside(on(NEW.digest))) == ("rel_new", "new@1")
            assert served(await house.call_inside(on(""))) == ("rel_old", "old@1")

    in_house(tmp_path, plan, play)


def test_it_is_on_record_as_controls_own_and_as_evidence_of_nothing(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        house.live.exposure.renew()
        answer = await house.call_inside(by(PRINCIPAL, x_lineclear_tags="run=rp_1"))
        (intent,) = [one for one in house.records() if isinstance(one, Intent) and one.id == answer.request_id]
        assert (intent.app, intent.team, intent.key_id, intent.tags) == ("app", "team", "inner:replay", "run=rp_1")
        assert (intent.arm, intent.rollout, intent.weight_bp) == ("", "", 0)
        house.settle_of(answer)

    in_house(tmp_path, PLAN, play)


def test_limits_of_the_app_hold_inside_as_outside(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        assert (await house.call(chat("good"))).status == 200
        refused = await house.call_inside(by(msgspec.structs.replace(PRINCIPAL, route="good"), "good"))
        assert (refused.status, refused.json["error"]["code"]) == (429, "rate_limited")

    in_house(tmp_path, Plan(limits={"app:app": AccountLimits(1, None, None, None)}), play)


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"release": "f" * 64}, 404, "not_found"),
        ({"route": "good"}, 404, "not_found"),
        ({"app": "nobody"}, 401, "invalid_api_key"),
        ({"environment": "moon"}, 401, "invalid_api_key"),
        ({"expires_at": 1}, 401, "invalid_api_key"),
        ({"app": "narrow"}, 404, "model_not_found"),
    ],
)
def test_a_principal_opens_nothing_else(tmp_path: Path, changed: dict[str, object], status: int, code: str) -> None:
    async def play(house: House) -> None:
        house.live.exposure.renew()
        answer = await house.call_inside(by(msgspec.structs.replace(PRINCIPAL, **changed)))
        assert (answer.status, answer.json["error"]["code"]) == (status, code)
        for refusal in (one for one in house.records() if isinstance(one, Refusal)):
            assert (refusal.arm, refusal.rollout) == ("", ""), "a refused replay is no evidence of a rollout"

    in_house(tmp_path, replace(PLAN, apps=[AppEntry("narrow", "team", ())]), play)


def test_neither_door_takes_what_is_made_for_the_other(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        assert (await house.call(by(PRINCIPAL))).status == 401
        assert (await house.call_inside(chat())).status == 401

    in_house(tmp_path, PLAN, play)


def test_whoever_has_no_master_key_signs_nothing(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        good = signed_principal(KEYS, PRINCIPAL)
        forged = signed_principal(Keys(bytes(32)), PRINCIPAL)
        content, _, mac = good.partition(".")
        spoiled = [
            forged,
            f"{content}x.{mac}",
            f"{content}.{mac[:-1]}{'0' if mac[-1] != '0' else '1'}",
            f"{content}.",
            content,
            "lci_.",
            f"lci_{'A' * 3000}.{mac}",
            good.replace("lci_", "lc_"),
            KEY,
        ]
        for text in spoiled:
            call = chat()
            answer = await house.call_inside(replace(call, headers={**call.headers, "authorization": f"Bearer {text}"}))
            assert answer.status == 401, text

    in_house(tmp_path, PLAN, play)


def test_a_release_whose_use_is_not_approved_is_refused_as_for_everybody(tmp_path: Path) -> None:
    async def play(house: House) -> None:
        answer = await house.call_inside(on(NEW.digest))
        assert (answer.status, answer.json["error"]["code"]) == (403, "use_not_approved")
        assert house.refusal_of(answer).release == "rel_new"
        assert served(await house.call_inside(on(OLD.digest))) == ("rel_old", "old@1")

    section = msgspec.structs.replace(SECTION, tasks=("greet",))
    in_house(tmp_path, Plan(models=[model("new", approved_uses=("other",)), model("old")], routes=[section]), play)


@pytest.mark.parametrize("script", ["text=hi", "tokens=300,token-bytes=8192"])
def test_what_failed_attempts_may_cost_is_told_inside_alone(tmp_path: Path, script: str) -> None:
    async def play(house: House) -> None:
        house.vendor.set_script("ill", always="html")
        house.vendor.set_script("good", always=script)
        principal = msgspec.structs.replace(PRINCIPAL, route="quick")
        answer = await house.call_inside(by(principal, "quick"))
        settle = house.settle_of(answer)
        assert (answer.status, settle.model, settle.waste_nano_usd > 0) == (200, "good@1", True)
        told = Decimal(answer.headers["x-lineclear-waste-usd"])
        assert int(told * 1_000_000_000) == settle.waste_nano_usd
        outside = await house.call(chat("quick"))
        assert (outside.status, "x-lineclear-waste-usd" in outside.headers) == (200, False)

    quick = route("quick", "ill", fallback=("good@1",))
    in_house(tmp_path, Plan(models=[model("ill")], routes=[quick]), play)
