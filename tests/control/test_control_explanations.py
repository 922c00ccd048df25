"""What control says of a call before it is sent: the same as a gateway decides, with every rule's reason."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from lineclear.client.admin import AdminClient, AdminError, path_of
from lineclear.control.policies import http as policies_http
from lineclear.control.policies.explanations import Question, explain_route
from lineclear.control.policies.outages import outages
from lineclear.control.policies.standing import read_standing
from lineclear.domain.catalogue import DATA_CLASS_ORDER, data_class_rank
from lineclear.domain.evidence import Arm
from lineclear.domain.exchange import Operation
from lineclear.domain.policy import Caller
from lineclear.domain.snapshot import StopEntry
from lineclear.gateway.live import Live
from lineclear.gateway.snapshot import compile_snapshot
from lineclear.store.ledger import Ledger
from lineclear.testing.control_plane import ControlPlane, ServedAPI

CATALOGUE = """
kind: Team
name: shop
---
kind: App
name: shop-app
team: shop
routes: [both, dear, old]
---
kind: Environment
name: test
class: test
allowed_data_classes: [public, internal]
---
kind: Provider
name: far
dialects: [openai, anthropic]
base_url: https://far.example
---
kind: Model
name: cheap
owner: default
data_classes: [internal]
versions: [{version: "1", engine: simulated, status: approved}]
---
kind: Model
name: dear
owner: default
cost_tier: high
versions: [{version: "1", provider: far, upstream_id: d, status: approved}]
---
kind: Model
name: old
owner: default
versions:
  - {version: "1", provider: far, upstream_id: o, status: deprecated, successor: "dear@1", deprecated_at: 2026-01-01,
     sunset: 2030-06-01, brownouts: [{starts: 2030-03-01, ends: 2030-03-02}]}
---
kind: Route
name: both
team: default
tasks: [drafting, support]
environments:
  live: {strategy: priority, targets: [{model: dear@1}, {model: cheap@1}]}
  test: {targets: [{model: cheap@1}]}
---
kind: Route
name: dear
team: default
environments: {live: {targets: [{model: dear@1}]}}
---
kind: Route
name: old
team: default
environments: {live: {targets: [{model: old@1}]}}
"""
POLICIES = """
---
kind: Policy
name: careful
rules:
  - {id: urgent-may, when: {tag: [urgent]}, then: allow}
  - {id: drafts-stay-cheap, when: {task: [drafting], cost_tier: [high]}, then: deny, description: too dear}
  - {id: not-the-shop, when: {team: [shop], model: [dear]}, then: require_route, route: both}
