"""Proposing a change in the console: the text of what stands, its mistakes, its plan, and the asking for it."""

import asyncio
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from starlette.requests import Request

from lineclear.console import guard
from lineclear.testing import manifests
from lineclear.testing.console_visitor import Answer, Visitor
from lineclear.testing.platform import Platform

PASSWORD = "correct horse battery"
PROPOSE = "/changes/propose"
ODD = '\n  first \u200d line\r\nnever </textarea><b>\u202egnp.exe\u2066 & "quoted" &lt;\ttab\x85\u2028 end\n\n'
"""A text that pages, browsers and YAML would each like to change a little."""


class Form(HTMLParser):
    """The fields of the form that writes, as a browser reads them out of the page and sends them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.fields: dict[str, str] = {}
        self._is_area = False
        # As browsers do before they parse.
        self.feed(re.sub("\r\n?", "\n", text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "textarea":
            self._is_area = True
            self.fields["text"] = ""
        elif tag == "input" and given.get("name") in ("form_token", "object", "base", "plan", "note"):
            self.fields[str(given["name"])] = given.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._is_area = False
            self.fields["text"] = self.fields["text"].removeprefix("\n")

    def handle_data(self, data: str) -> None:
        if self._is_area:
            self.fields["text"] += data

    def sent(self, **changed: str) -> dict[str, str]:
        """What goes out: lines end in CR LF."""
        fields = self.fields | changed
        return {name: re.sub("\r\n|\r|\n", "\r\n", text) for name, text in fields.items()}


def opened(visitor: Visitor, named: str) -> Form:
    answer = visitor.get(f"{PROPOSE}?{urlencode({'object': named})}")
    assert answer.status == 200, answer.text
    return Form(answer.text)


def send(visitor: Visitor, form: Form, door: str = "plan", **changed: str) -> Answer:
    return visitor.post(f"{PROPOSE}/{door}", form.sent(**changed))


def stands(platform: Platform, kind: str, name: str) -> dict[str, Any]:
    return dict(platform.admin("GET", f"/api/v1/manifests?{urlencode({'kind': kind, 'name': name})}")["manifests"][0])


@pytest.fixture(scope="module")
def people(platform: Platform) -> Mapping[str, Visitor]:
    """Ann writes, Sue writes for her team alone, Bob approves, Eve looks."""
    path = platform.directory / "estate.yaml"
    estate = [
        manifests.team("support"),
        manifests.provider("acme", 9),
        manifests.model("small", "acme", team_name="support"),
        manifests.model("large", "acme", team_name="support"),
        {"kind": "Prompt", "name": "voice", "text": "Be kind."},
        {"kind": "Prompt", "name": "odd", "text": ODD},
        manifests.route("chat", "small", team_name="support", prompt="voice", environments=("live", "test")),
        manifests.route("draft", "small", team_name="support", environments=("test",)),
        {"kind": "Rollout", "name": "careful", "steps": [{"weight": {"percent": 10, "bake_s": 3600}}]},
        manifests.route("stepped", "small", team_name="support", rollout="careful", environments=("test",)),
        {"kind": "Environment", "name": "live", "class": "live", "approvals": 1},
    ]
    path.write_text(manifests.text_of(estate))
    done = platform.cli("apply", "-f", str(path), "--note", "the estate")
    assert done.returncode == 0, done.stderr
    made: dict[str, Visitor] = {}
    for name, role, scope in (
        ("ann", "author", "platform"),
        ("sue", "author", "team:support"),
        ("bob", "approver", "platform"),
        ("eve", "viewer", "platform"),
    ):
        platform.admin("POST", "/api/v1/members", {"name": name})
        platform.admin("POST", "/api/v1/grants", {"principal": name, "role": role, "scope": scope})
        token = platform.cli_json("access", "invite", name)["url"].partition("token=")[2]
        made[name] = Visitor(f"{platform.admin_url}/console/sign-in")
        made[name].post("/password", {"token": token, "password": PASSWORD, "again": PASSWORD})
        assert made[name].post("/sign-in", {"name": name, "password": PASSWORD}).status == 303
    return made


def test_pages_lead_to_the_text_for_who_may_change_it(platform: Platform, people: Mapping[str, Visitor]) -> None:
    app, key = "default", platform.admin("GET", "/api/v1/keys")["keys"][0]
    leads = {
        "/routes/chat": ["Route/chat", "Prompt/voice"],
        "/catalogue/small": ["Model/small"],
        "/providers": ["Provider/acme"],
        f"/keys/{key['id']}": [f"App/{app}"],
    }
    for path, objects in leads.items():
        for named in objects:
            target = f"/console{PROPOSE}?{urlencode({'object': named})}"
            assert target in people["ann"].get(path).text, path
            assert target not in people["eve"].get(path).text, path
    assert f'href="/console{PROPOSE}"' in people["ann"].get("/changes").text
    assert f'href="/console{PROPOSE}"' not in people["eve"].get("/changes").text
    # Who writes for one team reads and edits what is that team's, and nothing else.
    assert urlencode({"object": "Route/chat"}) in people["sue"].get("/routes/chat").text
    assert people["sue"].get(f"{PROPOSE}?object=Route%2Fchat").status == 200
    assert people["sue"].get(f"{PROPOSE}?object=Prompt%2Fvoice").status == 404
    listed = people["sue"].get(f"{PROPOSE}.json?kind=Route").json()["nouns"]
    assert {one["name"]: one["may_change"] for one in listed} == {"chat": True, "draft": True, "stepped": True}
    seen = people["eve"].get(f"{PROPOSE}?object=Route%2Fchat").text
    assert ("readonly" in seen, "See what it would do" in seen) == (True, False)


@pytest.mark.parametrize("named", ["Route/chat", "Prompt/odd", "Model/small", "Environment/live", "Team/support"])
def test_text_that_nobody_touched_changes_nothing(
    people: Mapping[str, Visitor], platform: Platform, named: str
) -> None:
    form = opened(people["ann"], named)
    assert form.fields["text"] == stands(platform, *named.split("/"))["text"]
    answer = send(people["ann"], form)
    assert (answer.status, "Nothing: the text says what stands" in answer.text) == (200, True)
    assert Form(answer.text).fields["text"] == form.fields["text"]
    unseen = people["ann"].get(f"{PROPOSE}.json?{urlencode({'object': named})}").json()["unseen"]
    assert bool(unseen) == (named == "Prompt/odd")


def test_every_mistake_is_told_at_once_with_its_place_and_the_text_stays(people: Mapping[str, Visitor]) -> None:
    form = opened(people["ann"], "Route/chat")
    text = form.fields["text"].replace("small@1", "smal@1").replace("team: support", "team: suport") + "colour: red\n"
    answer = send(people["ann"], form, text=text, note="not lost")
    assert answer.status == 422
    assert Form(answer.text).fields["text"] == text
    lines = text.split("\n")
    for wrong in ("team: suport", "colour: red"):
        assert f"line {lines.index(wrong) + 1}, column" in answer.text
        assert f"<code>{wrong}</code>" in answer.text
    assert answer.text.count("no model version &#39;smal@1&#39;") == 2
    assert 'aria-invalid="true"' in answer.text
    broken = send(people["ann"], form, text="kind: Route\n  name: [x\n")
    assert (broken.status, "line 2" in broken.text) == (422, True)


def test_what_nothing_protects_is_carried_out_and_kept_by_the_console(
    people: Mapping[str, Visitor], platform: Platform
) -> None:
    form = opened(people["ann"], "Route/draft")
    assert "kept by a file" in people["ann"].get(f"{PROPOSE}?object=Route%2Fdraft").text
    text = form.fields["text"].replace("small@1", "large@1")
    planned = send(people["ann"], form, text=text)
    assert "Draft in test gets another release: large@1 instead of small@1" in planned.text
    assert "managed by a file, which will show this change as drift" in planned.text
    assert "No approval is asked for" in planned.text
    done = send(people["ann"], Form(planned.text), "submit", note="better answers")
    assert done.status == 303
    twin = people["ann"].get(done.location.removeprefix("/console") + ".json").json()["change"]
    assert (twin["state"], twin["author"], twin["note"]) == ("applied", "ann", "better answers")
    noun = stands(platform, "Route", "draft")
    assert (noun["managed_by"], "large@1" in noun["text"]) == ("console", True)
    assert "Route/draft" in [item["object"] for item in platform.admin("GET", "/api/v1/drift")["drift"]]


def test_what_was_rolled_back_is_moved_only_if_that_is_said(people: Mapping[str, Visitor], platform: Platform) -> None:
    ann = people["ann"]

    def edited(before: str, after: str) -> tuple[Answer, str]:
        form = opened(ann, "Route/stepped")
        text = form.fields["text"].replace(before, after)
        return send(ann, form, text=text), text

    planned, _ = edited("rollout: careful", "max_tokens: 5\n    rollout: careful")
    assert "in steps by rollout careful" in planned.text
    planned, _ = edited("rollout: careful", "max_tokens: 5")
    assert "gets another release, all of it at once" in planned.text
    assert send(ann, Form(planned.text), "submit").status == 303
    done = platform.cli("rollback", "stepped", "--env", "test", "--reason", "worse")
    assert done.returncode == 0, done.stderr
    planned, text = edited("max_tokens: 5", "max_tokens: 6")
    assert "deployment/test/stepped was rolled back and stays where it is" in planned.text
    assert "gets another release" not in planned.text
    # The tick makes it another plan, which is shown before it is done.
    ticked = send(ann, Form(planned.text), "submit", take_over="yes")
    assert (ticked.status, Form(ticked.text).fields["text"]) == (409, text)
    assert "gets another release" in ticked.text
    assert send(ann, Form(ticked.text), "submit", take_over="yes").status == 303
    (release,) = [
        one for one in platform.admin("GET", "/api/v1/releases")["releases"]
        if one["route"] == "stepped" and one["environments"]
    ]  # fmt: skip
    assert release["manifest"]["max_tokens"] == 6


def test_a_note_may_be_left_out_where_nobody_approves(people: Mapping[str, Visitor]) -> None:
    planned = send(people["ann"], opened(people["ann"], ""), text="kind: Team\nname: fresh\n")
    done = send(people["ann"], Form(planned.text), "submit")
    change = people["ann"].get(done.location.removeprefix("/console") + ".json").json()["change"]
    assert change["note"] == f"console {change['plan']['digest'][:16]}"


def test_what_is_protected_waits_for_somebody_else(people: Mapping[str, Visitor], platform: Platform) -> None:
    ann, bob = people["ann"], people["bob"]
    form = opened(ann, "Prompt/voice")
    planned = send(ann, form, text=form.fields["text"].replace("kind.", "brief."))
    assert "waits for 1 approval by somebody else" in planned.text
    refused = send(ann, Form(planned.text), "submit")
    assert (refused.status, "Say it in the field beside the button" in refused.text) == (400, True)
    assert "brief." in Form(refused.text).fields["text"]
    done = send(ann, Form(refused.text), "submit", note="shorter")
    change = done.location.removeprefix("/console")
    assert ann.get(f"{change}.json").json()["change"]["state"] == "open"
    assert bob.get(f"{change}.json").json()["verbs"] == ["approve", "reject"]
    # Who may read the roles is told who could approve.
    admin = Visitor(str(platform.admin("POST", "/api/v1/sign-in-links")["url"]))
    admin.sign_in()
    told = send(admin, opened(admin, "Prompt/voice"), text=form.fields["text"].replace("kind.", "loud."))
    assert "approver of environment:live (bob)" in told.text
    # Who approves may plan; asking for it is for authors.
    looked = send(bob, opened(bob, "Prompt/voice"), text=form.fields["text"].replace("kind.", "rude."))
    assert (looked.status, "its authors ask for it" in looked.text, "Ask for approval" in looked.text) == (
        200, True, False,
    )  # fmt: skip
    assert send(bob, Form(looked.text), "submit", plan="0" * 64, note="x").status == 403


def test_what_moved_meanwhile_is_shown_before_anything_is_done(
    people: Mapping[str, Visitor], platform: Platform
) -> None:
    ann = people["ann"]
    form = opened(ann, "Team/support")
    mine = form.fields["text"] + "description: mine\n"
    planned = send(ann, form, text=mine)
    assert "changed meanwhile" not in planned.text
    other = opened(ann, "Team/support")
    text = other.fields["text"] + "description: theirs\nbudget:\n  usd_per_month: '70'\n"
    assert send(ann, Form(send(ann, other, text=text).text), "submit").status == 303
    refused = send(ann, Form(planned.text), "submit", note="kept too")
    assert refused.status == 409
    assert (Form(refused.text).fields["text"], Form(refused.text).fields["note"]) == (mine, "kept too")
    assert "<b>Team.support.description</b>" not in refused.text
    assert "<b>support.description</b>: stands at theirs, with your text mine" in refused.text
    assert "<b>support.budget.usd_per_month</b>" in refused.text
    assert stands(platform, "Team", "support")["manifest"]["description"] == "theirs"
    # With their budget taken over only the description is left to say.
    rebased = send(ann, Form(refused.text), text=text.replace("theirs", "ours"))
    assert "<b>support.description</b>" in rebased.text
    assert "<b>support.budget.usd_per_month</b>" not in rebased.text
    assert send(ann, Form(rebased.text), "submit").status == 303
    assert stands(platform, "Team", "support")["manifest"]["description"] == "ours"


def test_a_text_that_was_changed_after_its_plan_is_planned_again(people: Mapping[str, Visitor]) -> None:
    planned = send(people["ann"], opened(people["ann"], ""), text="kind: Team\nname: looked-at\n")
    answer = send(people["ann"], Form(planned.text), "submit", text="kind: Team\nname: another\n")
    assert answer.status == 409
    assert "team another is new" in answer.text.lower()


def test_nobody_proposes_what_they_may_not(people: Mapping[str, Visitor]) -> None:
    text = "kind: Prompt\nname: voice\ntext: mine\n"
    for name, status in (("eve", 403), ("sue", 403)):
        visitor = people[name]
        form = opened(visitor, "Route/chat")
        form.fields["form_token"] = visitor.form_token()
        for door in ("plan", "submit"):
            answer = send(visitor, form, door, text=text, plan="0" * 64)
            assert answer.status in (status, 404), name
            assert Form(answer.text).fields["text"] == text


def test_text_outlives_the_session_it_was_written_in(people: Mapping[str, Visitor], platform: Platform) -> None:
    visitor = Visitor(f"{platform.admin_url}/console/sign-in")
    assert visitor.post("/sign-in", {"name": "ann", "password": PASSWORD}).status == 303
    form = opened(visitor, "Prompt/voice")
    text = form.fields["text"] + "description: an hour of work\n"
    planned = send(visitor, form, text=text)
    assert visitor.post("/sign-out", {"form_token": visitor.form_token()}).status == 303
    lost = send(visitor, Form(planned.text), "submit", note="because")
    assert (lost.status, "set-cookie" in lost.headers) == (401, False)
    kept = Form(lost.text)
    assert (kept.fields["text"], kept.fields["note"]) == (text, "because")
    assert visitor.post("/sign-in", {"name": "ann", "password": PASSWORD}).status == 303
    tokens = ("", "0" * 64, Form(planned.text).fields["form_token"])
    answers = [send(visitor, kept, "submit", form_token=token) for token in tokens]
    assert [answer.status for answer in answers] == [403] * 3
    assert all("nothing was done" in answer.text for answer in answers)
    assert {Form(answer.text).fields["text"] for answer in answers} == {text}
    assert "an hour of work" not in stands(platform, "Prompt", "voice")["text"]
    again = send(visitor, Form(answers[-1].text))
    assert (again.status, "description" in again.text) == (200, True)
    foreign = visitor.post(f"{PROPOSE}/submit", kept.sent(), sec_fetch_site="cross-site")
    assert foreign.status == 403


def test_a_long_text_fits_and_an_endless_one_does_not(people: Mapping[str, Visitor]) -> None:
    form = opened(people["ann"], "")
    long = "kind: Prompt\nname: long\ntext: |\n" + "".join(f"  line {number} \N{SNOWMAN}\n" for number in range(12_000))
    planned = send(people["ann"], form, text=long)
    assert (planned.status, "prompt long is new" in planned.text.lower()) == (200, True)
    assert send(people["ann"], form, text="x" * 5_000_000).status == 413


def test_without_a_session_little_is_taken(people: Mapping[str, Visitor], platform: Platform) -> None:
    form = opened(people["ann"], "")
    stranger = Visitor(f"{platform.admin_url}/console/sign-in")
    assert send(stranger, form, text="x" * 200_000).status == 401
    long = send(stranger, form, text="x" * 300_000)
    assert long.status == 413
    assert "sign in in another window" in long.text
    assert send(people["ann"], form, text="x" * 300_000).status == 422


def test_forms_are_taken_apart_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Megabytes take a third of a second, in which nobody else would be answered."""
    threads = []

    def parse(*given: Any, **more: Any) -> Any:
        threads.append(threading.current_thread())
        return parse_qs(*given, **more)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"text=a+b", "more_body": False}

    monkeypatch.setattr(guard, "parse_qs", parse)
    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    assert asyncio.run(guard.read_form(request)) == {"text": "a b"}
    assert threads
    assert threading.current_thread() not in threads


