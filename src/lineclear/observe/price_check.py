"""Recomputes costs from usage and price, as far as the price of then is known.

In: entries, prices in force. Out: findings. One snapshot revision has one price for a model version: where most
entries of a revision follow the price in force, those that do not were altered; where none does, the price
has changed since and nothing can be said. Must not read the ledger itself.
"""

from collections.abc import Callable

from lineclear.domain.entry import EntryKind
from lineclear.domain.money import CostBasis, Price, Usage, cost_nano_usd, usd_text
from lineclear.observe.findings import Findings, Way, Wrong
from lineclear.store.ledger_tables import ENTRY_COLUMNS, FACET_COLUMNS
from lineclear.store.rollup import EntryRow, FacetValues

SUSPECTS_KEPT_MAX = 1_000
"""Entries remembered per revision that do not follow the price; more are counted only."""

_KIND = ENTRY_COLUMNS.index("kind")
_COST = ENTRY_COLUMNS.index("cost_nano_usd")
_USAGE = slice(ENTRY_COLUMNS.index("input_tokens"), ENTRY_COLUMNS.index("reported_cost_nano_usd") + 1)
_MODEL = FACET_COLUMNS.index("model")
_BASIS = FACET_COLUMNS.index("cost_basis")
_VERSION = FACET_COLUMNS.index("price_version")
_REVISION = FACET_COLUMNS.index("revision")


class _Group:
    """The entries of one model version in one revision."""

    __slots__ = ("agreeing", "disagreeing", "suspects")

    def __init__(self) -> None:
        self.agreeing = 0
        self.disagreeing = 0
        self.suspects: list[tuple[str, str]] = []


class PriceCheck:
    """Grows while entries pass."""

    def __init__(self, price_of: Callable[[str], Price | None]) -> None:
        self._price_of = price_of
        self._prices: dict[str, Price | None] = {}
        self._groups: dict[tuple[str, int], _Group] = {}

    def take(self, row: EntryRow, facet: FacetValues) -> None:
        """Take the next entry."""
        if row[_KIND] != EntryKind.EXCHANGE or facet[_BASIS] != CostBasis.PRICED:
            return
        model = facet[_MODEL]
        if model not in self._prices:
            self._prices[model] = self._price_of(model)
        price = self._prices[model]
        if price is None or price.version != facet[_VERSION]:
            return
        group = self._groups.setdefault((model, facet[_REVISION]), _Group())
        cost = cost_nano_usd(Usage(*row[_USAGE]), price)
        if cost != row[_COST]:
            group.disagreeing += 1
            if len(group.suspects) < SUSPECTS_KEPT_MAX:
                text = f"its usage costs {usd_text(cost)} USD, the entry says {usd_text(row[_COST])}"
                group.suspects.append((row[0], text))
        elif cost:
            # Nothing follows from a cost of 0: it fits every price if nothing was used.
            group.agreeing += 1

    def finish(self, findings: Findings) -> None:
        """All entries have been taken."""
        for group in self._groups.values():
            if group.agreeing > group.disagreeing:
                for exchange, detail in group.suspects:
                    findings.add(Wrong.ALTERED, Way.ENTRIES, exchange, detail)
