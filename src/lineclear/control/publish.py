"""The one way state changes: a transaction, a compiled candidate, then the snapshot that every gateway takes.

In: work to do inside a write transaction. Out: its result, the new revision, and who acknowledged it. A state that
does not compile is rolled back whole. Must not know which noun changed.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.base.seal import Keys
from lineclear.base.secret import Secret
from lineclear.config.manifest_names import credentials_of, secret_name
from lineclear.control import audit
from lineclear.control import under_way as stored
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.compile import Compiled, CompileRefused, State, compile_state
from lineclear.control.credentials import flaw_of
from lineclear.control.desired import Desired, decode
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.fold import fold_entries
from lineclear.control.prices.book import PriceBook
from lineclear.control.vault import Vault
from lineclear.domain.manifest import Kind
from lineclear.domain.money import Price
from lineclear.domain.overrides import Drill
from lineclear.handover.acks import forget_dead_acks, read_acks
from lineclear.handover.overrides import JournalReader, is_long, rotate_journal
from lineclear.handover.poke import poke_all, poke_directory
from lineclear.handover.segment import source_is_alive
from lineclear.handover.snapshot_dir import SnapshotRefused, SnapshotWriter
from lineclear.store import control_rows as rows
from lineclear.store import override_rows, rollout_rows
from lineclear.store.control_rows import RevisionRow
from lineclear.store.database import Database

_log = logging.getLogger(__name__)
T = TypeVar("T")

ACK_WAIT_S = 5.0
"""How long a change waits for gateways before it reports the silent ones."""
ACK_LOOK_S = 0.01
OVERTAKEN_MAX = 5
"""How often a change is worked out anew because an override came meanwhile."""
REPOKE_S = 0.5
FIRST_EPOCH = 1
START_ACTOR = "start"
"""Who gave the values that control found in its own environment."""


@dataclass(frozen=True)
class Acknowledgement:
    """Which gateways (and the accountant, for limits) have a revision in force."""

    revision: int
    acknowledged: tuple[str, ...]
    """Sources."""
    silent: tuple[str, ...]
    """Sources that live and did not say so in time; they go on with the revision before."""


@dataclass(frozen=True)
class Directories:
    """Where control hands over."""

    snapshot: Path
    acks: Path
    run: Path
    spool: Path
    """Where gateways write; a held segment tells that its source lives."""
    journal: Path
    """The override journal."""


class _Overtaken(Exception):
    """An override was written while a change was being worked out: what it saw is no longer so."""


class Publisher:
    """Holds the snapshot directory; one change at a time."""

    def __init__(
        self, database: Database, clock: Clock, keys: Keys, directories: Directories, prices: PriceBook
    ) -> None:
        self.database = database
        self.clock = clock
        self.vault = Vault(keys, clock)
        self.prices = prices
        self._directories = directories
        self._writer = SnapshotWriter(directories.snapshot, keys, clock)
        self._lock = threading.Lock()
        self._epoch = FIRST_EPOCH
        self._journal = JournalReader(directories.journal)
        self._folded = 0
        """The last entry of the journal that the database holds."""
        self._told = 0
        """The last one that the snapshot in force counts as its own; drills alone raise no revision."""
        self._published = 0
        self._prices_in_force: Mapping[str, Price | None] = {}

    def commit(self, cause: str, work: Callable[[Connection], T]) -> tuple[T, int]:
        """Run `work` in a write transaction, compile what results, commit, publish.

        Returns:
            The work's result and the revision that holds it, durable in the snapshot directory.

        What the override journal says beyond the database is taken over first, and work that an override overtook
        is done anew: a change that was under way loses against an emergency.

        Raises:
            Refused: if the resulting state does not compile; nothing was changed. Whatever `work` raises.
        """
        with self._lock:
            for _ in range(OVERTAKEN_MAX):
                self._fold()
                try:
                    with self.database.write() as tx:
                        result = work(tx)
                        revision = self._next_revision(tx, cause)
                        compiled = self._compile(tx)
                        self._demand_not_overtaken()
                except _Overtaken:
                    continue
                self._publish(compiled, revision)
                return result, revision.revision
        raise Refused(
            AdminCode.CONFLICT,
            f"{OVERTAKEN_MAX} overrides came while this change was being made; nothing of it was done",
            hint="`lineclear status` shows them; try again then",
        )

    def _demand_not_overtaken(self) -> None:
        if self._journal.changed() and self._journal.read(self._folded):
            raise _Overtaken

    def fold(self) -> int:
        """Take over what the override journal says beyond the database, and publish it.

        Returns:
            The last entry that database and audit trail hold.

        Raises:
            Refused: the snapshot cannot be written. Whatever the database says if it cannot be used.
        """
        with self._lock:
            self._fold()
            return self._folded

    @property
    def is_journal_ahead(self) -> bool:
        """Whether the journal may say more than the database does. One stat call; takes no lock."""
        return self._journal.changed() or self._journal.sequence > self._folded

    @property
    def journal_problem(self) -> str:
        """Why not everything in the journal counts; empty if it does."""
        return self._journal.problem

    def _fold(self) -> None:
        self._journal.forget(self._folded)
        entries = self._journal.read(self._folded)
        if not entries:
            self._rotate()
            return
        with self.database.write() as tx:
            folded = fold_entries(tx, self.clock, entries)
            # Drills change nothing: gateways would compile a revision that says the same. A journal is not begun anew
            # before a snapshot tells how far it went, or numbers could be given twice.
            if all(isinstance(entry.override, Drill) for entry in entries) and not is_long(self._directories.journal):
                published = None
            else:
                published = self._compile(tx), self._next_revision(tx, "overrides")
        self._folded = folded
        if published is not None:
            self._publish(*published)
        self._rotate()

    def rotate_journal(self) -> None:
        """Begin the journal anew if it is long and nobody needs it; the thread that follows it asks while it is quiet.

        Not left to changes alone: where drills come all the time, one may be young whenever something is taken over.
        """
        if is_long(self._directories.journal):
            with self._lock:
                self._rotate()

    def _rotate(self) -> None:
        try:
            rotate_journal(self._directories.journal, self._told, self.clock.unix_us())
        except OSError as error:
            # Nothing that is asked for waits for it, so it refuses nothing either.
            _log.warning("the override journal cannot begin anew: %s", error)

    def rehearse(self, work: Callable[[Connection], T], keep: Callable[[Connection, T], None]) -> T:
        """Run `work`, compile what results, undo both, then run `keep` on the result and commit that alone.

        Raises:
            Refused: if the resulting state does not compile; nothing was changed. Whatever `work` or `keep` raises.
        """
        with self._lock, self.database.write() as tx:
            attempt = tx.begin_nested()
            try:
                result = work(tx)
                self._compile(tx)
            finally:
                attempt.rollback()
            keep(tx, result)
        return result

    def price_of(self, version: str) -> Price | None:
        """The price in force of a model version (`name@version`); None if it has none."""
        return self._prices_in_force.get(version)

    def revision(self) -> int:
        """The newest revision; 0 before the first."""
        with self.database.read() as tx:
            last = rows.last_revision(tx)
        return last.revision if last else 0

    def catch_up(self, variables: Mapping[str, Secret]) -> int:
        """Make the snapshot directory say what the database says; called once when control starts.

        A crash between commit and publish, a restored database, a newer program and a credential variable
        with a new value (`variables` holds those that are set) all end here.

        Returns:
            The revision in force; 0 in a new database, where nothing is published.
        """
        self._forget_dead_acks()
        with self._lock:
            with self.database.write() as tx:
                last = rows.last_revision(tx)
                self._epoch = self._rise_above_directory(last)
                self._folded = override_rows.last_override(tx)
                if last is None:
                    # Nothing was ever said: gateways wait for the first real state instead of taking an empty one.
                    return 0
                rotated = self.put_changed_variables(tx, variables)
                compiled = self._compile(tx)
                self._prices_in_force = compiled.prices
                if not rotated and self._is_published(compiled, last) and not self._journal.read(self._folded):
                    self._published, self._told = last.revision, self._folded
                    return last.revision
                revision = self._next_revision(tx, "start")
            self._publish(compiled, revision)
        self.fold()
        return self.revision()

    def put_changed_variables(self, tx: Connection, variables: Mapping[str, Secret]) -> tuple[str, ...]:
        """Remember the values that a stored provider names and that changed in the environment since they were taken.

        A value that a change gave stays while the environment says what it said before. One that cannot be sent is
        left aside: what was remembered stays in force.

        Returns:
            The names of the variables that have another value now; each is audited.
        """
        known = self.vault.credentials(tx)
        said = self.vault.changed_values(
            tx, {name: variables[name] for name in _named_variables(tx) & variables.keys()}
        )
        usable = {name: value for name, value in sorted(said.items()) if not flaw_of(value)}
        changed = tuple(name for name, value in usable.items() if value != known.get(name))
        for name, value in usable.items():
            self.vault.mark_taken(tx, name, value, START_ACTOR)
        for name in changed:
            self.vault.put_credential(tx, name, usable[name], START_ACTOR)
        events = [AuditEvent(AuditAction.CREDENTIAL_SET, f"variable/{name}") for name in changed]
        audit.record(tx, self.clock, START_ACTOR, events)
        return changed

    def unusable_variables(self, variables: Mapping[str, Secret]) -> tuple[str, ...]:
        """In words, which values a stored provider names and no header can carry; never the values."""
        with self.database.read() as tx:
            named = sorted(_named_variables(tx) & variables.keys())
        flaws = ((name, flaw_of(variables[name])) for name in named)
        return tuple(
            f"the variable {name} cannot be sent as a credential: its value {flaw}; the last good value stays in force"
            for name, flaw in flaws
            if flaw
        )

    @property
    def last_revision(self) -> int:
        """The newest revision that was published since control started; asks no database."""
        return self._published

    def wait_acknowledged(self, revision: int, wait_s: float = ACK_WAIT_S) -> Acknowledgement:
        """Wait until every living gateway has `revision` in force, at most `wait_s`."""
        deadline_ns = self.clock.monotonic_ns() + int(wait_s * 1e9)
        repoke_ns = 0
        while True:
            now_ns = self.clock.monotonic_ns()
            if now_ns >= repoke_ns:
                # Poking also removes the sockets of processes that died, which are not waited for.
                poke_all(self._directories.run)
                self._forget_dead_acks()
                repoke_ns = now_ns + int(REPOKE_S * 1e9)
            found = self.acknowledgement(revision)
            if not found.silent or now_ns >= deadline_ns:
                return found
            time.sleep(ACK_LOOK_S)

    def acknowledgement(self, revision: int) -> Acknowledgement:
        """Who has `revision` in force now, among those that listen."""
        living = self._listening()
        acks = read_acks(self._directories.acks)
        told = {
            source
            for source in living
            if source in acks and (acks[source].epoch, acks[source].revision) >= (self._epoch, revision)
        }
        return Acknowledgement(revision, tuple(sorted(told)), tuple(sorted(living - told)))

    def _listening(self) -> set[str]:
        return {path.stem for path in poke_directory(self._directories.run).glob("*.sock")}

    def _forget_dead_acks(self) -> None:
        """Each worker life leaves a report; one that neither listens nor holds its spool will not say anything more."""
        listening = self._listening()
        forget_dead_acks(
            self._directories.acks,
            lambda source: source in listening or source_is_alive(self._directories.spool, source),
        )

    def _next_revision(self, tx: Connection, cause: str) -> RevisionRow:
        last = rows.last_revision(tx)
        revision = RevisionRow((last.revision if last else 0) + 1, self._epoch, self.clock.unix_us(), cause)
        rows.add_revision(tx, revision)
        return revision

    def _compile(self, tx: Connection) -> Compiled:
        try:
            return compile_state(read_state(tx, self.vault), self.prices)
        except CompileRefused as error:
            raise Refused(
                AdminCode.CONFLICT, f"the state does not compile: {error}", hint="nothing was changed"
            ) from error

    def _publish(self, compiled: Compiled, revision: RevisionRow) -> None:
        self._prices_in_force = compiled.prices
        self._published = revision.revision
        folded = self._folded
        try:
            self._writer.publish(compiled.sections, compiled.sealed, revision.revision, revision.epoch, folded)
        except OSError as error:
            raise Refused(
                AdminCode.UNAVAILABLE,
                f"the change is stored as revision {revision.revision}, but the snapshot cannot be written: {error}",
                hint="make room or repair the data directory; the next change or a restart of control publishes it",
            ) from error
        self._told = folded
        poke_all(self._directories.run)

    def _rise_above_directory(self, last: RevisionRow | None) -> int:
        """The epoch to publish under: above the directory's if the database is behind it, as after a restore."""
        epoch = last.epoch if last else FIRST_EPOCH
        try:
            current = self._writer.current()
        except SnapshotRefused:
            return epoch
        if current is not None and (epoch, last.revision if last else 0) < (current.epoch, current.revision):
            return current.epoch + 1
        return epoch

    def _is_published(self, compiled: Compiled, last: RevisionRow) -> bool:
        try:
            current = self._writer.current()
        except SnapshotRefused:
            return False
        stands = (self._epoch, last.revision, self._folded)
        if current is None or (current.epoch, current.revision, current.overrides_folded) != stands:
            return False
        # Sealed bytes differ at every sealing, so only their names are compared.
        wanted = {name: hashlib.sha256(content).hexdigest() for name, content in compiled.sections.items()}
        return {**current.sections, **wanted} == current.sections and current.sections.keys() == (
            compiled.sections.keys() | compiled.sealed.keys()
        )


def read_desired(tx: Connection) -> Desired:
    """Every stored noun."""
    return Desired({(Kind(row.kind), row.name): decode(row.kind, row.document) for row in rows.read_manifests(tx)})


def _named_variables(tx: Connection) -> set[str]:
    desired = read_desired(tx)
    return {
        reference
        for provider in desired.providers.values()
        for reference in credentials_of(provider)
        if secret_name(reference) is None
    }


def read_state(tx: Connection, vault: Vault) -> State:
    """Everything that a snapshot is compiled from, as this transaction sees it."""
    deployments = rows.read_deployments(tx)
    rollouts = {key: stored.read(row) for key, row in rollout_rows.open_rollouts(tx).items()}
    named = {digest for row in deployments.values() for digest in (row.stable, *row.previous)}
    named |= {one.row.candidate for one in rollouts.values()}
    return State(
        desired=read_desired(tx),
        deployments=deployments,
        releases={digest: row.manifest for digest, row in rows.read_releases(tx).items() if digest in named},
        keys=rows.read_keys(tx),
        pepper=vault.pepper(tx),
        credentials=vault.credentials(tx),
        stops=override_rows.read_stops(tx),
        rollouts=rollouts,
    )
