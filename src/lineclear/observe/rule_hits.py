"""How often each rule of a policy had a say, and when last, from the ledger's own counts.

In: the ledger. Out: `RuleHits` by the rule's id. Reads one small table a day, no entries.
"""

from dataclasses import dataclass, field

from sqlalchemy import select

from lineclear.domain.entry import day_of
from lineclear.store.ledger import Ledger
from lineclear.store.ledger_tables import rule_hits

HIT_DAYS = 30


@dataclass
class RuleHits:
    """One rule's hits; they grow while days are read."""

    by_day: list[int] = field(default_factory=lambda: [0] * HIT_DAYS)
    """Of the last HIT_DAYS days in UTC, oldest first; the last is today."""
    refused: int = 0
    """Requests among them that policies refused."""
    last_us: int = 0
    """When the last of them ended, unix microseconds; 0 = none."""


def hits_by_rule(ledger: Ledger, now_us: int) -> dict[str, RuleHits]:
    """Hits of the last HIT_DAYS; rules without one are left out."""
    today = day_of(now_us)
    found: dict[str, RuleHits] = {}
    for day in ledger.days():
        if not today - HIT_DAYS < day <= today:
            continue
        with ledger.read(day) as connection:
            for row in connection.execute(select(rule_hits).where(rule_hits.c.day == day)):
                hits = found.setdefault(row.rule, RuleHits())
                hits.by_day[HIT_DAYS - 1 - (today - day)] += row.hits
                hits.refused += row.refused
                hits.last_us = max(hits.last_us, row.last_us)
    return found
