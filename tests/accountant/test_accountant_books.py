"""The books alone: each limit, each way a reservation may end, each account or none."""

import pytest

from lineclear.accountant.books import (
    ACCOUNT_SETS_MAX,
    FORGOTTEN_AT_ONCE,
    RESOLVED_MAX,
    UNCONFIRMED_MAX,
    Books,
)
from lineclear.accountant.reservation import Moment, Source
from lineclear.accountant.state import StateUnreadable, dump_books, load_books
from lineclear.domain.accounts import Denied, Extend, Granted, Op, Reply, Reserve, SettleAccount, Void
from lineclear.domain.limits import LEASE_GRACE_S, RESERVATION_TTL_S
from lineclear.domain.snapshot import AccountLimits, BudgetLimit, LimitsSection

START_S = 1_800_000_000
"""2027-01-15 08:00 UTC."""


class World:
    """Books with one connected gateway and a clock that is moved by hand."""

    def __init__(self, **limits: AccountLimits) -> None:
        self.books = Books()
        self.limits = LimitsSection({name.replace("_", ":"): limit for name, limit in limits.items()})
        self.books.apply_limits(self.limits)
        self.passed_us = 0
        self.gateway = self.books.hello("gw", (), self.at)

    @property
    def at(self) -> Moment:
        return Moment(10**9 + self.passed_us, START_S + self.passed_us // 1_000_000)

    def pass_s(self, seconds: float) -> None:
        self.passed_us += int(seconds * 1_000_000)

    def do(self, op: Op, source: Source | None = None) -> Reply | None:
        return self.books.act(op, source or self.gateway, self.at)

    def granted(self, op: Reserve | Extend) -> Granted:
        reply = self.do(op)
        assert isinstance(reply, Granted), reply
        return reply

    def denied(self, op: Reserve | Extend) -> Denied:
        reply = self.do(op)
        assert isinstance(reply, Denied), reply
        return reply

    def money(self, account: str = "app:shop") -> tuple[int, int]:
        row = self.books.account_now(account, self.at.wall_s).row
        return row.posted, row.pending

    def restart(self) -> None:
        self.books = load_books(dump_books(self.books, self.at), self.at)
        self.books.apply_limits(self.limits)
        self.gateway = self.books.hello("gw", (), self.at)


def limit(
    rpm: int | None = None, tpm: int | None = None, slots: int | None = None, nano: int | None = None, zone: str = "UTC"
) -> AccountLimits:
    return AccountLimits(rpm, tpm, slots, None if nano is None else BudgetLimit(nano, zone))


def reserve(txn: str, nano: int = 10, tokens: int = 100, accounts: tuple[str, ...] = ("app:shop",)) -> Reserve:
    return Reserve(txn, accounts, tokens, nano)


def test_a_budget_takes_what_fits_and_says_when_it_begins_anew() -> None:
    world = World(app_shop=limit(nano=25))
    assert world.granted(reserve("a")).budget_remaining_nano_usd == 15
    assert world.granted(reserve("b")).budget_remaining_nano_usd == 5
    denied = world.denied(reserve("c"))
    assert (denied.account, denied.binding, denied.limit) == ("app:shop", "budget", 25)
    assert denied.resets_at == 1_801_440_000
    assert denied.retry_after_ms == (1_801_440_000 - START_S) * 1000
    assert denied.left == Granted("c", 5)
    world.granted(reserve("d", nano=5))
    world.do(SettleAccount("a", 100, 4))
    world.do(Void("b"))
    assert world.money() == (4, 5)
    world.granted(reserve("e", nano=16))
    assert isinstance(world.do(reserve("f", nano=1)), Denied)
    world.granted(reserve("g", nano=0))


def test_the_next_month_is_another_row_and_an_open_call_posts_where_it_was_reserved() -> None:
    world = World(app_shop=limit(nano=10, zone="Pacific/Kiritimati"))
    world.granted(reserve("a"))
    world.denied(reserve("b"))
    world.pass_s(1_801_440_000 - 14 * 3600 - START_S)
    assert world.money() == (0, 0)
    world.granted(reserve("c"))
    world.do(SettleAccount("a", 100, 7))
    assert world.books.rows["app:shop", "2027-01"].posted == 7
    assert world.money() == (0, 10)


def test_all_accounts_or_none() -> None:
    world = World(app_shop=limit(nano=1000, rpm=100, tpm=10_000, slots=10), team_t=limit(slots=1))
    both = ("app:shop", "team:t")
    world.granted(reserve("a", accounts=both))
    denied = world.denied(reserve("b", accounts=both))
    assert (denied.account, denied.binding, denied.retry_after_ms) == ("team:t", "concurrency", None)
    shop = world.books.account("app:shop")
    assert world.money() == (0, 10)
    assert shop.open_slots == 1
    assert world.granted(reserve("c")).requests_remaining == 98


def test_money_says_no_before_rates_do() -> None:
    world = World(app_shop=limit(rpm=0), team_t=limit(nano=0))
    assert world.denied(reserve("a", accounts=("app:shop", "team:t"))).binding == "budget"
    assert world.denied(reserve("b")).binding == "requests"


def test_requests_a_minute_with_the_exact_wait() -> None:
    world = World(app_shop=limit(rpm=3))
    for number, left in enumerate((2, 1, 0)):
        granted = world.granted(reserve(f"r{number}"))
        assert (granted.requests_limit, granted.requests_remaining) == (3, left)
    denied = world.denied(reserve("d"))
    assert (denied.binding, denied.limit, denied.retry_after_ms, denied.resets_at) == ("requests", 3, 20_000, 0)
    world.pass_s(19.999)
    world.denied(reserve("e"))
    world.pass_s(0.001)
    world.granted(reserve("f"))
    world.do(Void("f"))
    world.granted(reserve("g"))


def test_tokens_are_corrected_to_what_was_used() -> None:
    world = World(app_shop=limit(tpm=1000))
    assert world.granted(reserve("a", tokens=900)).tokens_remaining == 100
    assert world.denied(reserve("b", tokens=101)).binding == "tokens"
    world.do(SettleAccount("a", 300, 0))
    assert world.granted(reserve("c", tokens=700)).tokens_remaining == 0
    world.do(SettleAccount("c", 1700, 0))
    denied = world.denied(reserve("d", tokens=0))
    assert denied.retry_after_ms == 60_000
    impossible = world.denied(reserve("e", tokens=1001))
    assert impossible.retry_after_ms is None


def test_concurrency_counts_what_is_open() -> None:
    world = World(app_shop=limit(slots=2))
    world.granted(reserve("a"))
    world.granted(reserve("b"))
    world.denied(reserve("c"))
    world.do(SettleAccount("a", 1, 1))
    world.granted(reserve("d"))


def test_extending_is_checked_like_reserving_and_takes_no_request() -> None:
    world = World(app_shop=limit(nano=30, rpm=1, slots=1))
    world.granted(reserve("a"))
    assert world.granted(Extend("a", 50, 20)).budget_remaining_nano_usd == 0
    assert world.denied(Extend("a", 0, 1)).binding == "budget"
    assert world.money() == (0, 30)
    assert world.denied(Extend("unknown", 0, 1)).account == ""
    world.do(SettleAccount("a", 50, 12))
    assert world.money() == (12, 0)


def test_an_actual_above_the_reservation_is_posted_and_closes_the_account() -> None:
    world = World(app_shop=limit(nano=20))
    world.granted(reserve("a"))
    world.do(SettleAccount("a", 100, 50))
    assert world.money() == (50, 0)
    assert world.books.counters["accounts_overruns"] == 1
    world.denied(reserve("b", nano=0))


def test_everything_may_be_said_twice() -> None:
    world = World(app_shop=limit(nano=100, rpm=10, slots=5))
    for _ in range(3):
        assert world.granted(reserve("a")).requests_remaining == 9
    for _ in range(3):
        assert world.do(SettleAccount("a", 100, 6)) is None
        assert world.do(Void("a")) is None
    assert world.money() == (6, 0)
    world.granted(reserve("b"))
    for _ in range(3):
        world.do(Void("b"))
        world.do(SettleAccount("b", 100, 6))
    assert world.money() == (6, 0)
    world.denied(reserve("b"))


def test_a_void_that_overtakes_its_reserve_wins() -> None:
    world = World(app_shop=limit(nano=100))
    world.do(Void("a"))
    world.denied(reserve("a"))
    assert world.money() == (0, 0)


def test_accounts_without_limits_pass_and_are_counted() -> None:
    world = World()
    granted = world.granted(reserve("a", accounts=("app:new",)))
    assert granted == Granted("a")
    world.do(SettleAccount("a", 1, 7))
    assert world.money("app:new") == (7, 0)
    world.books.apply_limits(LimitsSection({"app:new": limit(nano=7)}))
    world.denied(reserve("b", nano=1, accounts=("app:new",)))


def test_new_limits_keep_what_was_used() -> None:
    world = World(app_shop=limit(rpm=10, nano=10))
    world.granted(reserve("a"))
    world.books.apply_limits(LimitsSection({"app:shop": limit(rpm=2, nano=11)}))
    assert world.denied(reserve("b", nano=2)).limit == 11
    assert world.granted(reserve("c", nano=1)).requests_remaining == 0
    world.books.apply_limits(LimitsSection({}))
    world.granted(reserve("d", nano=10**12))


def test_a_limit_of_concurrency_that_comes_later_counts_what_is_open() -> None:
    world = World(app_shop=limit(nano=100))
    world.granted(reserve("a"))
    world.books.apply_limits(LimitsSection({"app:shop": limit(slots=2, tpm=1000)}))
    world.granted(reserve("b"))
    world.denied(reserve("c"))
    world.do(SettleAccount("a", 100, 1))
    world.granted(reserve("c"))
    world.books.apply_limits(LimitsSection({"app:shop": limit(slots=1)}))
    world.do(Void("b"))
    world.denied(reserve("d"))
    world.do(Void("c"))
    world.granted(reserve("d"))


def test_a_rate_that_comes_later_is_corrected_by_calls_that_were_open_before() -> None:
    world = World(app_shop=limit(nano=100))
    world.granted(reserve("a", tokens=100))
    world.books.apply_limits(LimitsSection({"app:shop": limit(tpm=1000)}))
    world.do(SettleAccount("a", 700, 1))
    assert world.granted(reserve("b", tokens=0)).tokens_remaining == 400


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="Mars"):
        World(app_shop=limit(nano=1, zone="Mars/Base"))


