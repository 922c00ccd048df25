"""Makes the data directory of `lineclear demo`: the invented company by the ordinary apply, its history by the spool.

In: directory, days, seed. Out: a marked data directory that `lineclear up` serves, and progress as JSON lines. Only
into an empty directory; what it leaves unfinished it takes away again. Must not start a process.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from lineclear.base.clock import Clock, SystemClock
from lineclear.base.log import LogChoice, configure_log
from lineclear.base.seal import Keys as MasterKeys
from lineclear.base.secret import Secret
from lineclear.compose.control import Core, open_core, reason_of
from lineclear.compose.datadir import LOCK_FILE, DataDirectory, UpRefused, make_empty_run_dir, open_data_directory
from lineclear.compose.life import Boot
from lineclear.compose.up import unfinished_demo
from lineclear.config.manifest import read_file
from lineclear.config.settings import read_settings
from lineclear.control.bootstrap import bootstrap
from lineclear.control.changes.apply import Author
from lineclear.control.endpoint import Refused
from lineclear.demo.callers import CALLERS
from lineclear.demo.clock import HistoryClock
from lineclear.demo.history import History, InForce
from lineclear.demo.story import COMPANY, Turn, tell
from lineclear.domain.errors import LineclearError
from lineclear.domain.money import usd_text
from lineclear.gateway.live import Live
from lineclear.gateway.snapshot import compile_snapshot
from lineclear.handover.demo_mark import DEMO_FILE, DemoMark, read_demo_mark, write_demo_mark
from lineclear.handover.snapshot_dir import SnapshotReader
from lineclear.handover.spool import SpoolLimits, SpoolWriter
from lineclear.serving.bundled import bundled_documents

COMPANY_DIR: Final = Path(__file__).parent.parent / "demo" / "company"
MANIFESTS: Final = "manifests"
"""In the data directory: the company's files, to be changed and applied again."""
CREDENTIALS: Final = ("DEMO_AURORA_KEY", "DEMO_MERIDIAN_KEY", "DEMO_BASALT_KEY")
NO_CREDENTIAL: Final = "made-up-for-the-demo"
"""The vendors do not exist, so nobody takes it."""
KEYS_BY: Final = "mara"


@dataclass(frozen=True)
class DemoOrder:
    """What to make."""

    data_dir: Path
    days: int
    seed: int


@dataclass(frozen=True)
class DemoMade:
    """What was made: the generator's own figures, to be compared with what the ledger says."""

    data_dir: str
    days: int
    seed: int
    requests: int
    errors: int
    cost_usd: str
    write_s: float
    """Time spent making and writing records."""
    read_s: float
    """Time that the ledger took to read them."""


Report = Callable[[int, int], None]
"""Told after each day: days done, requests so far."""


def make_demo(order: DemoOrder, clock: Clock, report: Report) -> tuple[DemoMade, History]:
    """Make the directory; it is whole and marked when this returns.

    Raises:
        UpRefused: it is not empty, in use, not ours, or a database of its own is set.
    """
    directory = order.data_dir
    demand_empty(directory)
    was_there = directory.is_dir()
    # Looked at again under the lock: a server may have started there meanwhile, and then nothing in it is ours.
    data = open_data_directory(directory, demand_empty)
    try:
        return _make(order, data, clock, report)
    except BaseException:
        _take_away(data, keep=was_there)
        raise
    finally:
        os.close(data.lock_fd)


def demand_empty(directory: Path) -> None:
    """Refuse to mix an invented history with a real one.

    Raises:
        UpRefused: the directory holds something, or control would keep its tables elsewhere.
    """
    if read_settings().database_url is not None:
        raise UpRefused(
            "LINECLEAR_DATABASE_URL is set, and a demo keeps everything in its own directory; unset it for this command"
        )
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UpRefused(f"{directory} is no directory; name an empty or a new one with --data")
    if any(path.name != LOCK_FILE for path in directory.iterdir()):
        mark = read_demo_mark(directory)
        if mark is not None and not mark.is_complete:
            raise UpRefused(unfinished_demo(directory))
        if mark is not None:
            raise UpRefused(
                f"{directory} holds a demo already; serve it with `lineclear up --data {directory}`,"
                " or make another one with --data and a new directory"
            )
        raise UpRefused(
            f"{directory} is not empty, and invented requests must not mix with real ones;"
            " name an empty or a new directory with --data"
        )


