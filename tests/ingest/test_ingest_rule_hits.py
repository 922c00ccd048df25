"""Hits of policy rules: counted with the entry that has them, once, whatever comes twice."""

from pathlib import Path

from lineclear.control.ingest.ingest import Ingest
from lineclear.observe.rule_hits import HIT_DAYS, RuleHits, hits_by_rule
from lineclear.store.ledger import Ledger
from lineclear.testing.clock import START_UNIX_US, TestClock
from lineclear.testing.records import Spool, intent, refusal, settle

DENY, ALLOW = "policy.deny:careful/dear", "policy.allow:careful/urgent"
DAY_US = 86_400_000_000


def ingest_of(ledger: Ledger, spool: Spool, clock: TestClock) -> Ingest:
    return Ingest(ledger, spool.directory, clock, accountant_positions=dict)


def test_each_entry_counts_once(ledger: Ledger, spool: Spool) -> None:
    clock = TestClock()
    ingest = ingest_of(ledger, spool, clock)
    spool.write(
        intent(1), settle(1, rules=(DENY, "guardrail.deny:x/y")),
        intent(2), settle(2, rules=(DENY, ALLOW)),
        intent(3), settle(3),
        refusal(4, rules=(DENY,), error_code="policy_denied"),
        refusal(5, rules=("limit.requests:app:shop",), error_code="rate_limited"),
    )  # fmt: skip
    ingest.catch_up()
    ingest_of(ledger, spool, clock).catch_up()
    # The same records once more, as another source: their entries are there already.
    spool.write(intent(1), settle(1, rules=(DENY,)), source="local-b00t-1-1")
    ingest.catch_up()
    found = hits_by_rule(ledger, START_UNIX_US)
    assert set(found) == {DENY, ALLOW}
    assert (sum(found[DENY].by_day), found[DENY].refused) == (3, 1)
    assert (sum(found[ALLOW].by_day), found[ALLOW].refused) == (1, 0)
    assert found[ALLOW].last_us >= START_UNIX_US
    assert found[DENY].by_day[-1] == 3


def test_days_add_up_and_old_ones_are_left_out(tmp_path: Path, spool: Spool) -> None:
    ledger = Ledger.open(tmp_path / "days")
    clock = TestClock()
    ingest = ingest_of(ledger, spool, clock)
    for day in (0, 1, 40):
        at_us = START_UNIX_US + day * DAY_US
        spool.write(intent(day + 10, at_us), settle(day + 10, at_us, rules=(DENY,)))
        ingest.catch_up()
    assert hits_by_rule(ledger, START_UNIX_US + DAY_US)[DENY].by_day[-2:] == [1, 1]
    late = hits_by_rule(ledger, START_UNIX_US + 40 * DAY_US)
    assert (sum(late[DENY].by_day), late[DENY].by_day[-1]) == (1, 1)
    assert hits_by_rule(ledger, START_UNIX_US - 60 * DAY_US) == {}
    assert RuleHits().by_day == [0] * HIT_DAYS
    ledger.close()
