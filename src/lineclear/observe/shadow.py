"""What the copies of a rollout's shadow step have shown, over the days in which they were asked.

In: a run. Out: sums. Must not decide.
"""

from lineclear.domain.shadow import ShadowSums
from lineclear.store.ledger import Ledger
from lineclear.store.mirrored_rows import mirrored_sums


def shadow_sums(ledger: Ledger, run: str, first_day: int) -> ShadowSums:
    """Everything seen of a run, which has no copies before `first_day`."""
    found = ShadowSums()
    for day in ledger.days():
        if day < first_day:
            break
        with ledger.read(day) as connection:
            found = found.merge(mirrored_sums(connection, day, run))
    return found
