"""Two teams: what belongs to one does not exist for the other, by whatever id it is asked for."""

from typing import Any

import pytest

from lineclear.client.admin import AdminClient, AdminError, path_of
from lineclear.testing.access_house import AccessHouse, refusal

NO_TEAM = {"environments", "providers", "prompts", "guardrails", "rollout-plans", "policies"}


@pytest.fixture
def people(house: AccessHouse) -> tuple[AdminClient, AdminClient]:
    """One of each team with every role in it."""
    roles = ("viewer", "author", "operator", "admin", "auditor", "caller")
    made = [
        house.robot(f"{team}-lead", *(f"{role} team:{team}" for role in roles), team=team)
        for team in ("support", "sales")
    ]
    return made[0], made[1]


def ids(house: AccessHouse, app: str, team: str) -> dict[str, str]:
    """Something of a team for every name that stands in a path."""
    key = house.admin.post(path_of("keys"), {"app": app, "environment": "live"})
    house.admin.post(path_of("members"), {"name": f"{team}-bot", "kind": "service", "team": team})
    grant = house.grant(f"{team}-bot", f"viewer team:{team}")[0]
    token = house.admin.post(path_of("tokens"), {"principal": f"{team}-bot"})
    route = {"support": "chat", "sales": "mail"}[team]
    release = next(item for item in house.admin.get(path_of("releases"))["releases"] if item["route"] == route)
    return {
        "app": app,
        "team": team,
        "route": route,
        "key_id": key["id"],
        "grant_id": grant["id"],
        "token_id": token["id"],
        "release": release["id"],
        "member": f"{team}-bot",
    }


READS = ("apps/{app}", "teams/{team}", "releases/{release}")
WRITES: tuple[tuple[str, str, Any], ...] = (
    ("DELETE", "keys/{key_id}", None),
    ("DELETE", "grants/{grant_id}", None),
    ("DELETE", "tokens/{token_id}", None),
    ("POST", "members/{member}/disable", {}),
    ("POST", "members/{member}/enable", {}),
    ("POST", "members/{member}/invitation", None),
    ("POST", "keys", {"app": "{app}", "environment": "live"}),
    ("POST", "tokens", {"principal": "{member}"}),
    ("POST", "grants", {"principal": "{member}", "role": "viewer", "scope": "team:{team}"}),
    ("POST", "members", {"name": "new", "team": "{team}"}),
    ("POST", "test-messages", {"route": "{route}", "app": "{app}"}),
)


def filled(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: filled(item, names) for name, item in value.items()}
    return value.format(**names) if isinstance(value, str) else value


def test_swapped_ids_are_unknown(house: AccessHouse, people: tuple[AdminClient, AdminClient]) -> None:
    support, sales = people
    ours, theirs = ids(house, "shop", "support"), ids(house, "crm", "sales")
    for template in READS:
        path = "/api/v1/" + template
        assert support.get(path.format(**ours)), template
        assert refusal(support, "GET", path.format(**theirs))[:2] == (404, "not_found"), template
        assert refusal(sales, "GET", path.format(**ours))[:2] == (404, "not_found"), template
    before = house.admin.get(path_of("audit-events"))["events"][-1]["number"]
    for method, template, body in WRITES:
        path = "/api/v1/" + template.format(**theirs)
        status, code, _ = refusal(support, method, path, filled(body, theirs))
        assert (status, code) == (404, "not_found"), (method, template)
    assert house.admin.get(path_of("audit-events"))["events"][-1]["number"] == before + 1, "and nothing was done"


