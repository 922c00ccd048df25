"""The life of model versions over the admin API: verbs, who still calls, inventory, replacement."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineclear.client.admin import AdminClient, AdminError, path_of
from lineclear.config.manifest import ManifestFile
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.changes.apply import Author, Changes
from lineclear.control.changes.recorded import LedgerRecorded
from lineclear.control.endpoint import Refused
from lineclear.control.ingest.ingest import Ingest
from lineclear.control.lifecycle import http as lifecycle_http
from lineclear.control.lifecycle.callers import Callers
from lineclear.control.lifecycle.replacement import with_successor
from lineclear.domain.access import Grant, Principal, Role, Scope
from lineclear.domain.manifest import Fallback, Route, RouteEnvironment, Strategy, Target
from lineclear.store.ledger import Ledger
from lineclear.testing import manifests
from lineclear.testing.control_plane import ControlPlane, ServedAPI, authenticate_tests
from lineclear.testing.records import Spool, intent, settle

DAY_US, HOUR_US = 86_400_000_000, 3_600_000_000
DOCUMENTS = [
    manifests.team(),
    manifests.team("others"),
    manifests.app("shop"),
    manifests.provider("vendor", 9),
    manifests.model("small", "vendor"),
    manifests.model("fresh", "vendor", status="test"),
    manifests.model("large", "vendor", end_of_life="2030-01-01"),
    manifests.route("chat", "small", environments=("live", "test")),
    manifests.route("both", "small", "large"),
    manifests.route("spare", "large", fallback=["small"]),
]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "requests")
    yield opened
    opened.close()


@pytest.fixture
def plane(tmp_path: Path, spool: Spool) -> Iterator[ControlPlane]:
    opened = ControlPlane(tmp_path, clock=spool.clock).start()
    opened.apply(manifests.text_of(DOCUMENTS))
    yield opened
    opened.close()


def known(token: str) -> Principal | None:
    """A role's name is a token of somebody with this role on team `testers`; `other-ROLE` on another team."""
    name = token.removeprefix("other-")
    if name in {role.value for role in Role}:
        return Principal(token, grants=(Grant(Role(name), Scope(team="others" if name != token else "testers")),))
    return authenticate_tests(token)


@pytest.fixture
def served(tmp_path: Path, plane: ControlPlane, spool: Spool) -> Iterator[ServedAPI]:
    ledger = Ledger.open(tmp_path / "ledger")
    ingest = Ingest(ledger, spool.directory, spool.clock, accountant_positions=dict)
    callers = Callers(ledger, spool.clock, ingest.catch_up)
    served = ServedAPI(
        [*plane.endpoints(), *lifecycle_http.endpoints(plane.changes, plane.publisher, callers, spool.clock)], known
    )
    yield served
    served.close()
    ledger.close()


@pytest.fixture
def client(served: ServedAPI) -> AdminClient:
    return served.client()


def post(client: AdminClient, version: str, verb: str, **body: Any) -> Any:
    return client.post(path_of("model-versions", version, verb), body)


def refused(client: AdminClient, version: str, verb: str, **body: Any) -> AdminError:
    with pytest.raises(AdminError) as caught:
        post(client, version, verb, **body)
    return caught.value


def row(client: AdminClient, version: str) -> dict[str, Any]:
    found = {item["model"]: item for item in client.get(path_of("inventory"))["versions"]}
    return dict(found[version])


def called(spool: Spool, number: int, ago_us: int, **facts: Any) -> None:
    at_us = spool.clock.unix_us() - ago_us
    by = {name: facts.pop(name) for name in ("app", "key_id", "environment") if name in facts}
    told = {"model": "small@1", "provider": "vendor", **facts}
    spool.write(intent(number, at_us, team="testers", **by, **told), settle(number, at_us, **told))


