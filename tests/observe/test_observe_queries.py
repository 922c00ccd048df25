"""Usage, logs and explain say the same of the same exchanges, on SQLite and PostgreSQL."""

from decimal import Decimal

import pytest

from lineclear.base.clock import Clock
from lineclear.control.endpoint import AdminCode, Call, Refused, check_endpoints
from lineclear.control.ingest.ingest import Ingest
from lineclear.control.ledger.http import CheckRequest, LedgerDesk, ledger_endpoints
from lineclear.domain.access import PrincipalKind, with_every_role
from lineclear.domain.entry import HOUR_US
from lineclear.domain.ledger import AttemptRecord
from lineclear.domain.money import Price, Usage
from lineclear.observe.period import instant_us, period_of, time_text
from lineclear.observe.usage import FIGURES
from lineclear.store.ledger import Ledger
from lineclear.testing.clock import START_UNIX_US
from lineclear.testing.records import Spool, exchange_id, intent, refusal, settle

ADMIN = with_every_role("admin", PrincipalKind.ADMIN_TOKEN)
PRICE = Price(version="manifest/1", input_per_mtok=150_000_000, output_per_mtok=600_000_000)
COST = 24_150
"""121 input tokens at 0.15 USD and 10 output tokens at 0.60 USD per million: 18,150 + 6,000 nano-USD."""


@pytest.fixture
def desk(ledger: Ledger, spool: Spool) -> LedgerDesk:
    clock: Clock = spool.clock
    ingest = Ingest(ledger, spool.directory, clock, accountant_positions=dict)
    return LedgerDesk(ledger, ingest, clock, {"acme-small@2026-08": PRICE}.get)


def ask(query: dict[str, str] | None = None, *, path: dict[str, str] | None = None, body: object = None) -> Call:
    return Call(ADMIN, path or {}, query or {}, body)


def write_day(spool: Spool) -> None:
    spool.write(
        intent(1),
        settle(1, price_version="manifest/1"),
        intent(2, app="other"),
        settle(2, outcome="failed", status=502, error_code="upstream_error", cost_nano_usd=0, usage=Usage()),
        intent(3, route="second"),
        settle(3, cost_basis="unpriced", cost_nano_usd=0, usage=Usage(100, 20, 3, 4, 50, 6)),
        intent(4, route="second"),
        settle(4, cost_basis="estimated", cost_nano_usd=5_000, waste_nano_usd=7),
        refusal(5),
        intent(6, route="second", inbound_id="callers-own-id"),
        settle(6, outcome="client_gone", status=0),
    )


def test_usage_sums_by_what_is_asked(desk: LedgerDesk, spool: Spool) -> None:
    write_day(spool)
    report = desk.usage(ask({"by": "route"}))
    rows = {row["route"]: row for row in report.rows}
    assert set(rows) == {"support-chat", "second"}
    second = rows["second"]
    assert (second["requests"], second["errors"], second["unpriced_requests"]) == (3, 0, 1)
    assert second["input_tokens"] == (100 + 20 + 3 + 4) + 121 + 121
    assert second["output_tokens"] == (50 + 6) + 10 + 10
    assert (second["cache_read_tokens"], second["cache_write_tokens"], second["reasoning_tokens"]) == (20, 7, 6)
    assert second["cost_usd"] == f"0.{5_000 + COST:09d}"
    assert (second["estimated_cost_usd"], second["waste_usd"]) == ("0.000005000", "0.000000007")
    first = rows["support-chat"]
    assert (first["requests"], first["errors"], first["refused"]) == (3, 2, 1)
    assert report.total["requests"] == 6
    assert Decimal(report.total["cost_usd"]) == sum(Decimal(row["cost_usd"]) for row in report.rows)


def test_usage_by_several_and_narrowed(desk: LedgerDesk, spool: Spool) -> None:
    write_day(spool)
    report = desk.usage(ask({"by": "app,outcome,day", "route": "support-chat"}))
    found = {(row["app"], row["outcome"], row["day"]): row["requests"] for row in report.rows}
    assert found == {
        ("shop", "ok", "2027-01-15"): 1,
        ("other", "failed", "2027-01-15"): 1,
        ("shop", "refused", "2027-01-15"): 1,
    }


def test_usage_counts_only_the_hours_asked_for(desk: LedgerDesk, spool: Spool) -> None:
    for number, hours in enumerate((0, 1, 5, 30)):
        spool.write(intent(number, START_UNIX_US + hours * HOUR_US), settle(number, START_UNIX_US + hours * HOUR_US))
    spool.clock.advance(31 * 3600)
    assert desk.usage(ask()).total["requests"] == 4
    assert desk.usage(ask({"since": "26h"})).total["requests"] == 2
    assert desk.usage(ask({"since": "2027-01-15T09:00", "until": "2027-01-15T13:00"})).total["requests"] == 1
    assert desk.usage(ask({"since": "2027-01-15T09:00", "until": "2027-01-15T13:30Z"})).total["requests"] == 2