def test_an_id_of_another_team_and_one_that_nobody_has_look_alike(
    house: AccessHouse, people: tuple[AdminClient, AdminClient]
) -> None:
    support, _ = people
    theirs = ids(house, "crm", "sales")
    nobodys = dict.fromkeys(theirs, "zzzzzz")
    for method, template, body in (*(("GET", item, None) for item in READS), *WRITES):
        words = []
        for names in (theirs, nobodys):
            try:
                path = "/api/v1/" + template.format(**names)
                sent = filled(body, names)
                answer = (
                    support.get(path)
                    if method == "GET"
                    else (support.delete(path) if method == "DELETE" else support.post(path, sent))
                )
                pytest.fail(f"{method} {path} answered {answer}")
            except AdminError as error:
                text = f"{error.status} {error.code} {error.message} {error.hint}"
                for name in sorted(names.values(), key=len, reverse=True):
                    text = text.replace(name, "*")
                words.append(text)
        assert words[0] == words[1], (method, template)


def test_a_decision_tells_nothing_of_what_is_not_seen(house: AccessHouse) -> None:
    house.plane.apply("""
kind: Provider
name: acme
dialects: [openai]
base_url: https://api.example.com/v1
credential: ${ACME_KEY}
---
kind: Model
name: private
owner: sales
versions: [{version: "1", provider: acme, upstream_id: private}]
""", ACME_KEY="not-a-secret-1")  # fmt: skip
    ann = house.person("ann", "author team:support", "admin team:support")
    house.person("bob", "viewer team:sales")

    def asked(object_: str, subject: str) -> tuple[int, str, str]:
        return refusal(ann, "GET", f"{path_of('decision')}?subject={subject}&action=status:read&object={object_}")

    for subject in ("me", "bob", "admin"):
        for theirs, nobodys in (
            ("app:crm", "app:nope"),
            ("team:sales", "team:nope"),
            ("route:live/mail", "route:live/nope"),
            ("model:private", "model:nope"),
        ):
            found = asked(theirs, subject)
            assert found[:2] == (404, "not_found"), (theirs, subject)
            assert found[2].replace(theirs, "*") == asked(nobodys, subject)[2].replace(nobodys, "*")
    for seen in ("app:shop", "team:support", "route:live/chat", "environment:live", "platform", "model:simulated"):
        assert asked(seen, "me")[0] == 200, seen


def test_lists_hold_what_is_seen_and_nothing_else(house: AccessHouse, people: tuple[AdminClient, AdminClient]) -> None:
    support, sales = people
    ids(house, "shop", "support")
    theirs = ids(house, "crm", "sales")
    hidden = {theirs[name] for name in ("key_id", "grant_id", "token_id", "release", "member", "app", "route")}
    for endpoint in house.plane.endpoints():
        if endpoint.method != "GET" or "{" in endpoint.path or not endpoint.path.startswith("/api/v1/"):
            continue
        try:
            answer = str(support.get(endpoint.path))
        except AdminError as error:
            if error.status in (400, 403):
                continue
            raise
        found = {name for name in hidden if f"'{name}'" in answer or f"/{name}" in answer}
        assert found == set(), endpoint.path
    assert [item["name"] for item in support.get(path_of("apps"))["items"]] == ["shop"]
    assert [item["name"] for item in sales.get(path_of("routes"))["items"]] == ["mail"]


def test_a_grant_on_an_environment_or_a_route_shows_that_part(house: AccessHouse) -> None:
    live = house.robot("live", "viewer environment:live")
    shown = {item["name"]: list(item["manifest"]["environments"]) for item in live.get(path_of("routes"))["items"]}
    assert shown["chat"] == ["live"]
    assert shown["mail"] == ["live"]
    one = house.robot("one", "viewer route:test/chat")
    shown = {item["name"]: list(item["manifest"]["environments"]) for item in one.get(path_of("routes"))["items"]}
    assert shown == {"chat": ["test"]}
    assert [item["name"] for item in one.get(path_of("models"))["items"]] == ["simulated"], "the card it depends on"
    assert one.get(path_of("apps"))["items"] == []
    keys = {
        house.admin.post(path_of("keys"), {"app": "shop", "environment": env})["id"]: env for env in ("live", "test")
    }
    assert {keys[item["id"]] for item in live.get(path_of("keys"))["keys"]} == {"live"}