def test_what_is_frozen_cannot_be_asked_for(people: Mapping[str, Visitor], platform: Platform) -> None:
    admin = Visitor(str(platform.admin("POST", "/api/v1/sign-in-links")["url"]))
    admin.sign_in()
    form = opened(admin, "Environment/test")
    window = "freeze:\n- from: '2020-01-01T00:00:00Z'\n  to: '2099-01-01T00:00:00Z'\n  reason: holidays\n"
    planned = send(admin, form, text=form.fields["text"] + window)
    assert send(admin, Form(planned.text), "submit").status == 303
    draft = opened(people["ann"], "Route/draft")
    text = draft.fields["text"].replace("weight: 1", "weight: 2") + "data_class: public\n"
    planned = send(people["ann"], draft, text=text)
    assert "holidays. It is refused until then." in planned.text
    assert "Carry it out" not in planned.text
    refused = send(people["ann"], draft, "submit", text=text, plan=Form(planned.text).fields.get("plan", "x"))
    assert refused.status == 409
    assert Form(refused.text).fields["text"] == text


def test_a_route_tells_what_served_at_an_instant(people: Mapping[str, Visitor]) -> None:
    twin = people["eve"].get("/routes/chat.json").json()
    assert twin["then"] is None
    serving = {one["name"]: one["release"] for one in twin["environments"]}
    now = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()[:16]
    told = people["eve"].get(f"/routes/chat.json?{urlencode({'at': now})}").json()["then"]["environments"]
    assert {one["environment"]: one["stretch"]["release"] for one in told} == serving
    page = people["eve"].get(f"/routes/chat?{urlencode({'at': '2020-01-01T00:00'})}").text
    assert page.count("it had not been deployed there yet") == len(serving)
    assert 'value="2020-01-01T00:00"' in page
    assert "lineclear history chat --env live --at 2020-01-01T00:00:00.000Z" in page
    assert people["eve"].get("/routes/chat?at=yesterday").status == 400
