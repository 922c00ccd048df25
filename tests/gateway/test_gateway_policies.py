"""Policies at the data port: rules and calls through real sockets in both dialects, refused before a byte is sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from gateway_house import KEY, House, Plan, in_house, key_entry, make_key, model, route

from lineclear.domain.catalogue import CostTier, DataClass, ModelStatus, RiskTier, VendorState
from lineclear.domain.policy_rules import PolicyAction, PolicyEntry, PolicyRule, PolicyTime
from lineclear.domain.snapshot import AppEntry
from lineclear.testing.load import Call, chat_call, messages_call

OTHER = make_key("k3")
MODELS = [
    model("cheap"),
    model("dear", cost_tier=CostTier.HIGH, risk_tier=RiskTier.HIGH),
    model("gone", status=ModelStatus.RETIRED),
    model("ran-out", region="us", vendor_expires=int(datetime.now(UTC).timestamp()) - 60),
    model("runs-out", region="eu", vendor_expires=int(datetime.now(UTC).timestamp()) + 86_400),
    model("no-record", vendor=VendorState.MISSING),
]
ROUTES = [
    route("both", "cheap", "dear", strategy="priority", tasks=("chat", "drafting")),
    route("cheap", "cheap"),
    route("dear", "dear"),
    route("reviewed", "dear"),
    route("half-gone", "gone", "dear", strategy="priority"),
    route("vendors", "ran-out", "runs-out", "no-record", strategy="priority"),
    route("no-record", "no-record"),
]
NEVER, ALWAYS = PolicyTime("UTC", ((datetime.now(UTC).weekday() + 3) % 7,)), PolicyTime("Asia/Tokyo")


def rule(name: str, then: PolicyAction = PolicyAction.DENY, *, policy: str = "p", **conditions: object) -> PolicyRule:
    return PolicyRule(f"policy.{then.value}:{policy}/{name}", then, **conditions)  # type: ignore[arg-type]


@dataclass
class Case:
    rules: tuple[PolicyRule, ...]
    route: str
    served: str = ""
    """The model that serves it; empty = refused."""
    refused_by: tuple[str, ...] = ()
    took_part: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    key: str = KEY
    says: str = ""


DENY = "policy.deny:p/a"
CASES = {
    "a tier excludes a model": Case(
        (rule("a", cost_tier=(CostTier.HIGH,)),), "half-gone", refused_by=(DENY,), says="dear@1"
    ),
    "the others stay": Case(
        (rule("a", model=("cheap",)),), "both", "dear@1", took_part=(DENY,), fields={"x-lineclear-task": "chat"}
    ),
    "a version by its name": Case((rule("a", model=("cheap@2",)),), "cheap", "cheap@1"),
    "a version": Case((rule("a", model=("cheap@1",)),), "cheap", refused_by=(DENY,)),
    "a risk": Case((rule("a", risk_tier=(RiskTier.HIGH,)),), "dear", refused_by=(DENY,)),
    "a task": Case(
        (rule("a", task=("drafting",), cost_tier=(CostTier.HIGH,)),),
        "both",
        "cheap@1",
        took_part=(DENY,),
        fields={"x-lineclear-task": "drafting"},
    ),
    "another task": Case((rule("a", task=("drafting",)),), "both", "cheap@1", fields={"x-lineclear-task": "chat"}),
    "a raised data class": Case(
        (rule("a", data_class=(DataClass.RESTRICTED,)),),
        "cheap",
        refused_by=(DENY,),
        fields={"x-lineclear-data-class": "restricted"},
    ),
    "the route's data class": Case((rule("a", data_class=(DataClass.RESTRICTED,)),), "cheap", "cheap@1"),
    "a raised data class evades no denial of the route's": Case(
        (rule("a", data_class=(DataClass.INTERNAL,)),),
        "cheap",
        refused_by=(DENY,),
        fields={"x-lineclear-data-class": "restricted"},
    ),
    "nor of one between": Case(
        (rule("r", PolicyAction.REQUIRE_ROUTE, data_class=(DataClass.CONFIDENTIAL,), route="reviewed"),),
        "cheap",
        refused_by=("policy.require_route:p/r",),
        fields={"x-lineclear-data-class": "restricted"},
    ),
    "a denial below the route's class is none of it": Case(
        (rule("a", data_class=(DataClass.PUBLIC,)),),
        "cheap",
        "cheap@1",
        fields={"x-lineclear-data-class": "restricted"},
    ),
    "what a class is allowed a higher one is not": Case(
        (rule("x", PolicyAction.ALLOW, data_class=(DataClass.INTERNAL,)), rule("a")),
        "cheap",
        refused_by=(DENY,),
        fields={"x-lineclear-data-class": "restricted"},
    ),
    "what a higher class is allowed is none that the route's is not": Case(
        (
            rule("x", PolicyAction.ALLOW, data_class=(DataClass.RESTRICTED,)),
            rule("a", data_class=(DataClass.INTERNAL,)),
        ),
        "cheap",
        refused_by=(DENY,),
        fields={"x-lineclear-data-class": "restricted"},
    ),
    "what both classes are allowed": Case(
        (rule("x", PolicyAction.ALLOW, data_class=(DataClass.INTERNAL, DataClass.RESTRICTED)), rule("a")),
        "cheap",
        "cheap@1",
        took_part=("policy.allow:p/x",),
        fields={"x-lineclear-data-class": "restricted"},
    ),
    "an environment": Case((rule("a", environment=("live",)),), "cheap", refused_by=(DENY,)),
    "another environment": Case((rule("a", environment=("test",)),), "cheap", "cheap@1"),
    "a team": Case((rule("a", team=("others",)),), "cheap", refused_by=(DENY,), key=OTHER),
    "another team": Case((rule("a", team=("others",)),), "cheap", "cheap@1"),
    "an app": Case((rule("a", app=("other",)),), "cheap", refused_by=(DENY,), key=OTHER),
    "another app": Case((rule("a", app=("other",)),), "cheap", "cheap@1"),
    "a tag": Case(
        (rule("a", tag=("bulk", "night")),), "cheap", refused_by=(DENY,), fields={"x-lineclear-tags": "x, night"}
    ),
    "another tag": Case((rule("a", tag=("bulk",)),), "cheap", "cheap@1", fields={"x-lineclear-tags": "bulky"}),
    "no tag": Case((rule("a", tag=("bulk",)),), "cheap", "cheap@1"),
    "a time": Case((rule("a", time=ALWAYS),), "cheap", refused_by=(DENY,)),
    "another time": Case((rule("a", time=NEVER),), "cheap", "cheap@1"),
    "all conditions have to hold": Case(
        (rule("a", app=("app",), task=("drafting",)),), "both", "cheap@1", fields={"x-lineclear-task": "chat"}
    ),
    "the first rule that holds decides": Case(
        (rule("x", PolicyAction.ALLOW, app=("app",)), rule("a")),
        "cheap",
        "cheap@1",
        took_part=("policy.allow:p/x",),
    ),
    "for others the next one": Case(
        (rule("x", PolicyAction.ALLOW, app=("app",)), rule("a")), "cheap", refused_by=(DENY,), key=OTHER
    ),
    "no policy outvotes another": Case(
        (rule("x", PolicyAction.ALLOW, policy="o"), rule("a")), "cheap", refused_by=(DENY,)
    ),
    "two that say no": Case(
        (rule("b", policy="o", app=("app",)), rule("a")), "cheap", refused_by=("policy.deny:o/b", DENY)
    ),
    "another route": Case(
        (rule("r", PolicyAction.REQUIRE_ROUTE, risk_tier=(RiskTier.HIGH,), route="reviewed"),),
        "dear",
        refused_by=("policy.require_route:p/r",),
        says="call route 'reviewed'",
    ),
    "that route": Case(
        (rule("r", PolicyAction.REQUIRE_ROUTE, risk_tier=(RiskTier.HIGH,), route="reviewed"),),
        "reviewed",
        "dear@1",
        took_part=("policy.require_route:p/r",),
    ),
    "its description is told": Case((rule("a", description="too dear"),), "cheap", refused_by=(DENY,), says="too dear"),
    "a region": Case((rule("a", provider_region=("us",)),), "vendors", "runs-out@1", took_part=(DENY,)),
    "a region that is not known": Case(
        (rule("a", provider_region=("unknown",)),), "no-record", refused_by=(DENY,), says="no-record@1"
    ),
    "a record that has run out, and one that has not": Case(
        (rule("a", vendor_record=(VendorState.EXPIRED,)),), "vendors", "runs-out@1", took_part=(DENY,)
    ),
    "a record that is in force, by its own vendor's date": Case(
        (
            rule("v", PolicyAction.ALLOW, vendor_record=(VendorState.VALID,)),
            rule("a", vendor_record=(VendorState.EXPIRED, VendorState.MISSING)),
        ),
        "vendors",
        "runs-out@1",
        took_part=(DENY, "policy.allow:p/v"),
    ),
    "no record": Case((rule("a", vendor_record=(VendorState.MISSING,)),), "no-record", refused_by=(DENY,)),
    "the gate comes first": Case((rule("a", model=("gone",)),), "half-gone", "dear@1"),
}


def policies(rules: tuple[PolicyRule, ...]) -> tuple[PolicyEntry, ...]:
    names = sorted({item.whose.partition("/")[0] for item in rules})
    return tuple(
        PolicyEntry(name, tuple(item for item in rules if item.whose.partition("/")[0] == name)) for name in names
    )


def plan_of(rules: tuple[PolicyRule, ...]) -> Plan:
    return Plan(
        models=MODELS,
        routes=ROUTES,
        apps=[AppEntry("other", "others", ("*",))],
        keys=[key_entry("k3", "other", "live")],
        policies=policies(rules),
    )


def calls(case: Case) -> list[Call]:
    made = [
        make(case.key, case.route, "hi", stream=stream)
        for make in (chat_call, messages_call)
        for stream in (False, True)
    ]
    return [replace(call, headers={**call.headers, **case.fields}) for call in made]


@pytest.mark.parametrize("name", CASES)
def test_a_rule_holds_for_calls_of_every_dialect(tmp_path: Path, name: str) -> None:
    case = CASES[name]

    async def play(house: House) -> None:
        for call in calls(case):
            sent = house.vendor.dispatches
            answer = await house.call(call)
            fields = answer.headers
            rules = case.refused_by or case.took_part
            assert fields.get("x-lineclear-policy", "") == ",".join(rules), answer.body
            if case.served:
                assert (answer.status, fields["x-lineclear-model"]) == (200, case.served)
                assert house.settle_of(answer).rules == rules
                continue
            error = answer.json["error"]
            assert (answer.status, error["code"], error["rules"]) == (403, "policy_denied", list(rules))
            assert case.says in error["message"] + error["hint"]
            assert house.vendor.dispatches == sent
            refusal = house.refusal_of(answer)
            assert (refusal.rules, refusal.status) == (rules, 403)
            assert all(candidate.exclusion for candidate in refusal.candidates)

    in_house(tmp_path, plan_of(case.rules), play)