# What is kept


def test_resolved_calls_are_kept_up_to_a_bound_and_the_oldest_are_forgotten() -> None:
    world = World()
    world.granted(reserve("call-0"))
    world.do(SettleAccount("call-0", 1, 1))
    world.books.ledger_settle("call-0", 1, world.at)
    for number in range(1, RESOLVED_MAX + 1):
        world.do(Void(f"call-{number}"))
        world.books.ledger_settle(f"call-{number}", 0, world.at)
    assert RESOLVED_MAX - FORGOTTEN_AT_ONCE < len(world.books.confirmed) <= RESOLVED_MAX
    world.denied(reserve(f"call-{RESOLVED_MAX}"))
    world.granted(reserve("call-0"))


def test_what_the_ledger_never_confirms_is_kept_up_to_a_bound_and_counted_when_it_is_forgotten() -> None:
    world = World()
    for number in range(UNCONFIRMED_MAX + 1):
        world.do(Void(f"call-{number}"))
    books = world.books
    assert len(books.unconfirmed) == UNCONFIRMED_MAX + 1 - FORGOTTEN_AT_ONCE
    assert books.counters["accounts_forgotten_early"] == FORGOTTEN_AT_ONCE
    assert f"call-{FORGOTTEN_AT_ONCE}" == next(iter(books.unconfirmed))