def test_a_version_goes_through_its_life(client: AdminClient) -> None:
    assert post(client, "fresh@1", "approve", reason="it was tested")["state"] == "applied"
    done = post(client, "fresh@1", "deprecate", sunset="2027-06-01", successor="large@1")
    (change,) = done["plan"]["objects"]
    assert {item["path"].rpartition(".")[2] for item in change["fields"]} == {
        "status", "successor", "deprecated_at", "sunset",
    }  # fmt: skip
    told = row(client, "fresh@1")
    assert (told["status"], told["sunset"], told["successor"]) == ("deprecated", "2027-06-01", "large@1")
    assert told["deprecated_at"].startswith("20")
    assert post(client, "fresh@1", "approve")["state"] == "applied"
    assert [row(client, "fresh@1")[name] for name in ("status", "deprecated_at", "sunset")] == ["approved", None, None]
    post(client, "fresh@1", "deprecate", sunset="2027-06-01")
    post(client, "fresh@1", "retire")
    assert row(client, "fresh@1")["status"] == "retired"


def test_a_move_that_is_none_is_a_conflict_with_what_may_follow(client: AdminClient) -> None:
    error = refused(client, "small@1", "retire")
    assert (error.code, error.message) == (
        "conflict",
        "small@1 is approved, which retired does not follow; what may follow is deprecated, blocked",
    )
    assert refused(client, "small@1", "approve").message == "small@1 is approved already"
    assert refused(client, "small@1", "unblock").message == "small@1 is approved, not blocked"
    assert refused(client, "nothing@1", "approve").code == "not_found"


def test_a_deprecation_without_what_callers_need_is_refused(client: AdminClient) -> None:
    error = refused(client, "small@1", "deprecate")
    assert error.code == "invalid_manifest"
    assert {finding["path"].rpartition(".")[2] for finding in error.findings} == {"successor", "sunset"}


def test_a_version_that_is_called_is_not_retired_but_by_an_approver(
    served: ServedAPI, client: AdminClient, spool: Spool
) -> None:
    called(spool, 1, 2 * DAY_US)
    called(spool, 2, 3 * HOUR_US)
    called(spool, 3, 31 * DAY_US, app="long-gone")
    post(client, "small@1", "deprecate", sunset="2027-06-01", successor="large@1")
    error = refused(client, "small@1", "retire")
    assert error.code == "conflict"
    assert error.message.startswith("small@1 is still called: shop in live, 2 requests in 30 days, last 20")
    assert "long-gone" not in error.message
    assert refused(served.client("author"), "small@1", "retire", force=True).code == "forbidden"
    assert post(client, "small@1", "retire", force=True)["state"] == "applied"


@pytest.mark.parametrize(
    ("verb", "version", "roles"),
    [
        ("approve", "fresh@1", {"approver"}),
        ("deprecate", "small@1", {"author", "operator"}),
        ("retire", "fresh@1", {"author"}),
    ],
)
def test_who_may_move_a_version(served: ServedAPI, verb: str, version: str, roles: set[str]) -> None:
    body = {"sunset": "2027-06-01", "successor": "large@1"} if verb == "deprecate" else {}
    for role in Role:
        other = refused(served.client(f"other-{role.value}"), version, verb, **body)
        assert other.code in ("forbidden", "not_found")
        if role.value in roles:
            continue
        assert refused(served.client(role.value), version, verb, **body).code == "forbidden", role
    assert post(served.client(sorted(roles)[0]), version, verb, **body)["state"] == "applied"


