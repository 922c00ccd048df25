"""The accountant as a process of its own, asked by processes of their own, drained, killed and hung."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from lineclear.accountant.books import Books
from lineclear.accountant.reservation import Moment
from lineclear.accountant.state import load_books
from lineclear.base.clock import SystemClock
from lineclear.domain.accounts import Denied, Extend, Granted, Reserve, SettleAccount, Void
from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.domain.ledger import Settle
from lineclear.domain.snapshot import AccountLimits, BudgetLimit
from lineclear.gateway.accounts import AccountantClient
from lineclear.handover.acks import read_acks
from lineclear.handover.checkpoint import CHECKPOINT_VERSION, load_checkpoint, save_checkpoint
from lineclear.handover.poke import poke_all
from lineclear.handover.spool import list_segments, read_segment
from lineclear.testing.accountant import AccountantProcess, publish_limits
from lineclear.testing.budget_worker import CALL_NANO_USD, budget_limits

WORKERS = 4
CALLERS = 200
CALLS_PAID = 37
RATED = AccountLimits(10, None, None, None)
BUDGETED = AccountLimits(None, None, None, BudgetLimit(1000, "UTC"))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def accountant(data_dir: Path) -> Iterator[AccountantProcess]:
    publish_limits(data_dir, 1, {"app:shop": RATED, "team:support": BUDGETED})
    process = AccountantProcess(data_dir)
    try:
        assert process.until("ready")["revision"] == 1
        yield process
    finally:
        process.kill()


def budget_worker(data_dir: Path, number: int, callers: int, spread_s: float) -> list[str]:
    module = "lineclear.testing.budget_worker"
    return [sys.executable, "-m", module, str(data_dir), str(number), str(callers), str(spread_s)]


def start_workers(data_dir: Path, spread_s: float) -> list[subprocess.Popen[bytes]]:
    commands = [budget_worker(data_dir, number, CALLERS, spread_s) for number in range(WORKERS)]
    return [subprocess.Popen(command, stdout=subprocess.PIPE) for command in commands]


def ends(workers: list[subprocess.Popen[bytes]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for worker in workers:
        output, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0
        total.update(json.loads(output))
    return total


def books_on_disk(data_dir: Path) -> Books:
    checkpoint = load_checkpoint(data_dir / "accountant" / "checkpoint")
    assert checkpoint is not None
    return load_books(checkpoint.state, Moment(0, 0))


def ledger_nano_usd(data_dir: Path) -> int:
    return sum(
        record.cost_nano_usd
        for name in list_segments(data_dir / "spool")
        for record in read_segment(name.path).records
        if isinstance(record, Settle)
    )


def assert_exactly(paid: int, data_dir: Path, total: Counter[str]) -> None:
    assert total["granted"] == paid
    assert total["granted"] + total["denied"] == WORKERS * CALLERS
    assert ledger_nano_usd(data_dir) == paid * CALL_NANO_USD
    books = books_on_disk(data_dir)
    posted = {(row.account, row.posted) for row in books.rows.values()}
    assert posted == {("app:shop", paid * CALL_NANO_USD), ("team:support", paid * CALL_NANO_USD)}
    assert not books.open


def test_four_workers_of_200_callers_on_a_budget_for_37_calls_get_exactly_37(data_dir: Path) -> None:
    publish_limits(data_dir, 1, budget_limits(CALLS_PAID))
    process = AccountantProcess(data_dir)
    try:
        process.until("ready")
        total = ends(start_workers(data_dir, 0.0))
        assert total["unavailable"] == 0
        assert process.drain() == 0
        assert_exactly(CALLS_PAID, data_dir, total)
    finally:
        process.kill()


def test_exactly_as_many_as_paid_although_the_accountant_is_killed_again_and_again(data_dir: Path) -> None:
    paid = 437
    publish_limits(data_dir, 1, budget_limits(paid))
    process = AccountantProcess(data_dir)
    workers = []
    try:
        process.until("ready")
        workers = start_workers(data_dir, 2.0)
        for part in range(1, 6):
            wait_until_spent(data_dir, part * paid * CALL_NANO_USD // 6)
            process.kill()
            process = AccountantProcess(data_dir)
            process.until("ready")
        total = ends(workers)
        assert process.drain() == 0
        assert_exactly(paid, data_dir, total)
    finally:
        process.kill()
        for worker in workers:
            worker.kill()
            worker.communicate()


def test_what_killed_gateways_held_is_free_again_and_books_equal_the_ledger(data_dir: Path) -> None:
    paid = 437
    publish_limits(data_dir, 1, budget_limits(paid))
    process = AccountantProcess(data_dir)
    workers = []
    try:
        process.until("ready")
        workers = start_workers(data_dir, 2.0)
        wait_until_spent(data_dir, paid * CALL_NANO_USD // 3)
        for worker in workers[:2]:
            worker.kill()
        ends(workers[2:])
        late = subprocess.run(budget_worker(data_dir, 9, paid, 1.0), stdout=subprocess.PIPE, check=True)
        assert json.loads(late.stdout)["unavailable"] == 0
        assert process.drain() == 0
        assert ledger_nano_usd(data_dir) == paid * CALL_NANO_USD
        assert {row.posted for row in books_on_disk(data_dir).rows.values()} == {paid * CALL_NANO_USD}
    finally:
        process.kill()
        for worker in workers:
            worker.kill()
            worker.communicate()


def wait_until_spent(data_dir: Path, nano_usd: int) -> None:
    """Looks until the ledger holds more than this, at most 20 s."""
    clock = SystemClock()
    until_ns = clock.monotonic_ns() + 20 * 10**9
    while ledger_nano_usd(data_dir) <= nano_usd:
        assert clock.monotonic_ns() < until_ns


def run(work: Coroutine[Any, Any, None]) -> None:
    uvloop.run(work)


def client_of(process: AccountantProcess, *, source: str = "local-b0-0-1", workers: int = 2) -> AccountantClient:
    limits = {"app:shop": RATED, "team:support": BUDGETED}
    client = AccountantClient(process.socket_path, SystemClock(), limits.get, workers, source=source)
    client.start()
    return client


def test_new_limits_are_in_force_once_they_are_acknowledged(data_dir: Path, accountant: AccountantProcess) -> None:
    async def work() -> None:
        client = client_of(accountant)
        assert isinstance(await client.reserve(Reserve("a", ("team:support",), 1, 900)), Granted)
        publish_limits(data_dir, 2, {"team:support": AccountLimits(None, None, None, BudgetLimit(899, "UTC"))})
        poke_all(accountant.run_dir)
        await until(lambda: read_acks(data_dir / "acks")["accountant"].revision == 2)
        denied = await client.reserve(Reserve("b", ("team:support",), 1, 0))
        assert isinstance(denied, Denied)
        assert denied.limit == 899
        await client.close()

    run(work())


def test_a_damaged_snapshot_leaves_the_limits_as_they_are(data_dir: Path, accountant: AccountantProcess) -> None:
    async def work() -> None:
        client = client_of(accountant)
        (data_dir / "snapshot" / "CURRENT").write_bytes(b"{}")
        poke_all(accountant.run_dir)
        denied = await client.reserve(Reserve("a", ("team:support",), 1, 1001))
        assert isinstance(denied, Denied)
        await client.close()

    run(work())


def test_one_tick_is_one_frame_and_settles_are_acknowledged(accountant: AccountantProcess) -> None:
    async def work() -> None:
        client = client_of(accountant)
        await until(lambda: client.connected)
        replies = await asyncio.gather(*[client.reserve(Reserve(f"r{n}", ("team:support",), 1, 10)) for n in range(50)])
        assert all(isinstance(reply, Granted) for reply in replies)
        assert client.counters["accountant_frames"] == 1
        extended = await client.extend(Extend("r0", 0, 500))
        assert isinstance(extended, Granted)
        assert extended.budget_remaining_nano_usd == 0
        assert isinstance(await client.extend(Extend("r1", 0, 1)), Denied)
        for number in range(50):
            client.resolve(Void(f"r{number}") if number % 2 else SettleAccount(f"r{number}", 1, 10))
        await until(lambda: not client._ended and not client._held)
        granted = await client.reserve(Reserve("last", ("team:support",), 1, 0))
        assert isinstance(granted, Granted)
        assert granted.budget_remaining_nano_usd == 1000 - 25 * 10
        await client.close()

    run(work())


def test_without_limited_accounts_nobody_is_asked(data_dir: Path) -> None:
    async def work() -> None:
        client = AccountantClient(data_dir / "nowhere.sock", SystemClock(), lambda _account: None, 1, source="s")
        assert await client.reserve(Reserve("a", (), 1, 1)) == Granted("a")
        assert await client.extend(Extend("a", 1, 1)) == Granted("a")
        client.resolve(SettleAccount("a", 1, 1))
        await client.close()

    run(work())


def test_while_it_is_away_budgets_fail_closed_rates_hold_at_a_share_and_the_rest_passes(data_dir: Path) -> None:
    publish_limits(data_dir, 1, {"app:shop": RATED, "team:support": BUDGETED})

    async def work() -> None:
        clock = SystemClock()
        limits = {"app:shop": RATED, "team:support": BUDGETED}
        path = data_dir / "run" / "accountant.sock"
        client = AccountantClient(path, clock, limits.get, 2, source="s")
        client.start()
        started_ns = clock.monotonic_ns()
        with pytest.raises(PlatformFault) as refused:
            await client.reserve(Reserve("a", ("team:support", "app:shop"), 1, 1))
        waited_s = (clock.monotonic_ns() - started_ns) / 1e9
        assert refused.value.code is ErrorCode.ACCOUNTANT_UNAVAILABLE
        assert 0.9 < waited_s < 2
        replies = [await client.reserve(Reserve(f"r{n}", ("app:shop",), 1, 1)) for n in range(7)]
        assert [isinstance(reply, Granted) for reply in replies] == [True] * 5 + [False] * 2
        assert isinstance(await client.reserve(Reserve("x", ("app:other",), 1, 1)), Granted)
        assert (clock.monotonic_ns() - started_ns) / 1e9 < waited_s + 0.5
        client.resolve(SettleAccount("r0", 1, 1))
        process = AccountantProcess(data_dir)
        try:
            process.until("ready")
            await until(lambda: client.connected)
            assert isinstance(await client.reserve(Reserve("b", ("team:support",), 1, 1000)), Granted)
            await client.close()
        finally:
            process.kill()

    run(work())


def test_a_hung_accountant_is_given_up_and_what_it_granted_too_late_is_free_again(
    accountant: AccountantProcess,
) -> None:
    async def work() -> None:
        client = client_of(accountant)
        await until(lambda: client.connected)
        accountant.stop_clock(stopped=True)
        with pytest.raises(PlatformFault):
            await client.reserve(Reserve("late", ("team:support",), 1, 1000))
        accountant.stop_clock(stopped=False)
        await until(lambda: client.connected)
        assert isinstance(await client.reserve(Reserve("next", ("team:support",), 1, 1000)), Granted)
        assert client.counters["accountant_timeouts"] == 1
        await client.close()

    run(work())


def test_a_caller_that_leaves_gives_back_what_it_never_saw(accountant: AccountantProcess) -> None:
    async def work() -> None:
        client = client_of(accountant)
        await until(lambda: client.connected)
        leaving = asyncio.ensure_future(client.reserve(Reserve("a", ("team:support",), 1, 1000)))
        await asyncio.sleep(0)
        leaving.cancel()
        await until(lambda: client.counters["accountant_frames"] >= 2 and not client._held)
        assert isinstance(await client.reserve(Reserve("b", ("team:support",), 1, 1000)), Granted)
        await client.close()

    run(work())


def test_nonsense_on_the_socket_ends_that_connection_only(accountant: AccountantProcess) -> None:
    async def work() -> None:
        client = client_of(accountant)
        await until(lambda: client.connected)
        for nonsense in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x02\x00\x00\x00\x91\xa1",
            b"\xff\xff\xff\xff",
            b"\x05\x00\x00\x00\x93\xa1o\x01\x90",
        ):
            reader, writer = await asyncio.open_unix_connection(str(accountant.socket_path))
            writer.write(nonsense)
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            writer.close()
        assert isinstance(await client.reserve(Reserve("a", ("team:support",), 1, 1)), Granted)
        await client.close()

    run(work())


def test_a_second_accountant_waits_for_the_first_and_a_drain_writes_the_books(data_dir: Path) -> None:
    publish_limits(data_dir, 1, {"team:support": BUDGETED})
    first = AccountantProcess(data_dir)
    first.until("ready")
    second = AccountantProcess(data_dir)
    try:
        assert first.drain() == 0
        assert second.until("ready")["revision"] == 1
        assert (data_dir / "accountant" / "checkpoint").exists()
    finally:
        first.kill()
        second.kill()


def unreadable_books(path: Path) -> None:
    save_checkpoint(path, {}, b"books of another form")


def another_version(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(msgspec.msgpack.encode([CHECKPOINT_VERSION + 1, {}, 0, b""]))


def garbage(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"garbage")


@pytest.mark.parametrize("spoil", [garbage, another_version, unreadable_books])
def test_a_checkpoint_that_cannot_be_trusted_stops_it_and_says_the_way_out(
    data_dir: Path, spoil: Callable[[Path], None]
) -> None:
    path = data_dir / "accountant" / "checkpoint"
    spoil(path)
    process = AccountantProcess(data_dir)
    try:
        reason = str(process.until("failed")["reason"])
    finally:
        process.kill()
    assert str(path) in reason
    assert "backup" in reason
    assert "move it away" in reason
    path.rename(path.with_suffix(".damaged"))
    again = AccountantProcess(data_dir)
    try:
        again.until("ready")
    finally:
        again.kill()


async def until(is_so: Callable[[], bool]) -> None:
    """Waits until the claim holds, at most 10 s."""
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - the claim is about another process, no event of it reaches here
            await asyncio.sleep(0.005)
