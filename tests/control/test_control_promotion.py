"""A prompt is changed in test, carried to live, and asked about a day later: over the admin port, on a real socket."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineclear.client.admin import AdminClient, AdminError
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.deployments.history import in_force_at, stretches
from lineclear.control.release_diff import Edit, diff_texts
from lineclear.control.releases import release_id
from lineclear.domain.manifest import ManagedBy
from lineclear.store import control_rows as rows
from lineclear.testing.clock import TestClock
from lineclear.testing.control_plane import ControlPlane, ServedAPI

DAY_S = 86_400
BASE = """
kind: Model
name: tiny
owner: default
versions:
  - {version: "1", engine: simulated, status: approved}
  - {version: "2", engine: simulated, status: approved}
---
kind: Prompt
name: voice
text: |
  You serve {{ shop }}.
  Answer in one sentence.
---
kind: Prompt
name: voice-2
text: |
  You serve {{ shop }}.
  Answer in two short sentences.
"""
ROUTE = """
kind: Route
name: chat
team: default
environments:
  test:
    targets: [{{model: tiny@1, weight: {weight}}}, {{model: tiny@2}}]
    prompt: {prompt}
    parameters: {{temperature: 0.5}}
    retrieval: {{index: manuals, rerank: {{floor: 0.25}}}}
    limits: {{requests_per_minute: 5}}
"""
LIVE = """  live:
    targets: [{model: tiny@1}]
    prompt: voice
    budget: {usd_per_month: "100"}