def test_combinations_of_accounts_are_kept_up_to_a_bound_and_nothing_is_lost_with_them() -> None:
    world = World(app_shop=limit(nano=100))
    world.granted(reserve("a"))
    for number in range(ACCOUNT_SETS_MAX):
        world.do(reserve(f"call-{number}", nano=0, accounts=(f"app:{number % 256}", f"team:{number // 256}")))
    assert world.books.counters["accounts_sets_forgotten"] == 1
    world.denied(reserve("b", nano=91))
    world.do(SettleAccount("a", 100, 4))
    assert world.money() == (4, 0)


# Owners that go and come back


def test_slots_of_a_gone_gateway_are_freed_soon_and_its_money_after_the_ttl() -> None:
    world = World(app_shop=limit(nano=10, slots=1))
    world.granted(reserve("a"))
    world.books.ledger_checkpoint("a", 3)
    world.books.goodbye(world.gateway, world.at)
    other = world.books.hello("other", (), world.at)
    world.pass_s(LEASE_GRACE_S - 1)
    world.books.expire(world.at)
    assert isinstance(world.do(reserve("b", nano=0), other), Denied)
    world.pass_s(1)
    world.books.expire(world.at)
    assert isinstance(world.do(reserve("b", nano=0), other), Granted)
    world.do(Void("b"), other)
    world.pass_s(RESERVATION_TTL_S - LEASE_GRACE_S - 1)
    assert world.books.expire(world.at) == 0
    assert world.money() == (0, 10)
    world.pass_s(1)
    assert world.books.expire(world.at) == 1
    assert world.money() == (3, 0)
    world.do(SettleAccount("a", 100, 8))
    assert world.money() == (8, 0)
    world.do(SettleAccount("a", 100, 9))
    assert world.money() == (8, 0)


def test_a_connected_gateway_keeps_its_reservations_for_hours() -> None:
    world = World(app_shop=limit(nano=10, slots=1))
    world.granted(reserve("a"))
    world.pass_s(7200)
    assert world.books.expire(world.at) == 0
    assert world.money() == (0, 10)


def test_what_a_returning_gateway_does_not_hold_is_free_again() -> None:
    world = World(app_shop=limit(nano=20, rpm=2, slots=2))
    held = reserve("kept")
    world.granted(held)
    world.granted(reserve("lost"))
    world.books.goodbye(world.gateway, world.at)
    world.gateway = world.books.hello("gw", (held,), world.at)
    assert world.money() == (0, 10)
    # It asks again for what it never heard an answer to.
    assert world.granted(reserve("lost")).requests_remaining == 0
    assert world.money() == (0, 20)