"""


@pytest.fixture
def client(plane: ControlPlane) -> Iterator[AdminClient]:
    plane.apply(CATALOGUE + POLICIES)
    ledger = Ledger.open(plane.directory / "ledger")
    desk = policies_http.endpoints(plane.publisher, ledger, plane.clock, lambda: None)
    served = ServedAPI((*plane.endpoints(), *desk))
    yield served.client()
    served.close()
    ledger.close()


def ask(client: AdminClient, **body: object) -> Any:
    whole = {"app": "shop-app", "environment": "live", "operation": "chat", "route": "both", "task": "support", **body}
    return client.post(path_of("route-explanations"), whole)  # Any: JSON


def test_it_says_what_a_gateway_decides(plane: ControlPlane) -> None:
    plane.apply(CATALOGUE + POLICIES)
    loaded = plane.load()
    snapshot = compile_snapshot(loaded.manifest, loaded.sections, "/run/x", Live(plane.clock))
    standing, now_us, compared = read_standing(plane.publisher), plane.clock.unix_us(), 0
    for (environment, name), view in snapshot.routes.items():
        for app in ("shop-app", "default"):
            for tags in ((), ("urgent",)):
                caller = Caller(standing.apps[app].team, app, tags, now_us)
                for operation in Operation:
                    for task in view.tasks or ("",):
                        for data_class in DATA_CLASS_ORDER[data_class_rank(view.data_class) :]:
                            admission = view.admissions[operation, task, data_class]
                            if admission.varying is not None:
                                admission = admission.varying.admission(caller)
                            asked = Question(app, environment, name, operation, task, data_class, tags, now_us)
                            said = explain_route(standing, asked)
                            if not (snapshot.apps[app].all_routes or name in snapshot.apps[app].granted):
                                assert said.code == "model_not_found"
                                continue
                            assert said.allowed == (admission.refusal is None), said
                            assert set(said.rules) == set(
                                admission.rules
                                if admission.refusal is None
                                else (admission.refusal.rule, *admission.refusal.also)
                            )
                            left = {one.model: one.reason for one in said.candidates if one.verdict == "left_out"}
                            assert left == {
                                record.model: record.exclusion for record in admission.excluded if record.exclusion
                            }
                            compared += 1
    assert compared > 100


def test_every_rule_says_why_it_decides_or_not(client: AdminClient) -> None:
    drafted = ask(client, task="drafting")
    assert (drafted["allowed"], drafted["rules"]) == (True, ["policy.deny:careful/drafts-stay-cheap"])
    verdicts = {one["model"]: one["verdict"] for one in drafted["candidates"]}
    assert verdicts == {"dear@1": "left_out", "cheap@1": "passed"}
    of_dear = {one["rule"].partition("/")[2]: one for one in drafted["policy_rules"] if one["model"] == "dear@1"}
    assert of_dear["urgent-may"]["says"] == "tag is none"
    assert (of_dear["drafts-stay-cheap"]["decides"], of_dear["drafts-stay-cheap"]["says"]) == (
        True,
        "a policy denies the model to such calls",
    )
    assert (of_dear["not-the-shop"]["holds"], of_dear["not-the-shop"]["decides"]) == (True, False)
    urgent = ask(client, task="drafting", tags=["urgent"])
    assert [one["verdict"] for one in urgent["candidates"]] == ["passed", "passed"]
    other = ask(client, route="dear", task="")
    assert (other["code"], other["hint"]) == ("policy_denied", "call route 'both'")
    checks = {row["check"]: row["verdict"] for row in other["checks"]}
    assert (checks["task"], checks["limit"]) == ("passed", "not_reached")


def test_what_else_stands_in_the_way_is_told(plane: ControlPlane, client: AdminClient) -> None:
    assert ask(client, task="")["code"] == "task_required"
    assert ask(client, task="cooking")["code"] == "task_not_allowed"
    assert ask(client, app="default", route="old", task="")["allowed"] is True
    assert ask(client, route="old", task="", at="2030-03-01T12:00:00Z")["code"] == "brownout"
    above = ask(client, data_class="restricted", task="drafting")
    assert above["code"] == "policy_denied"
    plane.apply("kind: App\nname: shop-app\nteam: shop\nroutes: [dear]\n")
    gone = ask(client)
    assert (gone["code"], gone["checks"][0]["verdict"]) == ("model_not_found", "refused")
    client.post(path_of("stops"), {"scope": "provider:far", "reason": "an incident"})
    stopped = ask(client, app="default", route="old", task="")
    assert (stopped["code"], stopped["rules"]) == ("stopped", ["stop.provider:far"])


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ({"route": "nope"}, "not_found", "no route 'nope'"),
        ({"app": "nope"}, "not_found", "no app 'nope'"),
        ({"operation": "sing"}, "invalid_request", "operation must be one of chat"),
        ({"data_class": "secret"}, "invalid_request", "data_class must be one of"),
        ({"at": "soon"}, "invalid_request", "at: 'soon'"),
        ({"arm": "candidate"}, "conflict", "no rollout is under way"),
    ],
)
def test_no_question(client: AdminClient, body: dict[str, object], code: str, words: str) -> None:
    with pytest.raises(AdminError) as caught:
        ask(client, **body)
    assert (caught.value.code, words in caught.value.message) == (code, True), caught.value.message


def test_an_outage_says_who_would_serve(plane: ControlPlane, client: AdminClient) -> None:
    answer = client.get(path_of("outage-simulations"), {"provider": "far"})
    found = {(one["route"], one["task"], one["operation"]): one for one in answer["routes"]}
    both = found["both", "support", "chat"]
    assert (both["serves_now"], both["would_serve"]) == (["dear@1", "cheap@1"], ["cheap@1"])
    assert both["outcome"] == "others_serve"
    # Drafts are never served by the dear model, so its provider is none of theirs.
    assert ("both", "drafting", "chat") in found  # whoever is urgent may: that rule looks at the caller
    alone = found["dear", "", "chat"]
    assert alone["outcome"] == "nothing_serves"
    assert alone["reasons"] == ["dear@1 is served by far, which is taken to be down"]
    standing, now_us = read_standing(plane.publisher), plane.clock.unix_us()
    assert outages(standing, "local", now_us)
    plane.apply(
        "kind: Policy\nname: hours\nrules: [{id: a, when: {model: [dear], time: {zone: UTC, hours: '00:00-24:00'}}, "
        "then: deny}]\n"
    )
    closed = outages(read_standing(plane.publisher), "far", now_us)
    assert {one.route for one in closed} == {"old"}  # the dear model serves nobody now, with or without its provider
    with pytest.raises(AdminError, match="no provider 'fat'"):
        client.get(path_of("outage-simulations"), {"provider": "fat"})


def test_a_rollouts_candidate_is_asked_by_its_arm(plane: ControlPlane, client: AdminClient) -> None:
    standing = read_standing(plane.publisher)
    section = standing.routes["live", "old"]
    tried = msgspec.structs.replace(section, candidate=standing.routes["live", "both"].stable)
    under_way = replace(standing, routes={**standing.routes, ("live", "old"): tried})
    asked = Question("default", "live", "old", Operation.CHAT, "", None, (), plane.clock.unix_us(), Arm.CANDIDATE)
    said = explain_route(under_way, asked)
    assert {one.model for one in said.candidates} == {"dear@1", "cheap@1"}
    stable = explain_route(under_way, replace(asked, arm=Arm.STABLE))
    assert {one.model for one in stable.candidates} == {"old@1"}


def test_rules_are_listed_in_their_order(client: AdminClient) -> None:
    rules = client.get(path_of("policy-rules"))["rules"]
    assert [(one["rule"], one["hits_30d"], one["last_hit_at"]) for one in rules] == [
        ("urgent-may", 0, None),
        ("drafts-stay-cheap", 0, None),
        ("not-the-shop", 0, None),
    ]
    assert rules[1]["when"] == {"task": ["drafting"], "cost_tier": ["high"]}
    assert json.dumps(rules) == json.dumps(client.get(path_of("policy-rules"), {"policy": "careful"})["rules"])
    with pytest.raises(AdminError, match="no policy 'carefull'"):
        client.get(path_of("policy-rules"), {"policy": "carefull"})


def test_data_that_an_environment_does_not_take_is_refused_before_any_model(client: AdminClient) -> None:
    taken = ask(client, environment="test", data_class="internal")
    assert taken["allowed"]
    refused = ask(client, environment="test", data_class="confidential")
    assert (refused["code"], refused["rules"]) == ("data_class_refused", ["environment.data-class"])
    assert refused["message"] == (
        "route 'both' may not take this call: environment 'test' takes data up to internal, and this is confidential"
    )
    rows = {row["check"]: (row["verdict"], row["rule"]) for row in refused["checks"]}
    assert rows["task"] == ("passed", None)
    assert rows["data_class"] == ("refused", "environment.data-class")
    assert rows["candidate"] == ("not_reached", None)
    assert ask(client, data_class="confidential")["allowed"], "live has no such limit"


def test_a_retired_models_call_is_led_to_a_route_of_the_app_that_serves_the_successor(plane: ControlPlane) -> None:
    plane.apply(CATALOGUE)
    plane.apply(CATALOGUE.replace("status: deprecated, successor", "status: retired, successor"))
    standing, now_us = read_standing(plane.publisher), plane.clock.unix_us()

    def hint(granted: tuple[str, ...], *stops: str) -> str:
        app = msgspec.structs.replace(standing.apps["shop-app"], routes=granted)
        stopped = {scope: StopEntry(scope, "ops", "it burns", now_us) for scope in stops}
        changed = replace(standing, apps={**standing.apps, "shop-app": app}, stops=stopped)
        asked = Question("shop-app", "live", "old", Operation.CHAT, "", None, (), now_us)
        said = explain_route(changed, asked)
        assert said.code == "model_retired"
        assert said.message.endswith(said.hint)
        return said.hint

    assert hint(("old", "dear")) == "call route 'dear' instead, which serves its successor dear@1"
    assert hint(("*",)) == "call route 'both' instead, which serves its successor dear@1"
    nowhere = "ask the route's team for a route that serves its successor dear@1"
    assert hint(("old",)) == nowhere
    assert hint(("old", "dear"), "route:live/dear") == nowhere
