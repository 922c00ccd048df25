"""Any order of calls, losses, crashes and replays, against a ledger that is a list and a reference of a few lines.

The books here are the real ones, folded from real spool files; only sockets are left out: an operation is either
delivered or lost with the accountant that should have got it.
"""

import os
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lineclear.accountant.books import Books
from lineclear.accountant.fold import Fold
from lineclear.accountant.reservation import Moment, Source
from lineclear.accountant.state import dump_books, load_books
from lineclear.domain.accounts import Denied, Extend, Granted, Reserve, SettleAccount, Void
from lineclear.domain.snapshot import AccountLimits, BudgetLimit, LimitsSection
from lineclear.handover.spool import SpoolLimits, SpoolWriter
from lineclear.testing.clock import TestClock
from lineclear.testing.money_records import a_checkpoint, a_settle, an_intent

BUDGETS = {"app:a": 100, "app:b": 60, "team:t": 130}
SLOTS = {"team:t": 6}
LIMITS = LimitsSection(
    {
        account: AccountLimits(None, None, SLOTS.get(account), BudgetLimit(nano, "UTC"))
        for account, nano in BUDGETS.items()
    }
)


class Gateway:
    """A gateway as the accountant's client sees itself."""

    def __init__(self, number: int, spool: Path, clock: TestClock) -> None:
        self.name = f"local-b-{number}-1"
        limits = SpoolLimits(segment_bytes=2000, ballast_bytes=0)
        self.spool = SpoolWriter(spool, self.name, clock, limits=limits)
        self.held: dict[str, Reserve] = {}
        self.ended: dict[str, SettleAccount | Void] = {}
        self.checkpoints: dict[str, int] = {}
        self.source: Source | None = None


class AccountantMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.spool = Path(self.directory.name)
        self.clock = TestClock()
        self.gateways: list[Gateway] = []
        self.born = 0
        self.count = 0
        self.charged: dict[str, int] = dict.fromkeys(BUDGETS, 0)
        """The reference: what the ledger charges each account."""
        self.saved: tuple[bytes, dict[str, int]] | None = None
        self.crash()
        for _ in range(2):
            self.gateway_starts()

    # What gateways do

    @rule(
        which=st.integers(0, 1),
        accounts=st.sampled_from([("app:a",), ("app:b", "team:t"), ("app:a", "team:t")]),
        nano=st.integers(0, 40),
        reads_first=st.booleans(),
    )
    def reserve(self, which: int, accounts: tuple[str, ...], nano: int, reads_first: bool) -> None:
        gateway = self.gateways[which]
        self.count += 1
        txn = f"req_{self.count}"
        op = Reserve(txn, accounts, 1, nano)
        fits = self.fits(op)
        gateway.spool.append(an_intent(txn, accounts=accounts, nano_usd=nano, at_us=self.clock.unix_us()))
        gateway.spool.flush_now()
        if reads_first:
            self.fold.step(self.at)
        assert gateway.source is not None
        reply = self.books.act(op, gateway.source, self.at)
        if isinstance(reply, Granted):
            assert fits, f"{op} was granted and does not fit"
            gateway.held[txn] = op
            return
        assert isinstance(reply, Denied)
        assert not fits, f"{op} was denied by {reply} and fits"
        gateway.spool.append(a_settle(txn, nano_usd=0))
        gateway.spool.flush_now()

    def open_call(self, number: int) -> tuple[Gateway, str, Reserve]:
        calls = [
            (gateway, txn, held)
            for gateway in self.gateways
            for txn, held in gateway.held.items()
            if txn not in gateway.ended
        ]
        return calls[number % len(calls)]

    @property
    def has_open_call(self) -> bool:
        return any(txn not in gateway.ended for gateway in self.gateways for txn in gateway.held)

    @precondition(lambda self: self.has_open_call)
    @rule(number=st.integers(0, 5), nano=st.integers(1, 20))
    def extend(self, number: int, nano: int) -> None:
        gateway, txn, held = self.open_call(number)
        fits = self.fits(Reserve(txn, held.accounts, 0, nano), slots=0)
        assert gateway.source is not None
        reply = self.books.act(Extend(txn, 0, nano), gateway.source, self.at)
        assert isinstance(reply, Granted) is fits
        if fits:
            gateway.held[txn] = Reserve(txn, held.accounts, held.tokens, held.nano_usd + nano)

    @precondition(lambda self: self.has_open_call)
    @rule(
        number=st.integers(0, 5),
        share=st.integers(0, 100),
        is_void=st.booleans(),
        then=st.sampled_from(["", "", "lost", "saved"]),
    )
    def end(self, number: int, share: int, is_void: bool, then: str) -> None:
        gateway, txn, held = self.open_call(number)
        cost = 0 if is_void else held.nano_usd * share // 100
        op = Void(txn) if is_void else SettleAccount(txn, 1, cost)
        gateway.spool.append(a_settle(txn, nano_usd=cost))
        gateway.spool.flush_now()
        self.charge(held, cost)
        gateway.ended[txn] = op
        if then == "lost":
            # The accountant died with it; the gateway says it again when there is another.
            self.crash()
            return
        self.deliver(gateway, op)
        if then == "saved":
            # A checkpoint knows of it, the ledger's own word was not read yet, and the accountant dies.
            self.writes_a_checkpoint()
            self.crash()

    @precondition(lambda self: self.has_open_call)
    @rule(number=st.integers(0, 5), share=st.integers(0, 100))
    def checkpoint_call(self, number: int, share: int) -> None:
        gateway, txn, held = self.open_call(number)
        gateway.checkpoints[txn] = held.nano_usd * share // 100
        gateway.spool.append(a_checkpoint(txn, nano_usd=gateway.checkpoints[txn]))
        gateway.spool.flush_now()

    @rule(which=st.integers(0, 1))
    def say_things_twice(self, which: int) -> None:
        gateway = self.gateways[which]
        assert gateway.source is not None
        for txn, op in list(gateway.held.items()):
            if txn not in gateway.ended:
                assert isinstance(self.books.act(op, gateway.source, self.at), Granted)

    @rule(which=st.integers(0, 1))
    def line_breaks(self, which: int) -> None:
        gateway = self.gateways[which]
        assert gateway.source is not None
        self.books.goodbye(gateway.source, self.at)
        self.connect(gateway)

    @rule(which=st.integers(0, 1), said=st.integers(0, 3))
    def gateway_is_killed(self, which: int, said: int) -> None:
        gateway = self.gateways.pop(which)
        for txn, held in [item for item in gateway.held.items() if item[0] not in gateway.ended][:said]:
            # Killed between telling the accountant and writing the settle: the ledger knows of a checkpoint at most.
            assert gateway.source is not None
            self.books.act(SettleAccount(txn, 1, held.nano_usd), gateway.source, self.at)
        os.close(gateway.spool._segment)
        for descriptor in gateway.spool._sealed:
            os.close(descriptor)
        assert gateway.source is not None
        self.books.goodbye(gateway.source, self.at)
        self.fold.catch_up(self.at)
        self.books.expire(self.at, self.fold.dead_sources())
        for txn, held in gateway.held.items():
            if txn not in gateway.ended:
                self.charge(held, gateway.checkpoints.get(txn, 0))
        self.gateway_starts()

    def gateway_starts(self) -> None:
        gateway = Gateway(self.born, self.spool, self.clock)
        self.born += 1
        self.gateways.append(gateway)
        self.connect(gateway)

    # What happens to the accountant

    @rule()
    def reads_the_ledger(self) -> None:
        self.fold.step(self.at)

    @rule()
    def writes_a_checkpoint(self) -> None:
        self.saved = (dump_books(self.books, self.at), dict(self.fold.positions))

    @rule()
    def crash(self) -> None:
        state, positions = self.saved or (b"", {})
        self.books = load_books(state, self.at) if state else Books()
        self.books.apply_limits(LIMITS)
        self.fold = Fold(self.spool, self.books, positions)
        self.fold.catch_up(self.at)
        self.books.expire(self.at, self.fold.dead_sources())
        for gateway in self.gateways:
            self.connect(gateway)

    @rule()
    def is_read_twice(self) -> None:
        Fold(self.spool, self.books, self.saved[1] if self.saved else {}).catch_up(self.at)

    @rule(seconds=st.integers(0, 300))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.books.expire(self.at)

    # The reference

    @property
    def at(self) -> Moment:
        return Moment(self.clock.monotonic_ns() // 1000, self.clock.unix_us() // 1_000_000)

    def connect(self, gateway: Gateway) -> None:
        gateway.source = self.books.hello(gateway.name, tuple(gateway.held.values()), self.at)
        for op in list(gateway.ended.values()):
            self.deliver(gateway, op)

    def deliver(self, gateway: Gateway, op: SettleAccount | Void) -> None:
        assert gateway.source is not None
        self.books.act(op, gateway.source, self.at)
        del gateway.ended[op.txn]
        del gateway.held[op.txn]

    def charge(self, held: Reserve, cost: int) -> None:
        for account in held.accounts:
            self.charged[account] += cost

    def pending(self, account: str) -> int:
        return sum(op.nano_usd for gateway in self.gateways for op in gateway.held.values() if account in op.accounts)

    def slots(self, account: str) -> int:
        return sum(account in op.accounts for gateway in self.gateways for op in gateway.held.values())

    def fits(self, op: Reserve, slots: int = 1) -> bool:
        return all(
            self.charged[account] + self.pending(account) + op.nano_usd <= BUDGETS[account]
            and (not slots or self.slots(account) < SLOTS.get(account, 10**9))
            for account in op.accounts
        )

    @invariant()
    def books_equal_the_ledger_and_what_is_held(self) -> None:
        if not hasattr(self, "books"):
            return
        for account, budget in BUDGETS.items():
            row = self.books.account_now(account, self.at.wall_s).row
            assert (row.posted, row.pending) == (self.charged[account], self.pending(account)), account
            assert self.books.account(account).open_slots == (self.slots(account) if account in SLOTS else 0), account
            assert row.posted + row.pending <= budget

    def teardown(self) -> None:
        for gateway in getattr(self, "gateways", []):
            gateway.spool.close()
        if hasattr(self, "directory"):
            self.directory.cleanup()


TestAccountantMachine = AccountantMachine.TestCase
TestAccountantMachine.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