def test_usage_tells_only_the_figures_asked_for(desk: LedgerDesk, spool: Spool) -> None:
    write_day(spool)
    whole = desk.usage(ask({"by": "route"}))
    assert tuple(whole.total) == FIGURES
    for figures in ("cost_usd", "requests,errors,waste_usd", "latency_ms_p95", *FIGURES):
        names = figures.split(",")
        part = desk.usage(ask({"by": "route", "figures": figures}))
        assert part.total == {name: whole.total[name] for name in names}
        assert part.rows == [{name: row[name] for name in ("route", *names)} for row in whole.rows]


@pytest.mark.parametrize(
    "query",
    [
        {"by": "caller"},
        {"figures": "requests,smiles"},
        {"since": "soon"},
        {"since": "2027-02-01", "until": "2027-01-01"},
    ],
)
def test_usage_refuses_what_it_does_not_know(desk: LedgerDesk, query: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        desk.usage(ask(query))
    assert caught.value.code is AdminCode.INVALID_REQUEST


def test_logs_are_newest_first_and_page(desk: LedgerDesk, spool: Spool) -> None:
    write_day(spool)
    page = desk.logs(ask({"limit": "4"}))
    assert [row["id"] for row in page.rows] == [exchange_id(number) for number in (6, 5, 4, 3)]
    rest = desk.logs(ask({"limit": "4", "before": page.before or ""}))
    assert [row["id"] for row in rest.rows] == [exchange_id(2), exchange_id(1)]
    assert rest.before is None
    (refused,) = desk.logs(ask({"outcome": "refused"})).rows
    assert (refused["error_code"], refused["cost_basis"], refused["status"]) == ("rate_limited", None, 429)
    assert [row["id"] for row in desk.logs(ask({"app": "other"})).rows] == [exchange_id(2)]
    assert [row["id"] for row in desk.logs(ask({"find": "callers-own-id"})).rows] == [exchange_id(6)]
    spool.write(intent(7, operation="embeddings"), settle(7))
    assert [row["id"] for row in desk.logs(ask({"operation": "embeddings"})).rows] == [exchange_id(7)]
    for limit in ("0", "x", "²", "100001"):
        with pytest.raises(Refused):
            desk.logs(ask({"limit": limit}))


def test_explain_adds_up(desk: LedgerDesk, spool: Spool) -> None:
    write_day(spool)
    found = desk.explain(ask(path={"request_id": exchange_id(1)}))
    assert found["cost_usd"] == f"0.{COST:09d}"
    lines = {line["bucket"]: line for line in found["cost_lines"]}
    assert (lines["input"]["tokens"], lines["input"]["usd_per_mtok"]) == (121, "0.150000000")
    assert sum(Decimal(line["cost_usd"]) for line in lines.values()) == Decimal(found["cost_usd"])
    assert found["attempts"][0]["attempt_class"] == "ok"
    assert found["candidates"][1] == {"model": "acme-large@2026-08", "score": 0.0, "exclusion": "weight is 0"}
    assert found["steps_us"]["head"] == 10
    assert found["usage"]["input_tokens"] == 121
    (line,) = [row for row in desk.logs(ask()).rows if row["id"] == exchange_id(1)]
    assert (line["cost_usd"], line["cost_basis"]) == (found["cost_usd"], found["cost_basis"])


def test_what_has_no_price_is_not_shown_as_free(desk: LedgerDesk, spool: Spool) -> None:
    free = AttemptRecord(1, "acme-small@2026-08", "acme", "ok", 200, "", 900, 2000, "up-1", 0)
    spool.write(intent(1), settle(1, cost_basis="unpriced", cost_nano_usd=0, attempts=(free,)))
    spool.write(intent(2), settle(2, cost_basis="priced", cost_nano_usd=0, attempts=(free,)))
    spool.write(refusal(3), intent(4), settle(4))
    costs = {row["id"]: (row["cost_usd"], row["cost_basis"]) for row in desk.logs(ask()).rows}
    assert costs[exchange_id(1)] == (None, "unpriced")
    assert costs[exchange_id(2)] == ("0.000000000", "priced")
    assert costs[exchange_id(3)] == ("0.000000000", None)
    unpriced, priced = (desk.explain(ask(path={"request_id": exchange_id(number)})) for number in (1, 2))
    assert (unpriced["cost_usd"], unpriced["cost_basis"], unpriced["attempts"][0]["cost_usd"]) == (
        None,
        "unpriced",
        None,
    )
    assert (priced["cost_usd"], priced["attempts"][0]["cost_usd"]) == ("0.000000000", "0.000000000")
    (row,) = desk.usage(ask()).rows
    assert (row["cost_usd"], row["unpriced_requests"]) == (f"0.{COST:09d}", 1)


def test_cost_lines_are_left_out_where_they_would_mislead(desk: LedgerDesk, spool: Spool) -> None:
    spool.write(intent(1), settle(1, price_version="manifest/1", cost_nano_usd=COST + 1), intent(2), settle(2))
    for number in (1, 2):
        assert desk.explain(ask(path={"request_id": exchange_id(number)}))["cost_lines"] is None


def test_explain_knows_other_peoples_ids_and_what_is_open(desk: LedgerDesk, spool: Spool) -> None:
    write_day(spool)
    spool.write(intent(7))
    assert desk.explain(ask(path={"request_id": "callers-own-id"}))["id"] == exchange_id(6)
    assert desk.explain(ask(path={"request_id": exchange_id(7)}))["outcome"] == "open"
    with pytest.raises(Refused) as caught:
        desk.explain(ask(path={"request_id": "req_nobody"}))
    assert caught.value.code is AdminCode.NOT_FOUND


def test_check_over_the_api(desk: LedgerDesk, spool: Spool) -> None:
    write_day(spool)
    served = [f"{exchange_id(number)}.1 200 121 10" for number in (1, 4, 6)]
    others = [f"{exchange_id(2)}.1 - - -", f"{exchange_id(3)}.1 200 - -"]
    assert desk.check(ask(body=CheckRequest())).ok
    verdict = desk.check(ask(body=CheckRequest("\n".join(served + others))))
    assert (verdict.ok, verdict.dispatches, verdict.unseen) == (True, 5, 0)
    unseen = desk.check(ask(body=CheckRequest("\n".join(served[:2] + others))))
    assert (unseen.ok, unseen.unseen) == (False, 1)
    with pytest.raises(Refused, match="line 1"):
        desk.check(ask(body=CheckRequest("nonsense")))


def test_endpoints_can_be_served(desk: LedgerDesk) -> None:
    check_endpoints(ledger_endpoints(desk))


def test_times() -> None:
    now = START_UNIX_US
    assert instant_us("90m", now) == now - 90 * 60_000_000
    assert instant_us("2027-01-15T08:00:00+01:00", now) == now - HOUR_US
    assert time_text(now + 250_999) == "2027-01-15T08:00:00.250Z"
    assert period_of(None, None, now).until_us > now


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "tomorrow"])
def test_a_time_that_cannot_be_told_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="nor a time"):
        instant_us(text, START_UNIX_US)