def test_what_a_gateway_holds_is_taken_up_without_asking() -> None:
    world = World(app_shop=limit(nano=5, slots=1, rpm=1))
    held = (reserve("a", nano=50), reserve("b", nano=50))
    world.gateway = world.books.hello("gw", held, world.at)
    assert world.money() == (0, 100)
    world.do(SettleAccount("a", 100, 40))
    world.do(SettleAccount("b", 100, 40))
    assert world.money() == (80, 0)


# The ledger


def test_a_ledger_intent_opens_only_for_an_owner_that_has_not_spoken() -> None:
    world = World(app_shop=limit(nano=20))
    world.books.ledger_intent(reserve("mine"), "gw", START_S, world.at)
    assert world.money() == (0, 0)
    world.books.ledger_intent(reserve("theirs"), "silent", START_S, world.at)
    assert world.money() == (0, 10)
    held = world.books.source("silent", 0)
    world.books.hello("silent", (reserve("theirs"),), world.at)
    assert world.money() == (0, 10)
    assert held.is_known
    world.do(SettleAccount("theirs", 1, 1), held)
    world.books.ledger_settle("theirs", 1, world.at)
    assert world.money() == (1, 0)


def test_an_intent_read_before_its_reserve_is_asked_is_still_checked() -> None:
    world = World(app_shop=limit(nano=15))
    world.books.ledger_intent(reserve("a"), "late", START_S, world.at)
    world.books.ledger_intent(reserve("b"), "late", START_S, world.at)
    late = world.books.hello("late", (), world.at)
    assert world.money() == (0, 0)
    assert isinstance(world.do(reserve("a"), late), Granted)
    assert isinstance(world.do(reserve("b"), late), Denied)
    world.books.ledger_settle("b", 0, world.at)
    assert world.money() == (0, 10)


def test_a_denied_call_never_counts_whatever_the_ledger_tells_first() -> None:
    world = World(app_shop=limit(nano=15))
    world.granted(reserve("a"))
    world.denied(reserve("b"))
    world.books.ledger_intent(reserve("b"), "gw", START_S, world.at)
    assert world.money() == (0, 10)
    world.books.ledger_settle("b", 0, world.at)
    assert world.money() == (0, 10)
    assert world.books.counters["accounts_corrections"] == 0


def test_the_ledger_has_the_last_word() -> None:
    world = World(app_shop=limit(nano=100))
    world.granted(reserve("a"))
    world.do(SettleAccount("a", 100, 6))
    world.books.ledger_settle("a", 7, world.at)
    world.books.ledger_settle("a", 7, world.at)
    assert world.money() == (7, 0)
    assert world.books.counters["accounts_corrections"] == 1
    world.granted(reserve("b"))
    world.books.ledger_settle("b", 5, world.at)
    world.do(SettleAccount("b", 100, 5))
    assert world.money() == (12, 0)


# A restart


def test_a_restart_keeps_money_open_calls_and_the_debts_of_rates() -> None:
    world = World(app_shop=limit(nano=100, rpm=2, tpm=1000))
    world.granted(reserve("open", tokens=400))
    world.books.ledger_checkpoint("open", 4)
    world.granted(reserve("done", tokens=100))
    world.do(SettleAccount("done", 100, 6))
    before = world.books
    state = dump_books(world.books, world.at)
    world.pass_s(15)
    world.books = load_books(state, world.at)
    world.books.apply_limits(world.limits)
    assert world.money() == (6, 10)
    world.gateway = world.books.hello("gw", (reserve("open", tokens=400),), world.at)
    denied = world.denied(reserve("x", nano=1))
    assert (denied.binding, denied.retry_after_ms) == ("requests", 15_000)
    assert before.open.keys() == world.books.open.keys()
    world.do(SettleAccount("done", 100, 6))
    world.books.ledger_settle("done", 6, world.at)
    assert world.money() == (6, 10)
    world.books.goodbye(world.gateway, world.at)
    world.pass_s(RESERVATION_TTL_S)
    world.books.expire(world.at)
    assert world.money() == (10, 0)


def test_old_months_are_dropped_at_a_checkpoint_and_resolved_calls_after_a_day() -> None:
    world = World(app_shop=limit(nano=100))
    for month in range(5):
        world.granted(reserve(f"m{month}"))
        world.do(SettleAccount(f"m{month}", 1, 1))
        world.pass_s(31 * 86_400)
        world.books.expire(world.at)
    assert not world.books.unconfirmed
    world.restart()
    assert sorted(period for _, period in world.books.rows) == ["2027-03", "2027-04", "2027-05"]


def test_state_of_another_form_is_refused() -> None:
    with pytest.raises(StateUnreadable):
        load_books(b"\x91\x01", Moment(0, 0))
