"""Runs of evals of one team do not exist for another; starting one takes the right wherever it asks and pays."""

from typing import Any

import pytest

from lineclear.client.admin import AdminClient, path_of
from lineclear.testing.access_house import AccessHouse, refusal

EVALS = """
kind: Eval
name: tidy
team: support
app: shop
dataset: questions
checks: [{id: a, regex: a}]
---
kind: Eval
name: foreign
team: support
app: shop
dataset: theirs
"""


@pytest.fixture
def evals(house: AccessHouse) -> AccessHouse:
    for name, team in (("questions", "support"), ("theirs", "sales")):
        house.admin.post(path_of("datasets"), {"name": name, "team": team, "content": '{"text": "one"}'})
    house.plane.apply(EVALS)
    return house


def asked(**more: str) -> dict[str, Any]:
    return {"eval": "tidy", "route": "chat", "environment": "live", "candidate_from": "test", **more}


@pytest.mark.parametrize(
    ("grants", "more", "status"),
    [
        (("author team:support",), {}, 200),
        (("author team:sales",), {}, 404),
        (("viewer team:support",), {}, 403),
        (("author route:live/chat",), {}, 404),
        (("author team:support",), {"route": "mail"}, 404),
        (("author team:support",), {"eval": "nothing"}, 404),
        (("author team:support",), {"candidate_from": ""}, 409),
        # A dataset of another team, whoever asks.
        (("author team:support",), {"eval": "foreign"}, 404),
        (("author team:support", "author team:sales"), {"eval": "foreign"}, 409),
    ],
)
def test_who_starts_a_run_needs_every_place_where_it_asks_and_pays(
    evals: AccessHouse, grants: tuple[str, ...], more: dict[str, str], status: int
) -> None:
    client = evals.robot("robot", *grants)
    assert refusal(client, "POST", path_of("eval-runs"), asked(**more))[0] == status


def test_an_eval_of_others_looks_like_one_that_is_not_there(evals: AccessHouse) -> None:
    stranger = evals.robot("stranger", "author team:sales", team="sales")
    theirs, none = (refusal(stranger, "POST", path_of("eval-runs"), asked(eval=name)) for name in ("tidy", "nothing"))
    assert (theirs[0], theirs[2].replace("tidy", "nothing")) == (none[0], none[2])


def test_a_run_is_seen_with_its_route(evals: AccessHouse) -> None:
    run = evals.admin.post(path_of("eval-runs"), asked())["run"]["id"]

    def statuses(client: AdminClient) -> list[int]:
        paths = (("GET", ""), ("POST", "/stops"))
        return [refusal(client, method, path_of("eval-runs", run) + path, {})[0] for method, path in paths]

    assert statuses(evals.robot("stranger", "author team:sales", team="sales")) == [404, 404]
    assert statuses(evals.robot("viewer", "viewer team:support", team="support")) == [200, 403]
    assert evals.robot("other", "viewer team:sales", team="sales").get(path_of("eval-runs"))["runs"] == []
    # Nothing carries runs out here, so it is under way until somebody ends it.
    assert statuses(evals.robot("author", "author team:support", team="support")) == [200, 200]
    shown = evals.admin.get(path_of("eval-runs", run))["run"]
    assert (shown["state"], shown["verdict"]) == ("stopped", "inconclusive")
    assert refusal(evals.admin, "POST", path_of("eval-runs", run, "stops"), {})[0] == 409


def test_an_eval_spends_the_money_of_its_own_team_alone(evals: AccessHouse) -> None:
    with pytest.raises(Exception, match="1 mistake"):
        evals.plane.apply(EVALS.replace("app: shop", "app: crm", 1))
    for broken in ("(", "(?=a)"):
        with pytest.raises(Exception, match="1 mistake"):
            evals.plane.apply(EVALS.replace("regex: a", f"regex: '{broken}'"))
    applied = evals.plane.apply(EVALS.replace("regex: a", "python: gone"))
    assert any("no package of the server offers 'gone'" in warning for warning in applied.plan.warnings)