"""

TEXTS = [
    ("", ""), ("", "a b"), ("a b\n", ""), ("a  b\nc d\n", "a b\n\nc e\n"), ("x y z", "x q z"), ("same", "same"),
    ("word " * 12_000, "words " * 12_000), ("one\ntwo\nthree", "one\nthree\nfour"),
]  # fmt: skip
"""Some empty, some with lines that go, one too long to compare word by word."""


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def plane(tmp_path: Path, clock: TestClock) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path, clock=clock).start()
    plane.apply(BASE + "---" + ROUTE.format(prompt="voice", weight=3) + LIVE)
    yield plane
    plane.close()


@pytest.fixture
def client(plane: ControlPlane) -> Iterator[AdminClient]:
    served = ServedAPI(plane.endpoints())
    yield served.client()
    served.close()


def stable(plane: ControlPlane, environment: str) -> str:
    with plane.database.read() as tx:
        return rows.read_deployments(tx)[environment, "chat"].stable


def promote(client: AdminClient, source: str = "test", target: str = "live", **more: str) -> Any:
    body = {"route": "chat", "from_environment": source, "to_environment": target, **more}
    return client.post("/api/v1/promotions", body)


def history(client: AdminClient, environment: str = "live", at: str | None = None) -> list[dict[str, Any]]:
    query = {"route": "chat", "environment": environment, "at": at}
    found: list[dict[str, Any]] = client.get("/api/v1/deployment-history", query)["stretches"]
    return found


def refused(client: AdminClient, source: str, target: str) -> AdminError:
    with pytest.raises(AdminError) as caught:
        promote(client, source, target)
    return caught.value


def test_a_prompt_is_changed_in_test_and_carried_to_live_with_its_digest(
    plane: ControlPlane, client: AdminClient, clock: TestClock
) -> None:
    former = release_id(stable(plane, "live"))
    clock.advance(DAY_S)
    plane.apply(ROUTE.format(prompt="voice-2", weight=3))
    assert release_id(stable(plane, "live")) == former
    clock.advance(DAY_S)
    answer = promote(client, note="shorter answers")
    assert stable(plane, "live") == stable(plane, "test") == answer["digest"]
    assert answer["applied"]["change"].startswith("chg_")
    now, before = history(client)
    assert (now["release"], now["until_at"], now["note"]) == (answer["release"], None, "shorter answers")
    assert (now["changed_by"], now["change"], now["how"]) == ("tester", answer["applied"]["change"], "deployment.moved")
    assert (before["release"], before["until_at"]) == (former, now["from_at"])
    (yesterday,) = history(client, at="24h")
    assert yesterday["release"] == former
    (today,) = history(client, at="0m")
    assert today["release"] == answer["release"]
    assert history(client, at="1999-01-01") == []
    assert promote(client)["applied"]["change"] is None


def test_what_belongs_to_the_environment_stays_there(plane: ControlPlane, client: AdminClient) -> None:
    promote(client)
    with plane.database.read() as tx:
        (row,) = [row for row in rows.read_manifests(tx) if (row.kind, row.name) == ("Route", "chat")]
    live = json.loads(row.document)["environments"]["live"]
    assert live["budget"]["usd_per_month"] == "100"
    assert live["limits"]["requests_per_minute"] is None
    assert (live["retrieval"], live["parameters"]["temperature"]) == (
        {"index": "manuals", "rerank": {"floor": 0.25}},
        0.5,
    )
    assert row.owner == ManagedBy.CLI.value


def test_in_a_protected_environment_somebody_else_approves_it(plane: ControlPlane, client: AdminClient) -> None:
    plane.apply("kind: Environment\nname: live\nclass: live\napprovals: 1\n")
    former = stable(plane, "live")
    answer = promote(client)
    assert answer["applied"]["state"] == "open"
    assert answer["applied"]["plan"]["needs"][0]["environment"] == "live"
    assert stable(plane, "live") == former
    assert promote(client)["applied"]["change"] == answer["applied"]["change"], "asked for twice, kept once"


def test_a_route_comes_to_an_environment_in_which_it_was_not(plane: ControlPlane, client: AdminClient) -> None:
    plane.apply("kind: Environment\nname: stage\nclass: test\n")
    answer = promote(client, "test", "stage")
    assert stable(plane, "stage") == answer["digest"]
    assert len(history(client, "stage")) == 1


def test_what_serves_without_being_what_its_manifest_says_is_not_carried(
    plane: ControlPlane, client: AdminClient
) -> None:
    former = stable(plane, "test")
    plane.apply(ROUTE.format(prompt="voice-2", weight=3))
    roll_back(plane, "test", former)
    said = refused(client, "test", "live")
    assert (said.status, said.code) == (409, "conflict")
    assert f"{release_id(former)} serves route 'chat' in test" in str(said)
    assert "prompt name 'voice' → 'voice-2'" in str(said)
    now, between, _ = history(client, "test")
    assert (now["release"], now["how"], now["changed_by"]) == (release_id(former), "deployment.moved", "nightly")
    assert between["until_at"] == now["from_at"]


def roll_back(plane: ControlPlane, environment: str, digest: str) -> None:
    """As an override that was folded writes it."""

    def work(tx: Any) -> None:
        row = rows.read_deployments(tx)[environment, "chat"]
        moved = rows.DeploymentRow(
            environment, "chat", row.generation + 1, digest, (row.stable,), "ovr_1", plane.clock.unix_us(), row.asked
        )
        assert rows.move_deployment(tx, moved)
        event = AuditEvent(
            AuditAction.DEPLOYMENT_MOVED, f"deployment/{environment}/chat", release_id(row.stable),
            release_id(digest), "too long", "ovr_1",
        )  # fmt: skip
        audit.record(tx, plane.clock, "nightly", [event])

    plane.publisher.commit("rollback", work)


@pytest.mark.parametrize(
    ("source", "target", "status", "words"),
    [
        ("test", "nowhere", 404, "no environment 'nowhere'"),
        ("nowhere", "live", 404, "not deployed in 'nowhere'"),
        ("test", "test", 400, "carried to itself"),
    ],
)
def test_a_wrong_environment_is_told(client: AdminClient, source: str, target: str, status: int, words: str) -> None:
    said = refused(client, source, target)
    assert said.status == status
    assert words in str(said)


def test_releases_differ_by_words_fields_and_weights(plane: ControlPlane, client: AdminClient) -> None:
    before = stable(plane, "test")
    plane.apply(
        ROUTE.format(prompt="voice-2", weight=9).replace("temperature: 0.5", "temperature: 0.25, seed: 7")
        .replace("floor: 0.25", "floor: 0.5")
    )  # fmt: skip
    after = release_id(stable(plane, "test"))
    found = client.get("/api/v1/release-diffs", {"before": before, "after": after})
    parts = {item["component"]: item for item in found["components"]}
    assert list(parts) == ["targets", "prompt", "parameters", "retrieval"]
    assert parts["targets"]["fields"] == [{"field": "tiny@1", "before": 3, "after": 9}]
    assert parts["parameters"]["fields"] == [
        {"field": "temperature", "before": 0.5, "after": 0.25}, {"field": "seed", "before": None, "after": 7},
    ]  # fmt: skip
    assert parts["retrieval"]["fields"] == [{"field": "rerank.floor", "before": 0.25, "after": 0.5}]
    edits = [(item["edit"], item["text"]) for item in parts["prompt"]["passages"]]
    assert edits == [
        ("same", "You serve {{ shop }}.\nAnswer in "),
        ("removed", "one sentence."),
        ("added", "two short sentences."),
        ("same", "\n"),
    ]
    same = client.get("/api/v1/release-diffs", {"before": after, "after": after})
    assert same["components"] == []
    with pytest.raises(AdminError, match="no release 'rel_x'"):
        client.get("/api/v1/release-diffs", {"before": "rel_x", "after": after})


def test_versions_of_a_prompt_name_the_releases_that_pin_them(plane: ControlPlane, client: AdminClient) -> None:
    first = stable(plane, "live")
    plane.apply("kind: Prompt\nname: voice\ntext: Answer {{ shop }} in verse.\n")
    now, before, *none = client.get("/api/v1/prompt-versions", {"name": "voice"})["versions"]
    assert not none
    assert (now["is_current"], now["text"], now["variables"]) == (True, "Answer {{ shop }} in verse.", ["shop"])
    assert now["in_force"] == ["live/chat", "test/chat"]
    assert (before["is_current"], before["in_force"]) == (False, [])
    assert release_id(first) in before["releases"]
    query = {"name": "voice", "before": before["digest"][:8], "after": "current"}
    found = client.get("/api/v1/prompt-diffs", query)
    assert found["before"] == before["digest"]
    assert {item["edit"] for item in found["passages"]} >= {"removed", "added"}
    unpinned = client.get("/api/v1/prompt-versions", {"name": "voice-2"})["versions"]
    assert [(item["first_at"], item["releases"]) for item in unpinned] == [(None, [])]
    for query in (
        {"name": "voice", "before": "ffff", "after": "current"},
        {"name": "nobody", "before": "x", "after": "y"},
    ):
        with pytest.raises(AdminError) as caught:
            client.get("/api/v1/prompt-diffs", query)
        assert caught.value.status == 404


def test_history_of_what_was_never_deployed_says_so(client: AdminClient) -> None:
    for environment, route in (("stage", "chat"), ("live", "nowhere")):
        with pytest.raises(AdminError, match="was never deployed in") as caught:
            client.get("/api/v1/deployment-history", {"environment": environment, "route": route})
        assert caught.value.code == "not_found"


def test_history_is_made_of_moves_and_of_nothing_else() -> None:
    told = [
        ("deployment.moved", "", "rel_a"),
        ("rollback.drilled", "rel_a", "rel_0"),
        ("deployment.moved", "rel_a", "rel_b"),
        ("deployment.rolled-back", "rel_b", "rel_b"),
        ("deployment.rolled-back", "rel_b", "rel_a"),
        ("deployment.removed", "rel_a", ""),
    ]
    events = [
        rows.AuditRow(number, 1, number * 10, "ann", action, "deployment/live/chat", before, after, "", "", "", "")
        for number, (action, before, after) in enumerate(told, 1)
    ]
    found = stretches(events, {})
    assert [(item.release, item.how, item.from_us, item.until_us) for item in found] == [
        (None, "deployment.removed", 60, None),
        ("rel_a", "deployment.rolled-back", 50, 60),
        ("rel_b", "deployment.moved", 30, 50),
        ("rel_a", "deployment.moved", 10, 30),
    ]
    assert [getattr(in_force_at(found, at), "release", "") for at in (9, 10, 49, 50, 99)] == [
        "", "rel_a", "rel_b", "rel_a", None,
    ]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), TEXTS)
def test_passages_hold_both_texts_whole(before: str, after: str) -> None:
    passages = diff_texts(before, after)
    assert "".join(item.text for item in passages if item.edit is not Edit.ADDED) == before
    assert "".join(item.text for item in passages if item.edit is not Edit.REMOVED) == after
    assert all(item.text for item in passages)
