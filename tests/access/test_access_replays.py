"""Datasets and replays of one team do not exist for another; running them takes the right on route, app and dataset."""

from typing import Any

import pytest

from lineclear.client.admin import AdminClient, path_of
from lineclear.testing.access_house import AccessHouse, refusal

CONTENT = '{"text": "one"}'


@pytest.fixture
def dataset(house: AccessHouse) -> str:
    """Of team support."""
    added = house.admin.post(path_of("datasets"), {"name": "questions", "team": "support", "content": CONTENT})
    return str(added["dataset"]["id"])


def asked(dataset: str) -> dict[str, Any]:
    return {"route": "chat", "environment": "live", "dataset": dataset, "app": "shop", "candidate_from": "test"}


def test_only_who_may_evaluate_for_the_team_sees_its_datasets(house: AccessHouse, dataset: str) -> None:
    own = house.robot("author", "author team:support", team="support")
    other = house.robot("stranger", "author team:sales", team="sales")
    viewer = house.robot("viewer", "viewer team:support", team="support")
    assert [one["id"] for one in own.get(path_of("datasets"))["datasets"]] == [dataset]
    assert other.get(path_of("datasets"))["datasets"] == []
    for client, status in ((other, 404), (viewer, 403)):
        for method, path in (("GET", "datasets/{}"), ("GET", "datasets/{}/content"), ("DELETE", "datasets/{}")):
            assert refusal(client, method, "/api/v1/" + path.format(dataset))[0] == status
    assert own.get(path_of("datasets", dataset, "content")) == {"text": "one"}
    mine = {"name": "mine", "team": "support", "content": CONTENT}
    assert refusal(other, "POST", path_of("datasets"), mine)[0] == 404
    assert refusal(other, "POST", path_of("datasets"), {**mine, "name": "questions", "team": "sales"})[0] == 409


@pytest.mark.parametrize(
    ("grants", "more", "status"),
    [
        (("author team:support",), {}, 200),
        (("author team:sales",), {}, 404),
        (("viewer team:support",), {}, 403),
        (("author route:live/chat",), {}, 404),
        (("author team:support",), {"app": "crm"}, 404),
        (("author team:support",), {"route": "mail", "candidate_from": ""}, 404),
        (("author team:support", "author team:sales"), {"app": "crm"}, 200),
        (("author team:support",), {"spend_cap_usd": "0"}, 400),
        (("author team:support",), {"spend_cap_usd": "much"}, 400),
        (("author team:support",), {"dataset": "nothing"}, 404),
        (("author team:support",), {"candidate_from": ""}, 409),
    ],
)
def test_who_starts_a_replay_needs_route_app_and_dataset(
    house: AccessHouse, dataset: str, grants: tuple[str, ...], more: dict[str, Any], status: int
) -> None:
    client = house.robot("robot", *grants)
    assert refusal(client, "POST", path_of("replays"), asked(dataset) | more)[0] == status


def started(house: AccessHouse, dataset: str) -> str:
    return str(house.admin.post(path_of("replays"), asked(dataset))["id"])


def test_a_replay_is_seen_with_its_route_and_its_answers_with_the_dataset(house: AccessHouse, dataset: str) -> None:
    replay = started(house, dataset)
    paths = [("GET", ""), ("GET", "/cases"), ("GET", "/cases/1"), ("POST", "/stops")]

    def statuses(client: AdminClient) -> list[int]:
        return [refusal(client, method, path_of("replays", replay) + path, {})[0] for method, path in paths]

    assert statuses(house.robot("stranger", "author team:sales", team="sales")) == [404, 404, 404, 404]
    assert statuses(house.robot("viewer", "viewer team:support", team="support")) == [200, 403, 403, 403]
    # Who may evaluate on the route alone is not told what another team's dataset asks.
    assert statuses(house.robot("narrow", "author route:live/chat")) == [200, 404, 404, 200]
    listed = house.robot("other", "viewer team:sales", team="sales").get(path_of("replays"))["replays"]
    assert listed == []


def test_a_dataset_of_a_replay_under_way_stays_and_an_ended_one_is_shown_without_it(
    house: AccessHouse, dataset: str
) -> None:
    # Nothing carries replays out here, so it waits.
    replay = started(house, dataset)
    assert refusal(house.admin, "DELETE", path_of("datasets", dataset))[0] == 409
    assert house.admin.post(path_of("replays", replay, "stops"), {"reason": "no more"})["state"] == "stopped"
    assert refusal(house.admin, "POST", path_of("replays", replay, "stops"), {})[0] == 409
    assert house.admin.delete(path_of("datasets", dataset))["removed"]["id"] == dataset
    shown = house.admin.get(path_of("replays", replay))
    assert (shown["replay"]["state"], shown["pairs"], shown["verdict"]) == ("stopped", 0, "inconclusive")
    assert house.admin.get(path_of("replays", replay, "cases"))["cases"] == []
    assert refusal(house.admin, "GET", path_of("replays", replay, "cases", "1"))[0] == 404


def test_so_many_replays_wait_and_no_more(house: AccessHouse, dataset: str) -> None:
    for _ in range(20):
        started(house, dataset)
    status, code, message = refusal(house.admin, "POST", path_of("replays"), asked(dataset))
    assert (status, code, "20 replays" in message) == (409, "conflict", True)
