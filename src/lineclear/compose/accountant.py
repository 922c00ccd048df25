"""The role `accountant`: opens the books from checkpoint, spool and snapshot directory, and serves them.

In: the boot message, pokes. Out: the socket `accountant.sock`, a checkpoint, an acknowledgement of each snapshot's
limits, status lines. Works without control and without a snapshot; leaves at the end of the life pipe.
"""

import asyncio
import errno
import fcntl
import logging
import os
import sys
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from lineclear.accountant.server import Accountant
from lineclear.base.clock import Clock, SystemClock
from lineclear.base.log import configure_log
from lineclear.base.seal import Keys
from lineclear.compose.life import DRAINING, FAILED, READY, STARTING, Boot, Life, life_fd, read_boot
from lineclear.domain.snapshot import LimitsSection
from lineclear.handover.acks import ACCOUNTANT, write_ack
from lineclear.handover.checkpoint import CheckpointBroken
from lineclear.handover.files import private_directory
from lineclear.handover.poke import PokeListener
from lineclear.handover.snapshot_dir import SnapshotReader, SnapshotRefused

LOOK_INTERVAL_S: Final = 0.5
"""How often it looks for a new snapshot by itself, in case a poke was lost."""
LOOKS_PER_REPORT: Final = 10
LOCK_TRIES: Final = 200
LOCK_RETRY_S: Final = 0.05

log = logging.getLogger("lineclear.accountant")


class LimitsWatch:
    """Brings the snapshot's limits into the books, and says so."""

    def __init__(self, boot: Boot, accountant: Accountant, clock: Clock) -> None:
        self._reader = SnapshotReader(boot.data_dir / "snapshot", Keys(boot.master_key), wanted="limits".__eq__)
        self._acks = boot.data_dir / "acks"
        self._accountant = accountant
        self._clock = clock
        self.revision = 0

    def look(self) -> None:
        """Loads the snapshot if there is another one. A refused one leaves the limits as they are."""
        if not self._reader.changed():
            return
        try:
            loaded = self._reader.load()
            content = loaded.sections.get("limits")
            section = msgspec.json.decode(content, type=LimitsSection) if content else LimitsSection({})
            self._accountant.books.apply_limits(section)
        except (SnapshotRefused, msgspec.MsgspecError, ValueError) as error:
            log.error("limits stay as of revision %d: %s", self.revision, error)  # noqa: TRY400 - the reason says it all
            return
        self.revision = loaded.manifest.revision
        at_us = self._clock.unix_us()
        write_ack(self._acks, ACCOUNTANT, loaded.manifest.epoch, self.revision, at_us=at_us)


async def run(boot: Boot, life: Life, clock: Clock) -> None:
    """Serves until the supervisor closes the life pipe.

    Raises:
        CheckpointBroken: the books cannot be trusted.
        OSError: the run directory cannot be used.
    """
    directory = boot.data_dir / "accountant"
    await hold_lock(directory)
    accountant = Accountant(boot.data_dir / "spool", directory / "checkpoint", clock)
    watch = LimitsWatch(boot, accountant, clock)
    watch.look()
    pokes = PokeListener(boot.run_dir, ACCOUNTANT)
    loop = asyncio.get_running_loop()
    pokes.attach(loop, watch.look)
    await accountant.serve(boot.run_dir / "accountant.sock")
    life.report(READY, facts=_facts(accountant, watch))
    log.info("ready", extra={"facts": _facts(accountant, watch)})
    looking = loop.create_task(_look_again(accountant, watch, life))
    try:
        await life.wait_eof()
    finally:
        life.report(DRAINING)
        looking.cancel()
        pokes.close()
        await accountant.close()


async def _look_again(accountant: Accountant, watch: LimitsWatch, life: Life) -> None:
    while True:
        for _ in range(LOOKS_PER_REPORT):
            await asyncio.sleep(LOOK_INTERVAL_S)
            watch.look()
        life.report(READY, facts=_facts(accountant, watch))


def _facts(accountant: Accountant, watch: LimitsWatch) -> dict[str, int]:
    """What the supervisor's live view shows of the books."""
    replayed = accountant.replayed_records
    return {"revision": watch.revision, "replayed_records": replayed, **accountant.counters}


async def hold_lock(directory: Path) -> int:
    """Takes the accountant's lock for life: two of them would both write the checkpoint.

    Raises:
        BlockingIOError: another one did not leave within 10 s.
    """
    descriptor = os.open(private_directory(directory) / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(LOCK_RETRY_S)
        else:
            return descriptor
    os.close(descriptor)
    raise BlockingIOError(errno.EAGAIN, "another accountant holds the data directory", str(directory / "lock"))


def main() -> None:
    """The entry of `python -m lineclear.compose.accountant --life-fd N`."""
    fd = life_fd(sys.argv[1:])
    boot = read_boot(fd)
    configure_log("accountant", boot.log)
    life = Life(fd)
    life.report(STARTING)
    clock = SystemClock()
    try:
        uvloop.run(run(boot, life, clock))
    except (CheckpointBroken, OSError) as error:
        log.error("cannot keep the books: %s", error)  # noqa: TRY400 - the message says what to do, a trace does not
        life.report(FAILED, str(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