def _make(order: DemoOrder, data: DataDirectory, clock: Clock, report: Report) -> tuple[DemoMade, History]:
    until_us = clock.unix_us()
    mark = DemoMark(order.seed, order.days, until_us)
    write_demo_mark(data.path, mark)
    make_empty_run_dir(data.run_dir)
    past = HistoryClock(until_us)
    story = tell(order.days, until_us)
    past.put(story.start_us)
    core = open_core(_boot(data), past)
    try:
        history = History(story, order.seed, past)
        times = _Times(clock)
        writer = SpoolWriter(
            data.path / "spool", f"{DEMO_FILE}-{order.seed:x}-0-0", past, limits=SpoolLimits(ballast_bytes=0)
        )
        company = _Company(core, data, Live(past), past)
        try:
            days = 0
            for batch in history.records(company.turn):
                for record in batch:
                    writer.append(record)
                writer.flush_now()
                times.written()
                core.ledger.ingest.catch_up()
                times.read()
                done = (past.unix_us() - story.start_us) * order.days // (until_us - story.start_us)
                if done > days:
                    days = done
                    report(days, history.figures.requests)
        finally:
            writer.close()
        past.put(until_us)
        core.ledger.ingest.catch_up()
        times.read()
    finally:
        core.ledger.close()
        core.database.close()
    write_demo_mark(data.path, DemoMark(order.seed, order.days, until_us, is_complete=True))
    figures = history.figures
    report(order.days, figures.requests)
    return DemoMade(
        str(data.path), order.days, order.seed, figures.requests, figures.errors, usd_text(figures.cost_nano_usd),
        round(times.write_s, 2), round(times.read_s, 2),
    ), history  # fmt: skip


class _Times:
    """Where the time goes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_ns = clock.monotonic_ns()
        self.write_s = 0.0
        self.read_s = 0.0

    def written(self) -> None:
        self.write_s += self._since()

    def read(self) -> None:
        self.read_s += self._since()

    def _since(self) -> float:
        now_ns = self._clock.monotonic_ns()
        span_s, self._last_ns = (now_ns - self._last_ns) / 1e9, now_ns
        return span_s


class _Company:
    """Carries out the story's turns as people would: manifests through `apply`, keys once the apps are there."""

    def __init__(self, core: Core, data: DataDirectory, live: Live, past: HistoryClock) -> None:
        self._core = core
        self._data = data
        self._live = live
        self._past = past
        self._reader = SnapshotReader(data.path / "snapshot", MasterKeys(data.master_key))
        self._keys: dict[tuple[str, str], str] = {}

    def turn(self, turn: Turn) -> InForce:
        """Apply a file; the snapshot that follows from it."""
        if turn.file == COMPANY:
            self._core.publisher.catch_up({})
            bootstrap(self._core.publisher, self._core.changes, bundled_documents(read_settings().model_store))
        folder = self._data.path / MANIFESTS
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / turn.file
        shutil.copyfile(COMPANY_DIR / turn.file, path)
        variables = {name: Secret(NO_CREDENTIAL) for name in CREDENTIALS}
        self._core.changes.apply(
            self._core.changes.read([read_file(path)]), variables, Author(turn.author), note=turn.note
        )
        if turn.file == COMPANY:
            self._core.publisher.commit("keys of the apps", self._make_keys)
        loaded = self._reader.load()
        snapshot = compile_snapshot(loaded.manifest, loaded.sections, str(self._data.run_dir), self._live)
        return snapshot, self._keys

    def _make_keys(self, tx: Connection) -> None:
        for caller in CALLERS:
            place = (caller.app, caller.environment)
            if place not in self._keys:
                # The text is thrown away: nobody calls with it. People make keys of their own.
                self._keys[place] = self._core.keys.add(tx, KEYS_BY, *place)[0].id


def _boot(data: DataDirectory) -> Boot:
    """What control needs to know of the directory it works in."""
    return Boot(
        role="control",
        data_dir=data.path,
        run_dir=data.run_dir,
        node=DEMO_FILE,
        boot_id="0",
        slot=0,
        life=0,
        listen_fds=(),
        master_key=data.master_key,
        log=LogChoice(),
        workers=1,
        options={},
    )


def _take_away(data: DataDirectory, *, keep: bool) -> None:
    """Everything in the directory is of this attempt: it was empty when the lock was taken, which is still held."""
    shutil.rmtree(data.run_dir, ignore_errors=True)
    for path in data.path.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOCK_FILE:
            path.unlink(missing_ok=True)
    # Last, and nothing after it but the empty directory: from here on it may be another's.
    (data.path / LOCK_FILE).unlink(missing_ok=True)
    if not keep and not any(data.path.iterdir()):
        data.path.rmdir()


def main() -> int:
    """`python -m lineclear.compose.demo JSON`: progress and the result as JSON lines."""
    asked = json.loads(sys.argv[1])
    configure_log("demo", LogChoice("human", "warning"))
    order = DemoOrder(Path(asked["data_dir"]), int(asked["days"]), int(asked["seed"]))

    def report(days: int, requests: int) -> None:
        _say({"days": days, "requests": requests})

    try:
        made, _ = make_demo(order, SystemClock(), report)
    except UpRefused as refused:
        _say({"refused": str(refused)})
        return 1
    except (LineclearError, Refused, OSError) as error:
        _say({"refused": f"the demo cannot be made: {reason_of(error)}"})
        return 1
    except KeyboardInterrupt:
        return 130
    _say({"made": asdict(made)})
    return 0


def _say(facts: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
