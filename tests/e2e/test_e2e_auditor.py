"""Journey 11: who could call a model on that day, who approved it, was the log altered? Answered read-only."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lineclear.testing import manifests
from lineclear.testing.manifests import Document, text_of
from lineclear.testing.people import Person, person
from lineclear.testing.stage import Stage


def documents(port: int) -> list[Document]:
    return [
        manifests.team(),
        {"kind": "Environment", "name": "live", "class": "live", "approvals": 1},
        manifests.provider("vendor", port),
        manifests.model("first", "vendor"),
        manifests.model("second", "vendor"),
        {**manifests.app("shop"), "routes": ["chat"]},
        {**manifests.app("desk"), "routes": ["other"]},
        manifests.route("other", "second"),
        manifests.route("chat", "second", fallback=["second"]),
    ]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("auditor"), documents, environment=child_environment) as stage:
        yield stage


def approved_change(stage: Stage, author: Person, approver: Person, wanted: Sequence[Document]) -> str:
    """A change by one person that another one approves."""
    path = stage.directory / "change.yaml"
    path.write_text(text_of(wanted))
    assert author.cli("apply", "-f", str(path), "--note", "a better model").returncode == 7
    change = str(author.cli_json("changes", "list")["changes"][0]["id"])
    approver.cli_json("approve", change, "--reason", "as agreed")
    author.cli_json("apply", change)
    return change


def now() -> str:
    return datetime.now(UTC).isoformat()


def test_an_auditor_answers_for_any_day_and_changes_nothing(stage: Stage, tmp_path: Path) -> None:
    platform = stage.platform
    cleo, ann, dora = (
        person(platform, "cleo", "author"), person(platform, "ann", "approver"), person(platform, "dora", "auditor"),
    )  # fmt: skip
    base = [one for one in documents(stage.upstream.port) if one["kind"] not in ("Environment",)]
    before_all = now()
    first = approved_change(stage, cleo, ann, [*base[:-1], manifests.route("chat", "first", fallback=["second"])])
    key = platform.cli_json("keys", "create", "--app", "shop", "--env", "live")["id"]
    then = now()

    # Since then: another app has the route, another model serves, the key is gone, the model is blocked.
    moved = [{**manifests.app("shop"), "routes": ["other"]}, {**manifests.app("desk"), "routes": ["chat"]}]
    approved_change(stage, cleo, ann, [*(one for one in base if one["kind"] != "App"), *moved])
    platform.cli_json("keys", "revoke", key, "--reason", "rotated")
    platform.cli_json("block", "first@1", "--reason", "it leaks")

    # The command, the API and the page say the same, to somebody who may only read.
    answer = dora.cli_json("audit", "who", "first", "--env", "live", "--at", then)
    # The platform's own app may call every route; the other one had no route to it yet.
    assert [one["app"] for one in answer["access"]] == ["default", "shop"]
    row = answer["access"][1]
    assert (row["app"], row["keys"], row["route"], row["way"]) == ("shop", [key], "chat", "target")
    assert (row["model"], row["status"]) == ("first@1", "approved")
    assert (row["changed_by"], row["approved_by"], row["change"]) == ("cleo", "ann", first)
    page = dora.browser.get(f"/model-access.json?model=first&environment=live&at={then.replace('+', '%2B')}")
    assert page.json()["rows"] == answer["access"]
    seen = dora.browser.get(f"/model-access?model=first&environment=live&at={then.replace('+', '%2B')}").text
    assert all(word in seen for word in ("shop", key, "cleo", "ann", first))
    assert dora.cli_json("audit", "who", "first", "--at", before_all)["access"] == []
    assert dora.cli_json("audit", "who", "first")["access"] == []
    second = {
        (one["app"], one["way"]) for one in dora.cli_json("audit", "who", "second")["access"] if one["route"] == "chat"
    }
    assert second == {(app, way) for app in ("default", "desk") for way in ("target", "fallback")}
    (event,) = [one for one in dora.cli_json("audit", "list")["events"] if one["number"] == row["audit_event"]]
    assert (event["object"], event["after"], event["change_id"]) == ("deployment/live/chat", row["release"], first)
    (stretch,) = dora.cli_json("history", "chat", "--at", then)["stretches"]
    assert (stretch["release"], stretch["approved_by"]) == (row["release"], "ann")

    # Was it altered? The server's own trail, and a file that is checked without it.
    dora.cli_json("audit", "verify")
    export = tmp_path / "trail.jsonl"
    dora.cli_json("audit", "export", str(export))
    assert platform.cli("audit", "verify", str(export)).returncode == 0
    export.write_text(export.read_text().replace('"as agreed"', '"as  agreed"').replace(key, key[::-1]))
    assert platform.cli("audit", "verify", str(export)).returncode == 8

    # Read-only, by every door.
    assert dora.cli("stop", "all", "--reason", "x").returncode == 4
    assert dora.cli("apply", "-f", str(stage.directory / "change.yaml")).returncode == 4
    for path in ("/emergency", "/access", "/access/ann", "/routes/chat"):
        text: str = dora.browser.get(path).text
        assert 'method="post"' not in text.partition("<main")[2], path
    assert dora.sends("/emergency/stop", scope="all", reason="x").status == 403
    assert platform.admin("GET", "/api/v1/stops")["stops"] == []
