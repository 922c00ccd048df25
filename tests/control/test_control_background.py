"""What control's database adds to a request: who put its release in force, what that changed, its key, its models."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from lineclear.control.endpoint import Call
from lineclear.control.ingest.ingest import Ingest
from lineclear.control.ledger.background import BackgroundDesk
from lineclear.control.ledger.http import LedgerDesk
from lineclear.store import control_rows as rows
from lineclear.store.ledger import Ledger
from lineclear.testing import manifests
from lineclear.testing.clock import TestClock
from lineclear.testing.control_plane import TESTER, ControlPlane
from lineclear.testing.records import Spool, exchange_id, intent, refusal, settle

HOUR_S = 3600.0


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "requests")
    yield opened
    opened.close()


@pytest.fixture
def plane(tmp_path: Path, spool: Spool) -> Iterator[ControlPlane]:
    opened = ControlPlane(tmp_path, clock=spool.clock).start()
    yield opened
    opened.close()


@pytest.fixture
def desk(tmp_path: Path, plane: ControlPlane, spool: Spool) -> Iterator[LedgerDesk]:
    ledger = Ledger.open(tmp_path / "ledger")
    ingest = Ingest(ledger, spool.directory, spool.clock, accountant_positions=dict)
    yield LedgerDesk(ledger, ingest, spool.clock, plane.publisher.price_of, BackgroundDesk(plane.database))
    ledger.close()


def text(weight: int, *, price: str = "1.00", status: str = "approved", fallback: bool = False) -> str:
    route = manifests.route("chat", "small", fallback=["large"] if fallback else [])
    route["environments"]["live"]["targets"][0]["weight"] = weight
    rates = {"input_per_mtok": price, "output_per_mtok": "2.00"}
    leaving = {"successor": "large@1", "deprecated_at": "2026-11-01", "sunset": "2027-11-01"}
    small = manifests.model(
        "small", "vendor", price=rates, status=status, **(leaving if status == "deprecated" else {})
    )
    return manifests.text_of(
        [manifests.team(), manifests.provider("vendor", 9), small, manifests.model("large", "vendor"), route]
    )


def stable(plane: ControlPlane) -> str:
    with plane.database.read() as tx:
        digest = rows.read_deployments(tx)["live", "chat"].stable
        return rows.read_releases(tx)[digest].id


def write_exchange(spool: Spool, plane: ControlPlane, number: int, release: str, **facts: object) -> None:
    clock: TestClock = spool.clock
    price = plane.publisher.price_of("small@1")
    assert price is not None
    at_us = clock.unix_us()
    cost = 121 * price.input_per_mtok // 1_000_000 + 10 * price.output_per_mtok // 1_000_000
    spool.write(
        intent(number, at_us, route="chat", release=release, model="small@1", provider="vendor", **facts),
        settle(number, at_us, model="small@1", provider="vendor", price_version=price.version, cost_nano_usd=cost,
               candidates=()),
    )  # fmt: skip


def test_the_release_in_force_then_and_what_it_changed(plane: ControlPlane, desk: LedgerDesk, spool: Spool) -> None:
    clock: TestClock = spool.clock
    plane.apply(text(1), file="first.yaml")
    first, first_us = stable(plane), clock.unix_us()
    clock.advance(HOUR_S)
    write_exchange(spool, plane, 1, first, revision=plane.publisher.revision())
    clock.advance(HOUR_S)
    plane.apply(text(3, fallback=True), file="second.yaml")
    second = stable(plane)
    assert second != first
    clock.advance(HOUR_S)
    at_us = clock.unix_us()
    write_exchange(spool, plane, 2, second)
    found = desk.explain(Call(TESTER, {"request_id": exchange_id(1, first_us + int(HOUR_S * 1e6))}))
    decided = found["decided"]
    assert (decided["release"], decided["previous"], decided["differs"]) == (first, None, [])
    assert (decided["changed_by"], decided["targets"]) == ("tester", {"small@1": 1})
    assert decided["note"].startswith("first.yaml")
    assert decided["revision_at"] is not None
    found = desk.explain(Call(TESTER, {"request_id": exchange_id(2, at_us)}))
    decided = found["decided"]
    assert (decided["release"], decided["previous"]) == (second, first)
    assert decided["differs"] == [
        {"field": "targets.small@1", "before": "weight 1", "after": "weight 3"},
        {"field": "fallback", "before": None, "after": "large@1"},
    ]
    (told,) = [sentence for sentence in found["summary"] if "was put in force" in sentence]
    assert f"from {first} before it differs: targets.small@1 weight 1 → weight 3; fallback nothing → large@1." in told


def test_status_and_price_are_those_of_then(plane: ControlPlane, desk: LedgerDesk, spool: Spool) -> None:
    clock: TestClock = spool.clock
    plane.apply(text(1, price="1.00"))
    clock.advance(HOUR_S)
    at_us = clock.unix_us()
    write_exchange(spool, plane, 1, stable(plane))
    clock.advance(HOUR_S)
    plane.apply(text(1, price="7.00", status="deprecated"))
    found = desk.explain(Call(TESTER, {"request_id": exchange_id(1, at_us)}))
    assert found["models"] == [
        {"model": "acme-small@2026-08", "status_then": None, "status_now": None, "owner": None},
        {"model": "small@1", "status_then": "approved", "status_now": "deprecated", "owner": "testers"},
    ]
    lines = {line["bucket"]: line for line in found["cost_lines"]}
    assert lines["input"]["usd_per_mtok"] == "1.000000000"
    assert sum(Decimal(line["cost_usd"]) for line in lines.values()) == Decimal(found["cost_usd"])


def test_the_key_is_named_with_its_maker_and_end(plane: ControlPlane, desk: LedgerDesk, spool: Spool) -> None:
    plane.apply(manifests.text_of([manifests.team(), manifests.app("shop")]))
    key = plane.keys.create("tester", "shop", "live")
    spool.write(refusal(1, key_id=key.id))
    plane.keys.revoke("tester", key.id)
    found = desk.explain(Call(TESTER, {"request_id": exchange_id(1)}))
    assert (found["key"]["id"], found["key"]["created_by"], found["key"]["expires_at"]) == (key.id, "tester", None)
    assert found["key"]["revoked_at"] is not None
    assert found["decided"] is None
    spool.write(refusal(2, key_id="never-made"))
    assert desk.explain(Call(TESTER, {"request_id": exchange_id(2)}))["key"] is None
