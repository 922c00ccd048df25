"""Who feels a change, and who keeps it from being made: figures of recorded traffic, over the admin API."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineclear.client.admin import AdminClient, AdminError, path_of
from lineclear.control.changes import http as changes_http
from lineclear.control.changes.apply import Changes
from lineclear.control.changes.recorded import LedgerRecorded
from lineclear.control.ingest.ingest import Ingest
from lineclear.domain.money import Usage
from lineclear.store.ledger import Ledger
from lineclear.testing.control_plane import ControlPlane, ServedAPI
from lineclear.testing.records import Spool, intent, refusal, settle

DAY_US = 86_400_000_000
BASE = """
kind: Team
name: support
---
kind: App
name: shop
team: support
routes: [chat]
---
kind: Provider
name: acme
dialects: [openai, anthropic]
base_url: https://api.acme.example/v1
---
kind: Provider
name: spare
dialects: [openai]
base_url: https://api.spare.example/v1
---
kind: Model
name: small
owner: support
versions:
  - version: "1"
    provider: acme
    upstream_id: s1
    status: approved
    price: {input_per_mtok: "1", output_per_mtok: "2"}
  - version: "2"
    provider: acme
    upstream_id: s2
    status: approved
    price: {input_per_mtok: "3", output_per_mtok: "5"}
---
kind: Model
name: free
owner: support
versions:
  - {version: "1", provider: spare, upstream_id: f1, status: approved, operations: [chat, messages]}
---
"""
ROUTE = """
kind: Route
name: chat
team: support
data_class: confidential
environments:
  live: {targets: [TARGETS]}
"""
SMALL = "{model: small@1}"


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "requests")
    yield opened
    opened.close()


@pytest.fixture
def client(tmp_path: Path, spool: Spool) -> Iterator[AdminClient]:
    plane = ControlPlane(tmp_path, clock=spool.clock).start()
    plane.apply(BASE + ROUTE.replace("TARGETS", SMALL))
    now_us = spool.clock.unix_us()
    usage = Usage(input_tokens=70_000, output_tokens=7_000)
    place: dict[str, Any] = {"route": "chat", "model": "small@1", "provider": "acme"}
    told: dict[str, Any] = {"model": "small@1", "provider": "acme", "usage": usage}
    for number in range(14):
        at_us = now_us - number % 6 * DAY_US - 1_000_000
        spool.write(intent(number, at_us, app="shop" if number < 10 else "crm", **place), settle(number, at_us, **told))
    old_us = now_us - 20 * DAY_US
    spool.write(intent(90, old_us, app="old", **place), settle(90, old_us, **told))
    spool.write(refusal(91, now_us - DAY_US, app="shop", route="chat"))
    ledger = Ledger.open(tmp_path / "ledger")
    Ingest(ledger, spool.directory, spool.clock, accountant_positions=dict).catch_up()
    changes = Changes(plane.publisher, {}, LedgerRecorded(ledger, spool.clock))
    served = ServedAPI(changes_http.endpoints(changes, plane.database, plane.named))
    yield served.client()
    served.close()
    ledger.close()
    plane.close()


def sent(text: str, **more: Any) -> dict[str, Any]:
    return {"files": [{"name": "m.yaml", "text": text}], **more}


def radius(client: AdminClient, targets: str) -> dict[str, Any]:
    (found,) = client.post(path_of("plans"), sent(ROUTE.replace("TARGETS", targets)))["radius"]
    return dict(found)


def test_the_radius_of_a_week_in_figures(client: AdminClient) -> None:
    found = radius(client, "{model: small@1, weight: 75}, {model: small@2, weight: 25}")
    assert found == {
        "environment": "live", "route": "chat",
        "apps": {"crm": 1, "shop": 2}, "requests_per_day": 3,
        "cost_usd_per_day": "0.168000000", "new_cost_usd_per_day": "0.248500000",
        "newly_exposed": ["confidential → small@2"], "contract_breaks": [],
    }  # fmt: skip


def test_without_a_price_there_is_no_cost_and_operations_that_go_are_named(client: AdminClient) -> None:
    found = radius(client, "{model: free@1}")
    assert (found["cost_usd_per_day"], found["new_cost_usd_per_day"]) == ("0.168000000", None)
    assert found["newly_exposed"] == ["confidential → free@1"]
    assert found["contract_breaks"] == ["classify", "completions", "count_tokens", "embeddings"]


def test_what_touches_no_deployment_has_no_radius(client: AdminClient) -> None:
    plan = client.post(path_of("plans"), sent("kind: Team\nname: sales\n"))
    assert plan["radius"] == []


FILES = BASE + ROUTE.replace("TARGETS", SMALL)


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        ("kind: App\nname: shop", "App/shop (shop 11 requests in 30 days)"),
        ("kind: Route\nname: chat", "Route/chat in live (crm 4, old 1, shop 11 requests in 30 days)"),
    ],
    ids=["app", "route"],
)
def test_what_was_called_lately_is_deleted_by_force_only(client: AdminClient, left_out: str, said: str) -> None:
    documents = [item for item in FILES.split("---") if left_out not in item and item.strip()]
    text = "---".join(documents).replace("routes: [chat]", "routes: []" if "Route" in left_out else "routes: [chat]")
    with pytest.raises(AdminError) as caught:
        client.post(path_of("changes"), sent(text, prune="platform"))
    assert (caught.value.status, caught.value.code) == (409, "conflict")
    assert said in caught.value.message
    assert client.post(path_of("changes"), sent(text, prune="platform", force=True))["state"] == "applied"


def test_what_nobody_called_goes_without_force(client: AdminClient) -> None:
    documents = [item for item in FILES.split("---") if "name: free" not in item and "name: spare" not in item]
    text = "---".join(documents)
    assert client.post(path_of("changes"), sent(text, prune="platform"))["state"] == "applied"
