"""The invented history: what the ledger says is what its maker says, and every record follows the product's rules."""

import random
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from lineclear.accountant.books import Books
from lineclear.accountant.fold import Fold
from lineclear.accountant.reservation import Moment
from lineclear.base.seal import Keys
from lineclear.demo.callers import CALLERS, Rhythm
from lineclear.demo.clock import HistoryClock
from lineclear.demo.history import History
from lineclear.demo.rhythm import arrivals
from lineclear.demo.story import Turn, tell
from lineclear.domain.entry import DAY_US, HOUR_US
from lineclear.domain.ledger import STEPS, Checkpoint, Heartbeat, Intent, Outcome, Record, Refusal, Settle
from lineclear.domain.money import CostBasis, Price, cost_nano_usd, nano_usd, usd_text
from lineclear.gateway.live import Live
from lineclear.gateway.recover import ATTEMPTS_MAX
from lineclear.gateway.snapshot import Snapshot, compile_snapshot
from lineclear.handover.demo_mark import DemoMark, read_demo_mark
from lineclear.handover.segment import list_segments, read_header, read_segment
from lineclear.handover.snapshot_dir import SnapshotReader
from lineclear.observe.check import check_ledger
from lineclear.observe.period import Period
from lineclear.observe.usage import UsageQuestion, UsageReport, sum_usage
from lineclear.store.ledger import Ledger
from lineclear.testing.told import DAYS, UNTIL_US, Told


def ledger_of(told: Told) -> Ledger:
    return Ledger.open(told.data_dir / "ledger")


def usage(told: Told, *by: str) -> UsageReport:
    ledger = ledger_of(told)
    try:
        period = Period(told.history.story.start_us, UNTIL_US)
        return sum_usage(ledger, UsageQuestion(by, period, {}))
    finally:
        ledger.close()


@cache
def records_of(directory: Path) -> list[Record]:
    """Every record of the spool, in order."""
    found: list[Record] = []
    for name in list_segments(directory / "spool"):
        offset = 0
        while True:
            batch = read_segment(name.path, offset)
            if batch.offset == offset:
                break
            found += batch.records
            offset = batch.offset
    return found


def settled(told: Told) -> list[tuple[Intent, Settle]]:
    records = records_of(told.data_dir)
    intents = {record.id: record for record in records if isinstance(record, Intent)}
    return [(intents[record.id], record) for record in records if isinstance(record, Settle)]


def snapshot_of(told: Told) -> Snapshot:
    """The last one."""
    key = bytes.fromhex((told.data_dir / "master.key").read_text().strip())
    loaded = SnapshotReader(told.data_dir / "snapshot", Keys(key)).load()
    return compile_snapshot(loaded.manifest, loaded.sections, "run", Live(HistoryClock(UNTIL_US)))


# what the ledger says


def test_usage_is_the_makers_own_sums_to_the_nano_usd(told: Told) -> None:
    figures = told.history.figures
    total = usage(told).total
    assert total["requests"] == figures.requests
    assert total["errors"] == figures.errors
    assert total["cost_usd"] == usd_text(figures.cost_nano_usd)
    assert total["unpriced_requests"] == figures.unpriced_requests
    assert total["input_tokens"] == figures.input_tokens
    assert total["output_tokens"] == figures.output_tokens
    by_app = {row["app"]: nano_usd(row["cost_usd"]) for row in usage(told, "app").rows}
    assert by_app == {app: figures.cost_by_app[app] for app in by_app}
    by_outcome = {row["outcome"]: row["requests"] for row in usage(told, "outcome").rows}
    assert by_outcome == figures.by_outcome


def test_ledger_check_finds_nothing(told: Told) -> None:
    ledger = ledger_of(told)
    prices = {
        one.model: one.price
        for route in snapshot_of(told).routes.values()
        for admission in route.admissions.values()
        for order in admission.orders
        for one in order.candidates
    }

    def price_of(version: str) -> Price | None:
        return prices.get(version)

    verdict = check_ledger(ledger, {}, None, price_of)
    ledger.close()
    assert verdict.ok, verdict.problems
    assert verdict.intents == verdict.settles == told.history.figures.intents
    assert verdict.refusals == told.history.figures.refusals
    assert verdict.orphans_closed == verdict.torn_tails == 0


def test_segments_say_that_they_are_a_demo(told: Told) -> None:
    segments = list_segments(told.data_dir / "spool")
    assert segments
    assert all(read_header(segment.path).source.startswith("demo-") for segment in segments)
    assert isinstance(records_of(told.data_dir)[-1], Heartbeat)


