"""Proves that no record is lost, doubled or altered: the ledger against itself and against an upstream's log.

In: the ledger at rest, the exchanges that are still open, an upstream's dispatches, prices. Out: counts and the
first problems. Reads everything, writes nothing; each figure is derived in two independent ways.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from lineclear.domain.entry import EntryKind, check_number
from lineclear.domain.ledger import Intent
from lineclear.domain.money import Price
from lineclear.observe.dispatches import Dispatch
from lineclear.observe.findings import Findings, Problem, Way, Wrong
from lineclear.observe.price_check import PriceCheck
from lineclear.observe.upstream_log import UpstreamLog
from lineclear.store.day_rollups import hours_of, read_day
from lineclear.store.ledger import AnomalyKind, Ledger, day_text, facet_id
from lineclear.store.ledger_tables import ENTRY_COLUMNS, ROLLUP_SUMS, entries, facets
from lineclear.store.rollup import EntryRow, FacetValues, Rollup, RollupKey, fold_rows
from lineclear.store.standing_rollups import read_rollups

ROWS_PER_FOLD = 20_000

_KIND = ENTRY_COLUMNS.index("kind")
_FACET = ENTRY_COLUMNS.index("facet")
_WRONG_BY_NOTE = {
    AnomalyKind.DAMAGED: Wrong.ALTERED,
    AnomalyKind.UNREADABLE_SEGMENT: Wrong.ALTERED,
    AnomalyKind.DOUBLED_INTENT: Wrong.DOUBLED,
    AnomalyKind.DOUBLED_SETTLE: Wrong.DOUBLED,
    AnomalyKind.DOUBLED_ENTRY: Wrong.DOUBLED,
    AnomalyKind.INTENT_AFTER_END: Wrong.DOUBLED,
    AnomalyKind.SETTLE_WITHOUT_INTENT: Wrong.MISSING,
    AnomalyKind.REFUSED_ENTRY: Wrong.MISSING,
}


@dataclass(frozen=True)
class LedgerCheck:
    """The verdict. Counts of problems are lower bounds: the same damage seen in two ways counts once."""

    ok: bool
    """missing, doubled, altered and unseen are all 0."""
    intents: int
    """Intents whose exchange has ended, as counted when they were read: settles + orphans_closed if all is well."""
    settles: int
    """Entries of exchanges that ended by themselves."""
    orphans_closed: int
    """Entries of exchanges whose worker died, closed by control."""
    refusals: int
    open: int
    """Exchanges under way at this moment; not a problem."""
    missing: int
    """Dispatches, intents or settles without their entry."""
    doubled: int
    """Records or dispatches that occur twice."""
    altered: int
    """Entries, rollups or spool records whose content is not what was written, or not what the upstream says."""
    unseen: int
    """Answered attempts that the upstream's log does not hold. Only with dispatches."""
    dispatches: int | None
    """Lines compared; None without an upstream's log."""
    torn_tails: int
    """Unfinished last writes of dead workers; not a problem, because such a record never counted."""
    problems: list[Problem] = field(default_factory=list)
    """The first hundred."""


def check_ledger(
    ledger: Ledger,
    open_exchanges: Mapping[str, Intent],
    dispatches: Sequence[Dispatch] | None,
    price_of: Callable[[str], Price | None],
) -> LedgerCheck:
    """Check everything. Nothing may be ingested meanwhile, or counts taken at different moments are compared."""
    findings = Findings()
    upstream = None if dispatches is None else UpstreamLog(dispatches, findings)
    prices = PriceCheck(price_of)
    counts = dict.fromkeys(EntryKind, 0)
    before: set[str] = set()
    repeated = 0
    for day in sorted(ledger.days()):
        ids: set[str] = set()
        for row, facet in _verified_rows(ledger, day, findings):
            ids.add(row[0])
            counts[EntryKind(row[_KIND])] += 1
            prices.take(row, facet)
            if upstream is not None:
                upstream.compare(row, facet)
        for exchange in sorted(ids & before):
            detail = f"it has an entry on {day_text(day)} and one the day before"
            findings.add(Wrong.DOUBLED, Way.ENTRIES, exchange, detail)
            repeated += 1
        before = ids
    prices.finish(findings)
    if upstream is not None:
        upstream.finish(open_exchanges)
    intents = _compare_counts(ledger, counts, len(open_exchanges), repeated, findings)
    wrong = {kind.value: findings.count(kind) for kind in Wrong}
    return LedgerCheck(
        ok=not any(wrong.values()),
        intents=intents,
        settles=counts[EntryKind.EXCHANGE],
        orphans_closed=counts[EntryKind.ORPHAN],
        refusals=counts[EntryKind.REFUSAL],
        open=len(open_exchanges),
        **wrong,
        dispatches=None if dispatches is None else len(dispatches),
        torn_tails=findings.torn_tails,
        problems=findings.problems,
    )