def follow(desk: LedgerDesk, after: str, **narrow: str) -> tuple[list[str], str]:
    page = desk.logs(ask({"after": after, **narrow}))
    assert page.after is not None
    return [row["id"] for row in page.rows], page.after


def test_following_gives_every_line_once_in_the_order_of_arrival(desk: LedgerDesk, spool: Spool) -> None:
    write_day(spool)
    spool.write(intent(20))
    seen, after = follow(desk, "newest")
    assert seen == []
    # What began earlier and ends now has an older id than what is there already, and comes all the same.
    spool.write(intent(7), settle(7), settle(20))
    seen, after = follow(desk, after)
    assert seen == [exchange_id(7), exchange_id(20)]
    assert follow(desk, after)[0] == []
    for number in range(30, 60):
        spool.write(intent(number), settle(number))
    found: list[str] = []
    while len(found) < 30:
        rows, after = follow(desk, after, limit="7")
        assert 0 < len(rows) <= 7
        found += rows
    assert found == [exchange_id(number) for number in range(30, 60)]
    assert follow(desk, after)[0] == []


def test_following_goes_on_over_midnight_and_from_an_empty_ledger(desk: LedgerDesk, spool: Spool) -> None:
    _, after = follow(desk, "newest")
    day_us = 24 * HOUR_US
    late = START_UNIX_US + day_us
    spool.write(intent(1), settle(1), intent(2, late), settle(2, late))
    rows, after = follow(desk, after)
    assert rows == [exchange_id(1), exchange_id(2, late)]
    spool.write(intent(3), settle(3), intent(4, late), settle(4, late), intent(5, late + day_us))
    rows, after = follow(desk, after)
    assert sorted(rows) == [exchange_id(3), exchange_id(4, late)]
    for days in range(1, 6):
        spool.write(intent(9, late + days * day_us), settle(9, late + days * day_us))
    assert len(follow(desk, after)[0]) == 5
    assert follow(desk, follow(desk, after)[1])[0] == []


def test_following_is_narrowed_like_a_list(desk: LedgerDesk, spool: Spool) -> None:
    _, after = follow(desk, "newest")
    write_day(spool)
    for narrow in ({"route": "second"}, {"errors": "true"}, {"status": "4xx"}, {"find": "callers-own-id"}):
        listed = [row["id"] for row in desk.logs(ask(dict(narrow))).rows]
        assert listed
        assert follow(desk, after, **narrow)[0] == sorted(listed)
    assert [row["id"] for row in desk.logs(ask({"errors": "true"})).rows] == [exchange_id(5), exchange_id(2)]
    assert [row["id"] for row in desk.logs(ask({"status": "502"})).rows] == [exchange_id(2)]


@pytest.mark.parametrize(
    "query",
    [{"after": "somewhere"}, {"after": "1.2"}, {"after": "newest", "since": "1h"}, {"status": "6xx"}, {"errors": "1"}],
)
def test_logs_refuse_what_they_do_not_know(desk: LedgerDesk, query: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        desk.logs(ask(query))
    assert caught.value.code is AdminCode.INVALID_REQUEST
