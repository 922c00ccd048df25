"""What a plan tells of nouns of other teams, to an author who names them."""

from typing import Any

import pytest

from lineclear.client.admin import path_of
from lineclear.testing.access_house import AccessHouse, refusal

CRM = "kind: App\nname: crm\nteam: sales\nroutes: [mail]\ndescription: what sales plans\n"
GUESS = "kind: App\nname: crm\nteam: sales\nroutes: [chat]\n"


def sent(text: str, **more: Any) -> dict[str, Any]:
    return {"files": [{"name": "m.yaml", "text": text}], "note": "x", **more}


@pytest.mark.parametrize("door", ["plans", "changes"])
def test_an_author_of_another_team_learns_nothing_of_a_noun(house: AccessHouse, door: str) -> None:
    ann, sam = house.person("ann", "author team:support"), house.person("sam", "author team:sales")
    house.admin.post(path_of("changes"), sent(CRM, managed_by="console"))
    # One that is kept elsewhere, one that stays as it is, and one with a mistake in it.
    for text in (GUESS, CRM, GUESS.replace("chat", "chad")):
        status, code, message = refusal(ann, "POST", path_of(door), sent(text))
        assert (status, code) == (404, "not_found"), text
        assert "what sales plans" not in message
    answer = sam.post(path_of(door), sent(GUESS))
    (held,) = (answer["plan"] if door == "changes" else answer)["drift"]
    assert "what sales plans" in held["patch"]


def test_who_writes_a_part_of_a_route_is_not_shown_the_rest(house: AccessHouse) -> None:
    tess = house.person("tess", "author environment:test")
    text = """
kind: Route
name: chat
team: support
environments:
  live: {targets: [{model: simulated@1}], timeouts: {total_s: SECONDS}}
  test: {targets: [{model: simulated@1}]}
"""
    house.admin.post(path_of("changes"), sent(text.replace("SECONDS", "77"), managed_by="console"))
    (held,) = tess.post(path_of("plans"), sent(text.replace("SECONDS", "20")))["drift"]
    assert (held["object"], held["fields"], held["patch"]) == ("Route/chat", [], "")


def test_an_author_exports_what_is_theirs_and_it_applies_back(house: AccessHouse) -> None:
    house.admin.post(path_of("changes"), sent(CRM))
    text = """
kind: Route
name: parted
team: support
environments:
  live: {targets: [{model: simulated@1}], timeouts: {total_s: 77}}
  test: {targets: [{model: simulated@1}]}
"""
    house.admin.post(path_of("changes"), sent(text))
    ann, tess = house.person("ann", "author team:support"), house.person("tess", "author environment:test")
    named = {(item["kind"], item["name"]): item for item in ann.get(path_of("manifests"))["manifests"]}
    assert named["Route", "parted"]["may_change"]
    assert ("App", "crm") not in named
    assert refusal(ann, "GET", path_of("manifests") + "?kind=App&name=crm")[:2] == (404, "not_found")
    (part,) = tess.get(path_of("manifests"), {"kind": "Route", "name": "parted"})["manifests"]
    assert (list(part["manifest"]["environments"]), "77" in part["text"]) == (["test"], False)
    assert part["may_change"]
    assert not tess.post(path_of("plans"), sent(part["text"]))["has_changes"]