def _verified_rows(ledger: Ledger, day: int, findings: Findings) -> Iterator[tuple[EntryRow, FacetValues]]:
    """Every row of a day, checked by itself; after the last one the day's rollups are compared."""
    folded: dict[RollupKey, Rollup] = {}
    with ledger.read(day) as connection:
        values = _facets(connection, findings)
        waiting: list[EntryRow] = []
        statement = select(entries).where(entries.c.day == day).order_by(entries.c.id)
        for found in connection.execution_options(yield_per=1000).execute(statement):
            row = tuple(found)
            if check_number(row[:-1]) != row[-1]:
                detail = f"the entry of {day_text(day)} does not match its check number"
                findings.add(Wrong.ALTERED, Way.ENTRIES, row[0], detail)
            facet = values.get(row[_FACET])
            if facet is None:
                findings.add(Wrong.ALTERED, Way.ENTRIES, row[0], "the entry names a facet that is not there")
                continue
            waiting.append(row)
            yield row, facet
            if len(waiting) >= ROWS_PER_FOLD:
                _fold_into(folded, waiting, values)
                waiting = []
        _fold_into(folded, waiting, values)
        _compare_rollups(connection, day, folded, findings)


def _facets(connection: Connection, findings: Findings) -> dict[int, FacetValues]:
    values: dict[int, FacetValues] = {}
    for row in connection.execute(select(facets)):
        number, facet = row[0], tuple(row[1:])
        if facet_id(facet) != number:
            detail = f"facet {number} does not hold the values that its number stands for"
            findings.add(Wrong.ALTERED, Way.ENTRIES, "", detail)
        values[number] = facet
    return values


def _fold_into(total: dict[RollupKey, Rollup], rows: list[EntryRow], values: Mapping[int, FacetValues]) -> None:
    for key, rollup in fold_rows(rows, values).items():
        total.setdefault(key, Rollup()).add(rollup)


def _compare_rollups(connection: Connection, day: int, folded: dict[RollupKey, Rollup], findings: Findings) -> None:
    _compare_sums(folded, dict(read_rollups(connection, *hours_of(day))), findings)
    whole_day = read_day(connection, day)
    if whole_day is not None:
        summed: dict[RollupKey, Rollup] = {}
        for key, rollup in folded.items():
            summed.setdefault((day, *key[1:]), Rollup()).add(rollup)
        _compare_sums(summed, dict(whole_day), findings)


def _compare_sums(folded: dict[RollupKey, Rollup], stored: dict[RollupKey, Rollup], findings: Findings) -> None:
    for key in sorted(folded.keys() | stored.keys()):
        own, its = folded.get(key, Rollup()), stored.get(key, Rollup())
        wrong = [
            f"{name} {second} instead of {first}"
            for name, first, second in zip(ROLLUP_SUMS, own.sums, its.sums, strict=True)
            if first != second
        ]
        if own.durations != its.durations or own.first_events != its.first_events:
            wrong.append("another histogram")
        if wrong:
            detail = f"the rollup {key!r} is not the sum of its entries: {', '.join(wrong)}"
            findings.add(Wrong.ALTERED, Way.SUMS, "", detail)


def _compare_counts(
    ledger: Ledger, counts: Mapping[EntryKind, int], open_count: int, repeated: int, findings: Findings
) -> int:
    """What was counted while reading the spool against what is there now; gives the intents that have ended."""
    notes = dict.fromkeys(AnomalyKind, 0)
    for note in ledger.anomalies():
        kind = AnomalyKind(note.kind)
        notes[kind] += 1
        wrong = _WRONG_BY_NOTE.get(kind)
        if wrong is None:
            findings.torn_tails += 1
        else:
            findings.add(wrong, Way.SPOOL, note.exchange, f"{note.segment} at {note.at}: {kind.value}: {note.detail}")
    positions = ledger.positions().values()
    intents = sum(position.intents for position in positions)
    read = {
        EntryKind.EXCHANGE: sum(position.settles for position in positions),
        EntryKind.ORPHAN: sum(position.orphans for position in positions),
        EntryKind.REFUSAL: sum(position.refusals for position in positions),
    }
    left_out = notes[AnomalyKind.DOUBLED_ENTRY] + notes[AnomalyKind.REFUSED_ENTRY]
    lost = sum(read.values()) - left_out - (sum(counts.values()) - repeated)
    if lost > 0:
        detail = f"{lost} records were read from the spool and have no entry any more"
        findings.add(Wrong.MISSING, Way.SUMS, "", detail, lost)
    elif lost < 0:
        findings.add(Wrong.DOUBLED, Way.SUMS, "", f"{-lost} entries are more than were read from the spool", -lost)
    unended = intents - read[EntryKind.EXCHANGE] - read[EntryKind.ORPHAN] - notes[AnomalyKind.INTENT_AFTER_END]
    if unended != open_count:
        detail = f"{unended} intents have no settle, {open_count} exchanges are open"
        findings.add(Wrong.MISSING, Way.SPOOL, "", detail, abs(unended - open_count))
    return intents - open_count
