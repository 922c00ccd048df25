"""Deciding in the console: what a change would do and to whom, who may do what about it, the trail behind it."""

import io
import re
from collections.abc import Mapping
from typing import Any

import pytest

from lineclear.cli.audit_file import verify_export
from lineclear.console.audit_words import ACTION_WORDS, object_path, object_words
from lineclear.console.pages.changes import DECIDED_FIRST
from lineclear.control.audit import AuditAction
from lineclear.testing import manifests
from lineclear.testing.console_visitor import Visitor
from lineclear.testing.platform import Platform

PASSWORD = "correct horse battery"
CONTENT = re.compile(r'name="content" value="([0-9a-f]{64})"')
LIVE = {"kind": "Environment", "name": "live", "class": "live", "approvals": 1}


def documents(text: str = "Be very kind.", model: str = "small") -> list[manifests.Document]:
    return [
        manifests.team("support"),
        manifests.provider("acme", 9),
        manifests.model("small", "acme", team_name="support"),
        manifests.model("large", "acme", team_name="support"),
        manifests.model("other", "acme", team_name="support"),
        {"kind": "Prompt", "name": "voice", "text": text},
        manifests.route("chat", model, team_name="support", prompt="voice"),
    ]


@pytest.fixture(scope="module")
def people(platform: Platform) -> Mapping[str, Visitor]:
    """Ann writes, Bob approves and reads the trail, Eve looks."""
    made: dict[str, Visitor] = {}
    roles = {"ann": ("author",), "bob": ("approver", "auditor", "operator"), "eve": ("viewer",)}
    for name, held in roles.items():
        platform.admin("POST", "/api/v1/members", {"name": name})
        for role in held:
            platform.admin("POST", "/api/v1/grants", {"principal": name, "role": role})
        token = platform.cli_json("access", "invite", name)["url"].partition("token=")[2]
        visitor = Visitor(f"{platform.admin_url}/console/sign-in")
        visitor.post("/password", {"token": token, "password": PASSWORD, "again": PASSWORD})
        assert visitor.post("/sign-in", {"name": name, "password": PASSWORD}).status == 303
        made[name] = visitor
    applied(platform, [*documents(), LIVE], "an estate")
    return made


def applied(platform: Platform, wanted: list[manifests.Document], note: str, *more: str) -> dict[str, Any]:
    path = platform.directory / "wanted.yaml"
    path.write_text(manifests.text_of(wanted))
    done = platform.cli("apply", "-f", str(path), "--note", note, "-o", "json", *more)
    assert done.returncode in (0, 7), done.stderr
    return dict(platform.admin("GET", "/api/v1/changes?limit=1")["changes"][0])


def asked(platform: Platform, people: Mapping[str, Visitor], text: str, note: str) -> str:
    """A change of the prompt that ann asks for."""
    return asked_for(platform, people, documents(text), note)


def asked_for(platform: Platform, people: Mapping[str, Visitor], wanted: list[manifests.Document], note: str) -> str:
    token = platform.admin("POST", "/sign-in", {"name": "ann", "password": PASSWORD})["token"]
    change = applied(platform, wanted, note, "--url", platform.admin_url, "--token", token)
    assert (change["state"], change["author"], set(people)) == ("open", "ann", {"ann", "bob", "eve"})
    return str(change["id"])


def decide(visitor: Visitor, change: str, verb: str, **fields: str) -> int:
    if verb == "approvals" and "content" not in fields:
        (fields["content"],) = CONTENT.findall(visitor.get(f"/changes/{change}").text) or [shown(visitor, change)]
    return visitor.post(f"/changes/{change}/{verb}", {"form_token": visitor.form_token(), **fields}).status


def shown(visitor: Visitor, change: str) -> str:
    return str(visitor.get(f"/changes/{change}.json").json()["change"]["plan"]["content"])


def test_a_change_is_decided_and_carried_out_by_the_people_who_may(
    platform: Platform, people: Mapping[str, Visitor]
) -> None:
    ann, bob, eve = people["ann"], people["bob"], people["eve"]
    change = asked(platform, people, "Be quite kind.", "tone")
    twin = bob.get(f"/changes/{change}.json").json()
    assert twin["verbs"] == ["approve", "reject"]
    assert twin["consequences"][0]["words"] == "chat in live: another text of the prompt, all of it at once"
    page = bob.get(f"/changes/{change}").text
    assert "Be <del>very</del><ins>quite</ins> kind." in page
    assert ann.get(f"/changes/{change}.json").json()["verbs"] == ["withdraw"]
    assert eve.get(f"/changes/{change}.json").json()["verbs"] == []
    assert "Approve</button>" not in eve.get(f"/changes/{change}").text
    assert "approve or reject it" in bob.get("/").text
    assert "approve or reject it" not in ann.get("/").text
    assert [decide(one, change, "approvals") for one in (ann, eve, bob)] == [403, 403, 303]
    assert ann.get(f"/changes/{change}.json").json()["verbs"] == ["apply", "withdraw"]
    assert decide(ann, change, "applications") == 303
    done = bob.get(f"/changes/{change}.json").json()
    assert (done["change"]["state"], done["change"]["approver"], done["verbs"]) == ("applied", "bob", [])
    (deployment,) = done["deployments"]
    release = bob.get(f"/releases/{deployment['after']}.json").json()
    assert (release["against"], release["words"]) == (deployment["before"], "another text of the prompt")
    assert release["stretches"][0]["approved_by"] == "bob"
    assert "Be <del>very</del><ins>quite</ins> kind." in bob.get(f"/releases/{deployment['after']}").text
    assert bob.get(f"/releases/{deployment['before']}.json?against={deployment['after']}").json()["components"]


