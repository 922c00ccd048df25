"""The gateway process: puts the walk's parts together and runs them on one loop until told to drain.

In: the boot message. Out: status lines, heartbeats, acknowledgements. Needs no control plane: it boots from
the snapshot directory.
"""

import asyncio
import logging
import socket
import sys
from collections import defaultdict

import msgspec
import uvloop

from lineclear.base.certificate import Certificate
from lineclear.base.clock import SystemClock
from lineclear.base.ids import ExchangeIds
from lineclear.base.log import configure_log
from lineclear.base.seal import Keys
from lineclear.compose.datadir import CONTROL_SOCKET
from lineclear.compose.life import DRAINING, READY, STARTING, Boot, Life, life_fd, read_boot
from lineclear.domain.errors import PlatformFault
from lineclear.domain.ledger import Heartbeat
from lineclear.domain.snapshot import AccountLimits
from lineclear.gateway.accounts import AccountantClient
from lineclear.gateway.current import Current
from lineclear.gateway.door import Door
from lineclear.gateway.forward import FORWARDS_MAX
from lineclear.gateway.inner import identify_inner
from lineclear.gateway.live import Live
from lineclear.gateway.mirror import Mirror
from lineclear.gateway.parts import Parts
from lineclear.handover.acks import write_ack
from lineclear.handover.inner_door import inner_door_listener
from lineclear.handover.lease import LeaseReader, lease_path
from lineclear.handover.overrides import JournalReader, journal_path
from lineclear.handover.poke import PokeListener
from lineclear.handover.snapshot_dir import SnapshotReader
from lineclear.handover.spool import SpoolWriter
from lineclear.net.dns import Resolver
from lineclear.net.egress import EgressGuard
from lineclear.net.limits import PoolLimits, ServerLimits
from lineclear.net.server import HTTPServer
from lineclear.net.tls import client_context, server_context
from lineclear.net.upstream import Origin, Pool

log = logging.getLogger("lineclear.gateway")

LOOK_INTERVAL_S = 0.5
"""How often the snapshot directory is looked at without a poke: an override must be in force within 500 ms."""
HEARTBEAT_S = 1.0
DRAIN_S = 600.0
"""Longest wait for open streams at a drain. Source: reliability-security.md §2, row S11."""


def main() -> None:
    """Run one gateway until the supervisor closes the life socket."""
    fd = life_fd(sys.argv[1:])
    boot = read_boot(fd)
    configure_log(f"gateway.{boot.slot}", boot.log)
    uvloop.run(_run(boot, Life(fd)))