def test_the_inventory_says_who_calls_what_and_until_when(served: ServedAPI, client: AdminClient, spool: Spool) -> None:
    called(spool, 1, 2 * DAY_US)
    called(spool, 2, 0, key_id="otherkey0000")
    called(spool, 3, 8 * DAY_US, app="desk")
    told = row(client, "small@1")
    assert (told["owner"], told["requests"], told["routes"]) == (
        "testers", 3, ["live/both", "live/chat", "live/spare", "test/chat"],
    )  # fmt: skip
    shop, desk = told["callers"]
    assert (shop["app"], shop["requests"], shop["requests_by_day"]) == ("shop", 2, [0, 0, 0, 0, 1, 0, 1])
    assert shop["keys"] == ["abcdefghijkl", "otherkey0000"]
    assert (desk["requests"], sum(desk["requests_by_day"])) == (1, 0)
    assert float(told["cost_usd"]) == pytest.approx(3 * 24_150e-9)
    assert told["last_call_at"] == shop["last_call_at"] > desk["last_call_at"]
    first = client.get(path_of("inventory"))["versions"][0]
    assert first["model"] == "large@1"
    assert 0 < first["days_left"] < 1_200
    assert client.get(path_of("model-versions", "small@1", "callers"))["callers"] == told["callers"]
    seen = served.client("other-viewer").get(path_of("inventory"))["versions"]
    assert seen == []


def test_the_inventory_says_what_is_linked_to_a_version(client: AdminClient, plane: ControlPlane) -> None:
    linked: list[dict[str, Any]] = [
        {"kind": "Prompt", "name": "voice", "text": "Be kind."},
        {"kind": "Guardrail", "name": "house", "rules": [{"id": "a", "on": ["input"], "deny": ["x"]}]},
        manifests.model("able", "vendor", capabilities=["tools"]),
        manifests.route("linked", "able", prompt="voice", guardrails=["house"]),
    ]
    plane.apply(manifests.text_of(linked))
    told = row(client, "able@1")
    assert (told["prompts"], told["guardrails"], told["capabilities"]) == (["voice"], ["house"], ["tools"])
    assert (row(client, "small@1")["prompts"], row(client, "small@1")["capabilities"]) == ([], [])


def test_the_inventory_says_what_is_wrong_with_a_vendors_record(client: AdminClient, plane: ControlPlane) -> None:
    assert row(client, "small@1")["vendor_problems"] == ["its region is not known", "there is no vendor record"]
    record: dict[str, Any] = {
        "agreements": ["DPA"], "retention_days": 0, "training_use": "none", "exit_plan": "move to large",
        "review_by": "2030-01-01", "evidence": [{"name": "SOC 2", "expires": "2030-01-01"}],
    }  # fmt: skip
    whole = {**manifests.provider("vendor", 9), "region": "eu", "vendor_record": record}
    plane.apply(manifests.text_of([whole]))
    assert (row(client, "small@1")["region"], row(client, "small@1")["vendor_problems"]) == ("eu", [])
    run_out = {
        **record, "review_by": "2026-01-01", "training_use": "yes",
        "evidence": [{"name": "SOC 2", "expires": "2026-06-01"}],
    }  # fmt: skip
    plane.apply(manifests.text_of([{**whole, "vendor_record": run_out}]))
    assert row(client, "small@1")["vendor_problems"] == [
        "it trains on what it is sent", "SOC 2 expired 2026-06-01", "its review was due 2026-01-01",
    ]  # fmt: skip


def test_a_version_is_replaced_on_every_route_that_names_it(client: AdminClient, plane: ControlPlane) -> None:
    planned = post(client, "small@1", "replace", new="large@1")
    assert (planned["applied"], planned["routes"]) == (None, ["both", "chat", "spare"])
    assert {item["route"] for item in planned["plan"]["releases"]} == {"both", "chat", "spare"}
    assert refused(client, "small@1", "replace", new="large@1", plan="0" * 64).code == "stale_plan"
    done = post(client, "small@1", "replace", new="large@1", plan=planned["plan"]["digest"])
    assert done["applied"]["state"] == "applied"
    assert row(client, "small@1")["routes"] == []
    assert refused(client, "small@1", "replace", new="large@1").message == "no route names small@1"
    assert refused(client, "small@1", "replace", new="small@1").code == "invalid_request"
    assert refused(client, "small@1", "replace", new="nothing@1").code == "not_found"


def sent(client: AdminClient, *documents: Any, **more: Any) -> Any:
    files = [{"name": "m.yaml", "text": manifests.text_of(documents)}]
    return client.post(path_of("changes"), {"files": files, **more})