def test_directory_is_marked(told: Told) -> None:
    assert read_demo_mark(told.data_dir) == DemoMark(told.made.seed, DAYS, UNTIL_US, is_complete=True)


def test_progress_is_told_for_each_day(told: Told) -> None:
    assert [days for days, _ in told.reports][-1] == DAYS
    requests = [requests for _, requests in told.reports]
    assert requests == sorted(requests)
    assert requests[-1] == told.made.requests


def test_books_hold_what_the_history_spent_this_month(told: Told) -> None:
    books = Books()
    Fold(told.data_dir / "spool", books, {}).catch_up(Moment(UNTIL_US, UNTIL_US // 1_000_000))
    month = f"{datetime.fromtimestamp(UNTIL_US / 1e6, UTC):%Y-%m}"
    spent: Counter[str] = Counter()
    for intent, settle in settled(told):
        if f"{datetime.fromtimestamp(intent.at_us / 1e6, UTC):%Y-%m}" == month:
            spent.update(dict.fromkeys(intent.accounts, settle.cost_nano_usd))
    assert spent["app:product-writer"] > 0
    posted = {account: row.posted for (account, period), row in books.rows.items() if period == month}
    assert posted == dict(spent)
    assert not books.open


# what is in it


def test_history_has_every_way_to_end(told: Told) -> None:
    figures = told.history.figures
    ends = {Outcome.OK, Outcome.REFUSED, Outcome.REJECTED, Outcome.FAILED, Outcome.TRUNCATED, Outcome.CLIENT_GONE}
    assert set(figures.by_outcome) == {end.value for end in ends}
    assert set(figures.by_basis) == {basis.value for basis in CostBasis}
    assert figures.by_error.keys() >= {
        "budget_exceeded", "rate_limited", "model_not_found", "data_class_refused", "task_not_allowed",
        "model_blocked", "upstream_rate_limited", "upstream_overloaded", "upstream_truncated",
    }  # fmt: skip


def test_days_have_a_rhythm(told: Told) -> None:
    by_weekday: Counter[int] = Counter()
    by_hour: Counter[int] = Counter()
    for intent, _ in settled(told):
        if intent.app == "invoice-desk":
            moment = datetime.fromtimestamp(intent.at_us / 1e6, UTC)
            by_weekday[moment.weekday()] += 1
            by_hour[moment.hour] += 1
    assert by_weekday[6] < by_weekday[1] / 5
    assert by_hour[3] == 0 < by_hour[9]


def test_outage_is_seen_and_survived_by_fallback(told: Told) -> None:
    spell = next(spell for spell in told.history.story.spells if spell.provider == "aurora")
    chats = [
        settle
        for intent, settle in settled(told)
        if intent.route == "support-chat" and intent.environment == "live"
        and spell.start_us < intent.at_us < spell.end_us
    ]  # fmt: skip
    assert chats
    served = Counter(settle.provider for settle in chats)
    assert served["meridian"] > served["aurora"]
    assert any("ejected after" in one.exclusion for settle in chats for one in settle.candidates)
    assert any(len(settle.attempts) > 1 and settle.outcome == Outcome.OK for settle in chats)


def test_runaway_job_meets_its_budget_until_that_is_raised(told: Told) -> None:
    start_us, end_us = told.history.story.runaway_us
    raised_us = next(turn.at_us for turn in told.history.story.turns if turn.file == "higher-budget.yaml")
    refused = [
        intent.at_us
        for intent, settle in settled(told)
        if settle.error_code == "budget_exceeded"
        and settle.status == 402
        and [rule.partition(":")[0] for rule in settle.rules] == ["limit.budget"]
    ]
    assert sum(start_us < at_us < end_us for at_us in refused) > 100
    assert all(start_us < at_us < raised_us for at_us in refused)


# whether it follows the rules


def test_every_settle_adds_up(told: Told) -> None:
    for intent, settle in settled(told):
        assert sum(settle.steps_us) == settle.duration_us == settle.at_us - intent.at_us
        assert len(settle.steps_us) <= len(STEPS)
        assert settle.first_event_us <= settle.duration_us
        assert settle.waste_nano_usd == sum(
            one.cost_nano_usd for one in settle.attempts if one.attempt_class == "ambiguous"
        )
        if settle.outcome == Outcome.OK:
            assert len(settle.steps_us) == len(STEPS)
            assert settle.attempts[-1].attempt_class == "ok"
            assert settle.attempts[-1].cost_nano_usd == settle.cost_nano_usd
            assert settle.attempts[-1].model == settle.model


def test_costs_are_the_usage_at_the_cards_price(told: Told) -> None:
    prices = {
        one.model: one.price
        for route in snapshot_of(told).routes.values()
        for admission in route.admissions.values()
        for order in admission.orders
        for one in order.candidates
    }
    seen: Counter[str] = Counter()
    for _, settle in settled(told):
        price = prices.get(settle.model)
        if settle.cost_basis in (CostBasis.PRICED, CostBasis.ESTIMATED) and price is not None:
            assert settle.price_version == price.version
            assert settle.cost_nano_usd == cost_nano_usd(settle.usage, price)
            seen[settle.cost_basis] += 1
            seen["cached"] += settle.usage.cache_read_tokens > 0
        elif settle.cost_basis == CostBasis.REPORTED:
            assert settle.cost_nano_usd == settle.usage.reported_cost_nano_usd
    assert seen["priced"] > 1_000
    assert seen["estimated"] > 10
    assert seen["cached"] > 100


def test_attempts_follow_the_candidates(told: Told) -> None:
    records = records_of(told.data_dir)
    checkpoints = Counter(record.id for record in records if isinstance(record, Checkpoint))
    for intent, settle in settled(told):
        tried = [one.attempt for one in settle.attempts]
        assert tried == list(range(1, len(tried) + 1))
        assert len(tried) <= ATTEMPTS_MAX
        assert checkpoints[settle.id] == max(0, len(tried) - 1)
        allowed = [one.model for one in settle.candidates if not one.exclusion]
        assert {one.model for one in settle.attempts} <= set(allowed)
        assert intent.model == allowed[0]
        ends_us = [one.start_us + one.duration_us for one in settle.attempts]
        assert all(end <= one.start_us for end, one in zip(ends_us, settle.attempts[1:], strict=False))


def test_refusals_name_their_rule(told: Told) -> None:
    rules = {
        (record.error_code, record.status, record.rules)
        for record in records_of(told.data_dir)
        if isinstance(record, Refusal)
    }
    assert rules >= {
        ("model_not_found", 404, ()),
        ("task_not_allowed", 403, ("task.not-listed",)),
        ("data_class_refused", 403, ("data-class.above-card",)),
        ("model_blocked", 403, ("status.blocked",)),
    }


def test_revisions_grow_with_the_turns(told: Told) -> None:
    turns = told.history.story.turns
    releases: dict[str, set[str]] = {}
    revisions: list[int] = []
    for intent, _ in settled(told):
        revisions.append(intent.revision)
        if intent.environment == "live":
            releases.setdefault(intent.route, set()).add(intent.release)
    assert revisions == sorted(revisions)
    assert len(set(revisions)) == len(turns)
    assert len(releases["support-chat"]) == 2
    assert len(releases["ticket-triage"]) == 1


# the same again


def test_same_seed_tells_the_same(told: Told) -> None:
    def again(seed: int) -> list[Record]:
        snapshot = snapshot_of(told)
        clock = HistoryClock(UNTIL_US)
        keys = {(caller.app, caller.environment): f"key-of-{caller.app}" for caller in CALLERS}

        def turn(_: Turn) -> tuple[Snapshot, dict[tuple[str, str], str]]:
            return snapshot, keys

        history = History(tell(1, UNTIL_US), seed, clock)
        return [record for batch in history.records(turn) for record in batch]

    first = again(3)
    assert len(first) > 2_000
    assert first == again(3)
    assert first != again(4)


@pytest.mark.parametrize("weekday", range(7))
@pytest.mark.parametrize("days", [1, 2, 5, 6, 7, 10, 30, 180])
def test_story_fits_into_its_days(days: int, weekday: int) -> None:
    until_us = UNTIL_US + weekday * DAY_US
    story = tell(days, until_us)
    assert story.turns[0].at_us == story.start_us == until_us - days * DAY_US
    instants = [turn.at_us for turn in story.turns]
    assert instants == sorted(instants)
    edges = [*instants, *story.runaway_us]
    edges += [edge for spell in story.spells for edge in (spell.start_us, spell.end_us)]
    assert all(story.start_us <= edge <= until_us for edge in edges)


def test_mail_comes_at_once_in_the_morning() -> None:
    sorter = next(caller for caller in CALLERS if caller.rhythm is Rhythm.MAIL)
    monday_us = int(datetime(2026, 11, 16, tzinfo=UTC).timestamp()) * 1_000_000
    found = arrivals(sorter, monday_us, random.Random("mail"))
    assert found == sorted(found)
    six_us = monday_us + 6 * HOUR_US
    assert sum(six_us <= at_us < six_us + HOUR_US // 60 for at_us in found) > 60
