"""Policies as pure rules: times of the week, and what is compiled decides as asking every rule in turn does."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineclear.domain.admission import data_class_of, refusal_of
from lineclear.domain.catalogue import CostTier, DataClass, ModelStatus, RiskTier, VendorState
from lineclear.domain.policy import (
    Asked,
    Caller,
    conditions_of,
    deciding,
    exclusion_by,
    fits_caller,
    is_within,
    left_of,
    tags_of,
)
from lineclear.domain.policy_rules import PolicyAction, PolicyEntry, PolicyRule, PolicyTime
from lineclear.domain.snapshot import ModelVersionEntry

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("time", "moment", "holds"),
    [
        (PolicyTime(BERLIN, (), 480, 1080), "2026-11-23T08:00", True),
        (PolicyTime(BERLIN, (), 480, 1080), "2026-11-23T17:59", True),
        (PolicyTime(BERLIN, (), 480, 1080), "2026-11-23T18:00", False),
        (PolicyTime(BERLIN, (), 480, 1080), "2026-11-23T07:59", False),
        (PolicyTime(BERLIN, (5, 6)), "2026-11-22T23:59", True),
        (PolicyTime(BERLIN, (5, 6)), "2026-11-23T00:00", False),
        (PolicyTime(BERLIN, (4,), 1320, 360), "2026-11-27T22:00", True),
        (PolicyTime(BERLIN, (4,), 1320, 360), "2026-11-28T05:59", True),
        (PolicyTime(BERLIN, (4,), 1320, 360), "2026-11-28T06:00", False),
        (PolicyTime(BERLIN, (4,), 1320, 360), "2026-11-28T22:00", False),
        (PolicyTime(BERLIN, (4,), 1320, 360), "2026-11-27T05:00", False),
        # The clocks of the zone go back: 02:30 comes twice, and both are half past two.
        (PolicyTime(BERLIN, (), 150, 151), "2026-10-25T02:30", True),
        (PolicyTime("UTC", (), 1380, 1440), "2026-11-24T00:30", True),
    ],
)
def test_a_time_holds_by_the_clock_of_its_zone(time: PolicyTime, moment: str, holds: bool) -> None:
    at = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo(BERLIN))
    assert is_within(time, int(at.timestamp() * 1_000_000)) is holds


def test_tags_are_parted_by_commas() -> None:
    assert tags_of(" a,b b ,, c") == ("a", "b b", "c")
    assert tags_of("") == ()


VERSIONS = [
    ModelVersionEntry(
        id=f"{name}@1", model=name, version="1", provider="v", upstream_id=name, runtime=None,
        status=ModelStatus.APPROVED, approved_uses=(), data_classes=(), cost_tier=cost, risk_tier=risk, price=None,
        max_output_tokens=None, slow=False, successor=None, region=region, vendor=vendor, vendor_expires=expires_s,
    )
    for name, cost, risk, region, vendor, expires_s in (
        ("a", CostTier.LOW, RiskTier.HIGH, "eu", VendorState.VALID, 500_000),
        ("b", CostTier.HIGH, RiskTier.LOW, "unknown", VendorState.INCOMPLETE, 700_000),
        ("c", CostTier.LOW, RiskTier.LOW, "us", VendorState.MISSING, None),
        ("d", CostTier.LOW, RiskTier.LOW, "local", VendorState.VALID, None),
    )
]  # fmt: skip


def some(*values: object) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(st.sampled_from(values), max_size=2, unique=True).map(tuple)


RULES = st.builds(
    PolicyRule,
    id=st.just("policy.deny:p/x"),
    then=st.sampled_from(PolicyAction),
    team=some("t", "u"),
    app=some("x", "y"),
    task=some("k", "l"),
    environment=some("live", "test"),
    data_class=some(DataClass.PUBLIC, DataClass.RESTRICTED),
    tag=some("m", "n"),
    model=some("a", "b@1", "b@2"),
    cost_tier=some(CostTier.LOW, CostTier.HIGH),
    risk_tier=some(RiskTier.LOW, RiskTier.LIMITED),
    provider_region=some("eu", "unknown"),
    vendor_record=some(*VendorState),
    time=st.sampled_from([None, PolicyTime("UTC", (0,)), PolicyTime(BERLIN, (), 600, 60)]),
    route=st.sampled_from(["r", "s"]),
)


def named(place: int, rules: list[PolicyRule]) -> PolicyEntry:
    ids = (f"policy.{rule.then.value}:p{place}/{at}" for at, rule in enumerate(rules))
    return PolicyEntry(
        f"p{place}",
        tuple(msgspec.structs.replace(rule, id=id_) for rule, id_ in zip(rules, ids, strict=True)),
    )


POLICIES = st.lists(st.lists(RULES, max_size=4), max_size=3).map(
    lambda made: [named(place, rules) for place, rules in enumerate(made)]
)
OF_CLASS = st.lists(
    st.builds(
        PolicyRule,
        id=st.just(""),
        then=st.sampled_from(PolicyAction),
        data_class=some(*DataClass),
        route=st.sampled_from(["r", "s"]),
    ),
    min_size=1,
    max_size=4,
)
ASKED = st.builds(
    Asked,
    environment=st.sampled_from(["live", "test"]),
    route=st.sampled_from(["r", "s"]),
    task=st.sampled_from(["", "k", "l"]),
    data_class=st.sampled_from(DataClass),
    lowest=st.sampled_from([None, DataClass.PUBLIC]),
)
CALLERS = st.builds(
    Caller,
    team=st.sampled_from(["t", "u"]),
    app=st.sampled_from(["x", "y", "z"]),
    tags=some("m", "n", "o"),
    at_us=st.integers(0, 14 * 86_400_000_000),
)


def states(version: ModelVersionEntry, at_us: int) -> set[str]:
    """Those of a vendor's record at an instant."""
    if version.vendor_expires is None or at_us < version.vendor_expires * 1_000_000:
        return {version.vendor}
    return {VendorState.EXPIRED} | ({version.vendor} - {VendorState.VALID})