def test_a_file_moves_a_status_only_for_who_may(served: ServedAPI, client: AdminClient) -> None:
    approved = manifests.model("fresh", "vendor", status="approved")
    with pytest.raises(AdminError) as caught:
        sent(served.client("author"), approved)
    assert (caught.value.code, "model:approve" in caught.value.message) == ("forbidden", True)
    assert sent(client, approved)["state"] == "applied"


def test_a_file_does_not_retire_what_is_called(plane: ControlPlane, spool: Spool, tmp_path: Path) -> None:
    called(spool, 1, DAY_US)
    ledger = Ledger.open(tmp_path / "ledger")
    Ingest(ledger, spool.directory, spool.clock, accountant_positions=dict).catch_up()
    changes = Changes(plane.publisher, {}, LedgerRecorded(ledger, spool.clock))
    dates: dict[str, Any] = {"successor": "large@1", "deprecated_at": "2026-11-01", "sunset": "2031-11-01"}
    plane.apply(manifests.text_of([manifests.model("small", "vendor", status="deprecated", **dates)]))
    gone = manifests.text_of([manifests.model("small", "vendor", status="retired", **dates)])
    reading = changes.read([ManifestFile("m.yaml", gone, "")])
    with pytest.raises(Refused) as caught:
        changes.apply(reading, {}, Author("tester"))
    assert "small@1, which would be retired (shop 1 requests in 30 days)" in caught.value.message
    assert changes.apply(reading, {}, Author("tester"), is_forced=True).change is not None
    ledger.close()


def route(targets: list[tuple[str, int | None]], fallback: list[str] | None = None) -> Route:
    deployed = RouteEnvironment(
        targets=tuple(Target(model=model, weight=weight) for model, weight in targets),
        fallback=tuple(Fallback(model=model) for model in fallback or []),
        strategy=Strategy.WEIGHTED,
    )
    return Route(name="r", team="t", environments={"live": deployed})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (route([("a", 1)]), route([("b", 1)])),
        (route([("a", None), ("c", 2)]), route([("b", None), ("c", 2)])),
        (route([("a", 30), ("b", 70)]), route([("b", 100)])),
        (route([("a", None), ("b", 3)]), route([("b", 4)])),
        (route([("a", 1)], ["b", "c"]), route([("b", 1)], ["c"])),
        (route([("c", 1)], ["a", "b"]), route([("c", 1)], ["b"])),
        (route([("c", 1)], ["b", "a"]), route([("c", 1)], ["b"])),
        (route([("c", 1)], ["c"]), route([("c", 1)], ["c"])),
    ],
)
def test_the_successor_takes_the_place_with_its_share(before: Route, after: Route) -> None:
    assert with_successor(before, "a", "b") == after


def test_every_status_it_had_is_told_with_who_and_why(client: AdminClient, plane: ControlPlane) -> None:
    post(client, "fresh@1", "approve", reason="it was tested")
    post(client, "fresh@1", "deprecate", sunset="2027-06-01", successor="large@1")
    with plane.database.write() as tx:
        # As folding a block writes it.
        event = AuditEvent(AuditAction.MODEL_BLOCKED, "model-version/fresh@1", "deprecated", "blocked", "it leaks")
        audit.record(tx, plane.clock, "olga", [event])
    plane.apply(manifests.text_of([manifests.team(description="this moves no status")]))
    steps = client.get(path_of("model-versions", "fresh@1", "history"))["steps"]
    told = [(step["before"], step["after"], step["changed_by"], step["note"]) for step in steps]
    assert told[0] == ("deprecated", "blocked", "olga", "it leaks")
    assert told[1][:3] == ("approved", "deprecated", "tester")
    assert told[2] == ("test", "approved", "tester", "it was tested")
    assert told[3][:2] == (None, "test")
    assert (steps[1]["successor"], steps[1]["sunset"]) == ("large@1", "2027-06-01")
    assert [step["before"] for step in client.get(path_of("model-versions", "small@1", "history"))["steps"]] == [None]
