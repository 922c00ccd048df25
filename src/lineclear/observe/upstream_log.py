"""Holds an upstream's own log against the ledger: every dispatch has its attempt, every answered attempt its dispatch.

In: dispatches, then every entry once. Out: findings. Both sides wrote before they answered, so neither may know
a call that the other does not. Must not read the ledger itself.
"""

from collections.abc import Mapping, Sequence

import msgspec

from lineclear.domain.entry import EntryDetail, EntryKind
from lineclear.domain.ledger import AttemptRecord, Intent, Outcome
from lineclear.domain.money import CostBasis, Usage
from lineclear.observe.dispatches import Dispatch
from lineclear.observe.findings import Findings, Way, Wrong
from lineclear.store.ledger_tables import ENTRY_COLUMNS, FACET_COLUMNS
from lineclear.store.rollup import EntryRow, FacetValues

HTTP_OK = 200

_decode = msgspec.msgpack.Decoder(EntryDetail).decode
_KIND = ENTRY_COLUMNS.index("kind")
_ATTEMPTS = ENTRY_COLUMNS.index("attempts")
_STARTED = ENTRY_COLUMNS.index("started_us")
_DETAIL = ENTRY_COLUMNS.index("detail")
_USAGE = slice(ENTRY_COLUMNS.index("input_tokens"), ENTRY_COLUMNS.index("reported_cost_nano_usd") + 1)
_OUTCOME = FACET_COLUMNS.index("outcome")
_BASIS = FACET_COLUMNS.index("cost_basis")
_MEASURED = (CostBasis.PRICED, CostBasis.REPORTED)


class UpstreamLog:
    """One upstream's dispatches, and what has been found of them."""

    def __init__(self, dispatches: Sequence[Dispatch], findings: Findings) -> None:
        self._findings = findings
        self._waiting: dict[str, dict[int, Dispatch]] = {}
        self._providers: set[str] = set()
        self._earliest_us: int | None = None
        self._unseen: list[tuple[int, str, AttemptRecord]] = []
        for dispatch in dispatches:
            known = self._waiting.setdefault(dispatch.exchange, {})
            if dispatch.attempt in known:
                self._add(Wrong.DOUBLED, dispatch.exchange, f"attempt {dispatch.attempt} was dispatched twice")
            known[dispatch.attempt] = dispatch

    def compare(self, row: EntryRow, facet: FacetValues) -> None:
        """Take the next entry."""
        exchange = row[0]
        kind = EntryKind(row[_KIND])
        seen = self._waiting.pop(exchange, {})
        if kind is EntryKind.REFUSAL:
            if seen:
                self._add(Wrong.MISSING, exchange, "it was refused here and yet dispatched: there is no intent")
            return
        if not seen and kind is EntryKind.ORPHAN:
            return
        try:
            detail = _decode(row[_DETAIL])
        except msgspec.DecodeError:
            self._add(Wrong.ALTERED, exchange, "the entry's detail cannot be read")
            return
        if seen:
            started_us = row[_STARTED]
            self._earliest_us = started_us if self._earliest_us is None else min(self._earliest_us, started_us)
        self._compare_attempts(row, facet, kind, detail.attempts, seen)

    def finish(self, open_exchanges: Mapping[str, Intent]) -> None:
        """All entries have been taken: what is left has none."""
        for exchange, dispatches in self._waiting.items():
            if exchange not in open_exchanges:
                for number in dispatches:
                    self._add(Wrong.MISSING, exchange, f"attempt {number} was dispatched and the ledger has no entry")
        for started_us, exchange, attempt in self._unseen:
            # Only where this log can be expected to hold it: its provider, and not before its first line.
            is_covered = self._earliest_us is not None and started_us >= self._earliest_us
            if is_covered and attempt.provider in self._providers:
                self._add(Wrong.UNSEEN, exchange, f"attempt {attempt.attempt} was answered, says the ledger alone")

    def _compare_attempts(
        self,
        row: EntryRow,
        facet: FacetValues,
        kind: EntryKind,
        attempts: Sequence[AttemptRecord],
        seen: Mapping[int, Dispatch],
    ) -> None:
        exchange = row[0]
        by_number = {attempt.attempt: attempt for attempt in attempts}
        for number, dispatch in seen.items():
            attempt = by_number.get(number)
            if attempt is None:
                # An orphan's entry holds its last attempt only; the earlier ones are counted.
                if kind is not EntryKind.ORPHAN or number > row[_ATTEMPTS]:
                    self._add(Wrong.MISSING, exchange, f"attempt {number} was dispatched and is not in the entry")
                continue
            self._providers.add(attempt.provider)
            self._compare_one(row, facet, attempt, dispatch)
        for number, attempt in by_number.items():
            if number not in seen and attempt.status == HTTP_OK:
                self._unseen.append((row[_STARTED], exchange, attempt))

    def _compare_one(self, row: EntryRow, facet: FacetValues, attempt: AttemptRecord, dispatch: Dispatch) -> None:
        if dispatch.status and attempt.status and dispatch.status != attempt.status:
            detail = f"attempt {attempt.attempt} answered {dispatch.status}; the ledger says {attempt.status}"
            self._add(Wrong.ALTERED, row[0], detail)
        is_served = attempt.attempt == row[_ATTEMPTS] and facet[_OUTCOME] == Outcome.OK and facet[_BASIS] in _MEASURED
        if not is_served:
            return
        usage = Usage(*row[_USAGE])
        for name, said, kept in (
            ("input", dispatch.input_tokens, usage.total_input_tokens),
            ("output", dispatch.output_tokens, usage.total_output_tokens),
        ):
            if said is not None and said != kept:
                self._add(Wrong.ALTERED, row[0], f"the upstream counted {said} {name} tokens, the ledger {kept}")

    def _add(self, kind: Wrong, exchange: str, detail: str) -> None:
        self._findings.add(kind, Way.UPSTREAM, exchange, detail)