def test_of_many_that_wait_the_page_asks_about_the_first_alone(
    platform: Platform, people: Mapping[str, Visitor]
) -> None:
    made = [asked(platform, people, f"Be number {number}.", f"wait {number}") for number in range(DECIDED_FIRST + 2)]
    waiting = people["bob"].get("/changes.json").json()["waiting"]
    assert {one["id"] for one in waiting} >= set(made)
    assert [one["verbs"] for one in waiting[:DECIDED_FIRST]] == [["approve"]] * DECIDED_FIRST
    assert [one["missing"] for one in waiting[:DECIDED_FIRST]] == [["live"]] * DECIDED_FIRST
    assert [one["verbs"] for one in waiting[DECIDED_FIRST:]] == [[]] * (len(waiting) - DECIDED_FIRST)
    page = people["bob"].get("/changes").text
    assert all(change in page for change in made)
    for change in made:
        assert decide(people["ann"], change, "withdrawals") == 303


def test_what_is_copied_to_a_terminal_is_one_word_each(platform: Platform, people: Mapping[str, Visitor]) -> None:
    page = people["bob"].get("/model-access?model=small&environment=live%3B%20id").text
    assert "lineclear audit who small --env &#39;live; id&#39;" in page


def test_a_rejection_says_why_and_its_author_reads_it(platform: Platform, people: Mapping[str, Visitor]) -> None:
    change = asked(platform, people, "Be blunt.", "ruder")
    assert decide(people["bob"], change, "rejections", reason=" ") == 400
    assert decide(people["bob"], change, "rejections", reason="not our tone") == 303
    page = people["ann"].get(f"/changes/{change}").text
    assert "not our tone" in page
    assert "What it would have done" in page


def test_a_page_says_whom_an_environment_wants_and_the_others_are_refused(
    platform: Platform, people: Mapping[str, Visitor]
) -> None:
    bob = people["bob"]
    wanted = [manifests.team("risk"), {**LIVE, "approver_teams": ["risk"]}]
    wish = asked_for(platform, people, wanted, "risk decides")
    assert decide(bob, wish, "approvals") == 303
    assert decide(people["ann"], wish, "applications") == 303
    change = asked(platform, people, "Be careful.", "careful")
    page = bob.get(f"/changes/{change}").text
    assert "1 approval by somebody else with a role on team:risk, for" in page
    assert "You cannot approve it" in page
    assert bob.get(f"/changes/{change}.json").json()["verbs"] == ["reject"]
    assert decide(bob, change, "approvals", content=shown(bob, change)) == 403
    platform.admin("POST", "/api/v1/grants", {"principal": "bob", "role": "viewer", "scope": "team:risk"})
    assert bob.get(f"/changes/{change}.json").json()["verbs"] == ["approve", "reject"]
    assert decide(bob, change, "rejections", reason="that is not careful") == 303


def test_a_change_that_is_out_of_date_is_worked_out_again(platform: Platform, people: Mapping[str, Visitor]) -> None:
    ann, bob = people["ann"], people["bob"]
    first = asked(platform, people, "Be brief.", "brief")
    second = asked(platform, people, "Be long.", "long")
    before = shown(bob, first)
    assert decide(bob, second, "approvals") == 303
    assert decide(ann, second, "applications") == 303
    assert ann.get(f"/changes/{first}.json").json()["verbs"] == ["rebase", "withdraw"]
    assert "stale" in bob.get(f"/changes/{first}.json").json()["options"]["approve"]
    assert decide(ann, first, "rebases") == 303
    assert bob.get(f"/changes/{first}.json").json()["verbs"] == ["approve", "reject"]
    # A page that was opened before that signs nothing now, and neither does a form that does not say what it showed.
    assert [decide(bob, first, "approvals", content=content) for content in (before, "")] == [409, 400]
    assert not bob.get(f"/changes/{first}.json").json()["approvals"]
    assert f"lineclear approve {first} --content {shown(bob, first)}" in bob.get(f"/changes/{first}").text
    assert decide(ann, first, "withdrawals") == 303