class GatewayProcess:
    """One worker's parts and their upkeep."""

    def __init__(self, boot: Boot, life: Life) -> None:
        """Open the spool and build the parts; needs a running loop."""
        self._boot = boot
        self._life = life
        self._clock = SystemClock()
        self._loop = asyncio.get_running_loop()
        self._acknowledged = (0, 0, 0, "")
        self._ledger = SpoolWriter(boot.data_dir / "spool", boot.source, self._clock)
        reader = SnapshotReader(boot.data_dir / "snapshot", Keys(boot.master_key))
        self._live = Live(self._clock)
        self._lease = LeaseReader(lease_path(boot.data_dir))
        self._current = Current(reader, JournalReader(journal_path(boot.data_dir)), boot.run_dir, self._live)
        resolver = Resolver(self._clock)
        self._parts = Parts(
            clock=self._clock,
            ids=ExchangeIds(self._clock),
            current=self._current,
            ledger=self._ledger,
            accountant=AccountantClient(
                boot.run_dir / "accountant.sock", self._clock, self._limits_of, boot.workers, source=boot.source
            ),
            pool=Pool(
                clock=self._clock, resolver=resolver, guard=EgressGuard(), limits=PoolLimits(), tls=client_context()
            ),
            control=Origin(
                scheme="unix", host="control", port=0, path=str(boot.run_dir / CONTROL_SOCKET), private_network=True
            ),
            forwards=asyncio.Semaphore(FORWARDS_MAX),
            large_bodies=asyncio.Lock(),
            long_checks=asyncio.Lock(),
            counters=defaultdict(int),
        )
        self._mirror = Mirror(self._parts, boot.workers)
        door = Door(self._parts)
        self._tls = None if boot.certificate is None else server_context(boot.certificate)
        self._facts: dict[str, object] = {}
        if boot.certificate is not None:
            self._facts["certificate"] = boot.certificate.facts()
        self._server = HTTPServer(door, clock=self._clock, limits=ServerLimits(), refuse=door.refuse, ssl=self._tls)
        inner = Door(msgspec.structs.replace(self._parts, identify=identify_inner(Keys(boot.master_key))))
        self._inner = HTTPServer(inner, clock=self._clock, limits=ServerLimits(), refuse=inner.refuse)

    async def run(self) -> None:
        """Serve from the first snapshot on until the life socket's end of file, then drain."""
        poke = PokeListener(self._boot.run_dir, self._boot.source)
        poke.attach(self._loop, self._refresh)
        self._life.report(STARTING, "waiting for the first snapshot")
        self._parts.accountant.start()
        self._mirror.start()
        self._look()
        self._beat()
        end = asyncio.ensure_future(self._life.wait_eof(self._on_certificate))
        await self._until_first_snapshot(end)
        if self._current.is_ready:
            for listen_fd in self._boot.listen_fds:
                listener = socket.socket(fileno=listen_fd)
                listener.setblocking(False)
                self._server.serve(listener)
            inner_listener, inner_path = inner_door_listener(self._boot.run_dir, self._boot.source)
            self._inner.serve(inner_listener)
            end.add_done_callback(lambda _: inner_path.unlink(missing_ok=True))
            self._facts["revision"] = self._current.snapshot().revision
            self._life.report(READY, facts=self._facts)
        await end
        self._life.report(DRAINING)
        drain_s = float(self._boot.options.get("drain_s", DRAIN_S))
        await asyncio.gather(self._server.drain(drain_s), self._inner.drain(drain_s))
        poke.close()
        await self._mirror.close()
        self._parts.pool.close()
        await self._parts.accountant.close()
        self._ledger.close()

    async def _until_first_snapshot(self, end: asyncio.Future[None]) -> None:
        was_told = False
        while not self._current.is_ready and not end.done():
            await asyncio.sleep(LOOK_INTERVAL_S / 10)
            self._refresh()
            if self._current.refused_reason and not was_told:
                was_told = True
                self._life.report(STARTING, f"the snapshot is refused: {self._current.refused_reason}")

    def _on_certificate(self, certificate: Certificate) -> None:
        """New connections show it; told in the facts, so that status can say what is in force where."""
        if self._tls is not None:
            self._tls.use(certificate)
            self._facts["certificate"] = certificate.facts()
            if "revision" in self._facts:
                self._life.report(READY, facts=self._facts)

    def _limits_of(self, account: str) -> AccountLimits | None:
        return self._current.snapshot().limits.get(account)

    def _refresh(self) -> None:
        if self._lease.is_renewed():
            self._live.exposure.renew()
        self._current.refresh()
        if not self._current.is_ready:
            return
        snapshot = self._current.snapshot()
        complaint = self._current.overrides_refused
        in_force = (snapshot.epoch, snapshot.revision, snapshot.overrides, complaint)
        if in_force == self._acknowledged:
            return
        try:
            write_ack(
                self._boot.data_dir / "acks",
                self._boot.source,
                snapshot.epoch,
                snapshot.revision,
                at_us=self._clock.unix_us(),
                overrides=snapshot.overrides,
                complaint=complaint,
            )
        except OSError as error:
            log.warning("revision %d is in force and could not be acknowledged: %s", snapshot.revision, error)
        else:
            self._acknowledged = in_force

    def _look(self) -> None:
        self._loop.call_later(LOOK_INTERVAL_S, self._look)
        self._refresh()

    def _beat(self) -> None:
        self._loop.call_later(HEARTBEAT_S, self._beat)
        parts = self._parts
        counters = {
            **parts.counters,
            **self._server.counters,
            **parts.pool.counters,
            **self._ledger.counters,
            **parts.accountant.counters,
            "connections": self._server.connections + self._inner.connections,
            "exchanges_cut": self._current.exchanges.ended,
            "exchanges_open": self._server.exchanges_open + self._inner.exchanges_open,
        }
        try:
            self._ledger.append(Heartbeat(self._clock.unix_us(), counters))
        except PlatformFault as error:
            log.warning("no heartbeat: %s", error.message)


async def _run(boot: Boot, life: Life) -> None:
    await GatewayProcess(boot, life).run()


if __name__ == "__main__":
    main()