def classes(rule: PolicyRule, asked: Asked) -> set[str]:
    """Those that count: what is against a call looks at lower ones too, what lets it pass at the route's as well."""
    passes = rule.then is PolicyAction.ALLOW or (rule.then is PolicyAction.REQUIRE_ROUTE and rule.route == asked.route)
    if passes and asked.lowest is not None and asked.lowest not in rule.data_class:
        return set()
    if passes or asked.lowest is None:
        return {asked.data_class}
    order = list(DataClass)
    return set(order[order.index(asked.lowest) : order.index(asked.data_class) + 1])


def naive(policies: list[PolicyEntry], asked: Asked, caller: Caller, version: ModelVersionEntry) -> list[str]:
    """As docs/policies.md says it, condition by condition."""
    against = []
    for policy in policies:
        for rule in policy.rules:
            pairs: list[tuple[tuple[str, ...], set[str]]] = [
                (rule.team, {caller.team}), (rule.app, {caller.app}), (rule.task, {asked.task}),
                (rule.environment, {asked.environment}), (rule.data_class, classes(rule, asked)),
                (rule.tag, set(caller.tags)), (rule.model, {version.id, version.model}),
                (rule.cost_tier, {version.cost_tier}), (rule.risk_tier, {version.risk_tier}),
                (rule.provider_region, {version.region}), (rule.vendor_record, states(version, caller.at_us)),
            ]  # fmt: skip
            holds = all(not wanted or set(wanted) & found for wanted, found in pairs)
            if holds and (rule.time is None or is_within(rule.time, caller.at_us)):
                if rule.then is PolicyAction.DENY or (
                    rule.then is PolicyAction.REQUIRE_ROUTE and asked.route != rule.route
                ):
                    against.append(rule.id)
                break
    return against


@settings(max_examples=400, deadline=None)
@given(POLICIES, ASKED, CALLERS, st.sampled_from(VERSIONS))
def test_what_is_compiled_decides_as_asking_every_rule_does(
    policies: list[PolicyEntry], asked: Asked, caller: Caller, version: ModelVersionEntry
) -> None:
    expected = naive(policies, asked, caller, version)
    left = [left_of(policy, asked, version) for policy in policies]
    compiled = [
        next(rule for rule in rules if not rule.rests_on_caller or fits_caller(rule, caller))
        for rules in left
        if any(not rule.rests_on_caller or fits_caller(rule, caller) for rule in rules)
    ]
    asked_in_turn = deciding(policies, asked, caller, version)
    assert compiled == asked_in_turn
    found = exclusion_by(compiled, asked, version)
    assert ([] if found is None else [found.rule, *found.also]) == expected
    for policy in policies:
        for rule in policy.rules:
            held = all(one.holds for one in conditions_of(rule, asked, caller, version))
            assert held == bool(deciding([PolicyEntry("p", (rule,))], asked, caller, version))


@settings(max_examples=400, deadline=None)
@given(OF_CLASS, st.sampled_from(DataClass), st.sampled_from(DataClass))
def test_naming_a_higher_class_gets_no_model_that_the_routes_own_does_not(
    rules: list[PolicyRule], lowest: DataClass, named_class: DataClass
) -> None:
    own = Asked("live", "r", "", lowest, lowest)
    raised = msgspec.structs.replace(own, data_class=data_class_of(lowest, named_class))
    caller, version = Caller("t", "x", (), 0), VERSIONS[0]
    denied, denied_raised = (
        exclusion_by(deciding([named(0, rules)], one, caller, version), one, version) is not None
        for one in (own, raised)
    )
    assert denied <= denied_raised


def test_a_refusal_names_every_rule_once() -> None:
    asked, caller = Asked("live", "r", "", DataClass.PUBLIC), Caller("t", "x", (), 0)
    policies = [named(0, [PolicyRule("", PolicyAction.DENY)]), named(1, [PolicyRule("", PolicyAction.DENY)])]
    found = [exclusion_by(deciding(policies, asked, caller, version), asked, version) for version in VERSIONS]
    refusal = refusal_of([one for one in found if one is not None])
    assert refusal.error("r").rules == ("policy.deny:p0/0", "policy.deny:p1/0")


def test_the_page_says_what_a_policy_can_ask() -> None:
    page = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
    conditions = set(PolicyRule.__struct_fields__) - {"id", "then", "description", "route", "from_s", "until_s"}
    assert [name for name in sorted(conditions) if f"| `{name}` |" not in page] == []
    assert [action.value for action in PolicyAction if f"`{action.value}`" not in page] == []
