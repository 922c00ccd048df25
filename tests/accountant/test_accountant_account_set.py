"""Accounts asked together, against the rules of rates taken one by one."""

from hypothesis import given
from hypothesis import strategies as st

from lineclear.accountant.account import Account
from lineclear.accountant.account_set import AccountSet
from lineclear.domain.accounts import Granted
from lineclear.domain.limits import rate_correct, rate_remaining, rate_reset_ms, rate_take, rate_wait_us
from lineclear.domain.snapshot import AccountLimits, BudgetLimit

RATES = st.lists(st.one_of(st.none(), st.integers(0, 40)), min_size=1, max_size=3)


def account(number: int, requests: int | None, tokens: int | None) -> Account:
    made = Account(f"app:{number}")
    made.apply(AccountLimits(requests, tokens, None, None))
    return made


@given(
    requests=RATES,
    tokens=RATES,
    steps=st.lists(st.tuples(st.integers(0, 20_000_000), st.integers(0, 30), st.integers(-30, 60)), max_size=40),
)
def test_it_grants_what_every_rate_allows_and_tells_what_the_tightest_leaves(
    requests: list[int | None], tokens: list[int | None], steps: list[tuple[int, int, int]]
) -> None:
    count = min(len(requests), len(tokens))
    among = AccountSet(tuple([account(n, requests[n], tokens[n]) for n in range(count)]))
    states = {n: [0, 0] for n in range(count)}
    rates = [
        (n, kind, per) for n in range(count) for kind, per in enumerate((requests[n], tokens[n])) if per is not None
    ]
    now_us = 10**9
    for passed_us, wanted, correction in steps:
        now_us += passed_us
        units = (1, wanted)
        after = {(n, kind): rate_take(states[n][kind], now_us, units[kind], per) for n, kind, per in rates}
        fits = all(
            # A rate of nothing a minute never makes up for what was taken beyond it.
            rate_wait_us(after[n, kind], now_us, per) == 0 if per > 0 else after[n, kind] <= 0
            for n, kind, per in rates
        )
        assert among.has_room(wanted, 0, now_us) is fits
        if fits:
            for (n, kind), arrival in after.items():
                states[n][kind] = arrival
            granted = among.grant("a", 1, wanted, now_us)
            left = [
                [
                    (rate_remaining(states[n][kind], now_us, per), per, states[n][kind])
                    for n, k, per in rates
                    if k == kind
                ]
                for kind in (0, 1)
            ]
            told = [
                (granted.requests_remaining, granted.requests_limit, granted.requests_reset_ms),
                (granted.tokens_remaining, granted.tokens_limit, granted.tokens_reset_ms),
            ]
            for kind in (0, 1):
                least = min((units_left for units_left, _, _ in left[kind]), default=None)
                assert told[kind][0] == least
                assert told[kind] == (None, None, None) or told[kind] in [
                    (units_left, per, rate_reset_ms(arrival, now_us, per)) for units_left, per, arrival in left[kind]
                ]
        for rate in among.token_rates:
            rate.take(correction, now_us)
        for n, kind, per in rates:
            if kind == 1:
                states[n][kind] = rate_correct(states[n][kind], now_us, correction, per)


def test_it_is_current_while_every_accounts_month_lasts_and_tells_the_smallest_budget() -> None:
    accounts = tuple([account(n, None, None) for n in range(2)])
    for made, nano_usd, zone in zip(accounts, (50, 40), ("Pacific/Kiritimati", "UTC"), strict=True):
        made.apply(AccountLimits(None, None, None, BudgetLimit(nano_usd, zone)))
        made.period = made.period_at(1_800_000_000)
    among = AccountSet(accounts)
    assert (among.start_s, among.end_s) == (accounts[1].period.start_s, accounts[0].period.end_s)
    assert among.has_room(0, 40, 0)
    assert not among.has_room(0, 41, 0)
    assert among.grant("a", 1, 0, 0) == Granted("a", 40)
    accounts[1].apply(AccountLimits(None, None, None, None))
    among.bind()
    assert among.has_room(0, 50, 0)