def test_the_trail_is_narrowed_by_the_address_and_verified(platform: Platform, people: Mapping[str, Visitor]) -> None:
    bob = people["bob"]
    rows = bob.get("/changes.json?object=Prompt%2Fvoice").json()["rows"]
    assert {row["object"] for row in rows} == {"Prompt/voice"}
    assert rows[0]["fields"]
    page = bob.get("/changes").text
    newest = bob.get("/changes.json").json()
    assert all(row["action"] != "audit.read" for row in newest["rows"])
    assert f"before={newest['next_before']}" in page
    assert any(row["action"] == "audit.read" for row in bob.get("/changes.json?action=audit.").json()["rows"])
    verdict = bob.post("/changes/trail/verification", {"form_token": bob.form_token()})
    assert "Nothing was altered" in verdict.text


def test_an_export_is_whole_without_the_server(platform: Platform, people: Mapping[str, Visitor]) -> None:
    bob, eve = people["bob"], people["eve"]
    answer = bob.post("/changes/trail/export", {"form_token": bob.form_token()})
    assert re.fullmatch(r'attachment; filename="audit-\d+\.jsonl"', answer.headers["content-disposition"])
    assert answer.headers["cache-control"] == "no-store"
    key = platform.admin("GET", "/api/v1/audit-key")["public_key"]
    verdict = verify_export(io.BytesIO(answer.text.encode()), key)
    assert (verdict.ok, verdict.events > 20) == (True, True), verdict
    cut = "".join(answer.text.splitlines(keepends=True)[:-2])
    assert not verify_export(io.BytesIO(cut.encode()), key).ok
    refused = eve.post("/changes/trail/export", {"form_token": eve.form_token()})
    assert (refused.status, "Back to the page" in refused.text) == (403, True)


def test_who_may_not_read_the_trail_sees_the_changes(people: Mapping[str, Visitor]) -> None:
    eve = people["eve"]
    twin = eve.get("/changes.json").json()
    assert (twin["may_audit"], twin["rows"], bool(twin["changes"])) == (False, [], True)
    assert "role auditor" in eve.get("/changes").text
    assert eve.post("/changes/trail/verification", {"form_token": eve.form_token()}).status == 403


def test_a_card_offers_what_may_follow_to_who_may_do_it(people: Mapping[str, Visitor]) -> None:
    ann, bob, eve = people["ann"], people["bob"], people["eve"]

    def verbs(visitor: Visitor, name: str = "large") -> list[str]:
        version = visitor.get(f"/catalogue/{name}.json").json()["version"]
        return [item["verb"] for item in version["verbs"]]

    assert verbs(eve) == []
    assert verbs(ann) == ["deprecate"]
    assert verbs(bob) == ["deprecate", "block"]
    assert verbs(ann, "small") == ["deprecate", "replace"]
    small = ann.get("/catalogue/small.json").json()["version"]
    assert (small["links"][0]["route"], small["links"][0]["prompt"]) == ("chat", "voice")
    assert small["facts"]["can"] == "not written down"
    assert "chat" in small["facts"]["answers"]
    fields = {"form_token": ann.form_token(), "model": "large@1", "verb": "deprecate", "sunset": "2031-06-01"}
    assert ann.post("/catalogue/large/status", {**fields, "reason": ""}).status == 400
    assert ann.post("/catalogue/large/status", {**fields, "verb": "explode", "reason": "x"}).status == 400
    moved = ann.post("/catalogue/large/status", {**fields, "successor": "small@1", "reason": "its vendor ends it"})
    assert (moved.status, moved.location) == (303, "/console/catalogue/large?version=1")
    version = ann.get("/catalogue/large.json?version=1").json()["version"]
    assert (version["status"], version["history"][0]["note"]) == ("deprecated", "its vendor ends it")
    assert re.search(r"ends on 2031-06-01, in [\d,]+ days\. Its place is taken by small@1", version["sentence"])
    assert verbs(bob) == ["approve", "block"]
    assert ann.get("/catalogue/large?version=9").status == 404


def test_a_replacement_is_planned_before_it_is_asked_for(people: Mapping[str, Visitor]) -> None:
    ann = people["ann"]
    fields = {"form_token": ann.form_token(), "model": "small@1", "new": "other@1", "reason": "cheaper"}
    planned = ann.post("/catalogue/small/replacement", fields)
    assert planned.status == 200, planned.text
    (digest,) = re.findall(r'name="plan" value="([0-9a-f]{64})"', planned.text)
    assert "live is protected" in planned.text
    done = ann.post("/catalogue/small/replacement", {**fields, "plan": digest})
    assert re.fullmatch(r"/console/changes/chg_[0-9a-f]+", done.location)
    twin = ann.get(done.location.removeprefix("/console") + ".json").json()
    assert twin["consequences"][0]["words"] == "other@1 sees internal data of chat in live for the first time"
    assert "other@1 instead of small@1" in twin["deployments"][0]["words"]


def test_every_action_of_the_trail_has_words() -> None:
    assert set(ACTION_WORDS) <= {action.value for action in AuditAction}


def test_what_leads_where() -> None:
    assert object_path("deployment/live/a/b") == "/routes/a%2Fb"
    assert object_words("deployment/live/a/b") == "route a/b in live"
    assert object_path("model-version/m@1") == "/catalogue/m"
    assert object_path("change/chg_1") == "/changes/chg_1"
    assert object_path("audit") == ""
