"""The runtime process: one replica of a hosted model version, on a Unix socket in the run directory.

In: the boot message with its RuntimeSpec. Out: states and heartbeats on the life socket, answers on the Unix socket.
End of file drains; a stalled engine ends the process, since unloading is exiting. It must not know keys or routes.
"""

import asyncio
import logging
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import uvloop

from lineclear.base.clock import Clock, SystemClock
from lineclear.base.log import configure_log
from lineclear.compose.life import HEARTBEAT_FACT, Boot, Life, life_fd, read_boot
from lineclear.domain.catalogue import Engine as EngineName
from lineclear.domain.errors import LineclearError
from lineclear.domain.exchange import Dialect
from lineclear.domain.runtimes import RuntimeSettings, RuntimeState, read_runtime_settings, socket_name
from lineclear.domain.snapshot import RuntimeSpec
from lineclear.net.dns import Resolver
from lineclear.net.egress import EgressGuard
from lineclear.net.limits import PoolLimits, ServerLimits
from lineclear.net.server import HTTPServer
from lineclear.net.tls import client_context
from lineclear.net.upstream import Pool
from lineclear.serving.admission import Admission
from lineclear.serving.door import Door
from lineclear.serving.engine import Engine
from lineclear.serving.gguf import GGUFEngine
from lineclear.serving.onnx import ONNXEngine
from lineclear.serving.runtime import Runtime, RuntimeRefused
from lineclear.serving.simulated import SimulatedEngine
from lineclear.serving.watch import EngineStalled, EngineWatch
from lineclear.wire.problems import problem

log = logging.getLogger("lineclear.runtime")

EXIT_REFUSED = 1
"""The model could not be made ready."""
EXIT_STALLED = 3
"""The engine was busy and completed no step."""
DRAIN_S = 25.0
"""How long running answers may take after the end of file; the supervisor kills after 30 s."""
BACKLOG = 1024
HEARTBEAT_S = 1
ENGINE_DIR_PREFIX = "eng-"


class RuntimeProcess:
    """The parts of one runtime, put together."""

    def __init__(self, boot: Boot, life: Life, spec: RuntimeSpec) -> None:
        """Builds everything; nothing runs yet.

        Raises:
            ValueError: the spec's settings do not fit its engine.
        """
        self._life = life
        self._spec = spec
        self._settings = read_runtime_settings(spec.engine, spec.settings)
        self._clock = SystemClock()
        self._private_dir = boot.run_dir / f"{ENGINE_DIR_PREFIX}{os.getpid()}"
        self._replica = boot.slot
        self._socket_path = boot.run_dir / socket_name(spec.name, self._replica)
        self._engine = build_engine(spec, self._settings, self._private_dir, self._clock)
        self._admission = Admission(self._settings.slots, self._settings.queue_max, self._clock)
        self._runtime = Runtime(spec, self._settings, self._engine, self._report)
        self._door = Door(self._engine, self._admission, lambda: self._runtime.condition)
        self._watch = EngineWatch(
            self._engine,
            lambda: (self._admission.running, self._door.ended),
            self._settings.stall_s,
            self._clock,
        )
        self._server = HTTPServer(self._door.handle, clock=self._clock, limits=ServerLimits(), refuse=_refuse)
        self._listener: socket.socket | None = None
        self._inode: int | None = None

    async def run(self) -> int:
        """From start to exit.

        Returns:
            The exit code: 0 after a drain, EXIT_REFUSED or EXIT_STALLED.
        """
        gone = asyncio.ensure_future(self._life.wait_eof())
        preparing = asyncio.ensure_future(self._runtime.prepare())
        beating: asyncio.Future[None] | None = None
        make_private_dir(self._private_dir)
        try:
            if not await is_served(self._socket_path):
                # Early, so that callers hear "loading" and not "no such file". A predecessor keeps its place till then.
                self._listen()
            await asyncio.wait({gone, preparing}, return_when=asyncio.FIRST_COMPLETED)
            if not preparing.done():
                return self._unload("told to leave before it was ready")
            try:
                reason = preparing.result()
            except RuntimeRefused:
                return EXIT_REFUSED
            if self._listener is None:
                self._listen()
            self._runtime.enter(RuntimeState.READY, reason)
            beating = asyncio.ensure_future(self._beat())
            return await self._serve_until(gone)
        finally:
            preparing.cancel()
            if beating is not None:
                beating.cancel()
            self._remove_files()

    async def _serve_until(self, gone: asyncio.Future[None]) -> int:
        watch = asyncio.ensure_future(self._watch.run())
        await asyncio.wait({gone, watch}, return_when=asyncio.FIRST_COMPLETED)
        try:
            if watch.done():
                watch.result()
        except EngineStalled as error:
            self._runtime.enter(RuntimeState.FAILED, str(error))
            return EXIT_STALLED
        watch.cancel()
        self._runtime.enter(
            RuntimeState.DRAINING, f"{self._admission.running} running, {self._admission.queued} waiting"
        )
        cut = await self._server.drain(DRAIN_S)
        return self._unload(f"drained, {cut} answers cut")

    def _unload(self, reason: str) -> int:
        self._runtime.enter(RuntimeState.UNLOADED, reason)
        return 0

    def _listen(self) -> None:
        self._listener = bind_unix(self._socket_path)
        self._inode = inode_of(self._socket_path)
        self._server.serve(self._listener)

    def _remove_files(self) -> None:
        shutil.rmtree(self._private_dir, ignore_errors=True)
        # A successor may have taken the path meanwhile; its file is not ours to remove.
        if self._listener is not None and inode_of(self._socket_path) == self._inode:
            self._socket_path.unlink(missing_ok=True)

    async def _beat(self) -> None:
        """Says every second how things stand; a process from which this stops coming is killed by the supervisor."""
        while True:
            state, reason = self._runtime.condition
            self._life.report(state.value, reason, {**self._runtime.facts, **self._progress()})
            await asyncio.sleep(HEARTBEAT_S)

    def _progress(self) -> dict[str, object]:
        return {
            HEARTBEAT_FACT: HEARTBEAT_S,
            **self._door.facts(),
            "steps": self._watch.steps,
            "last_step_unix_s": self._watch.last_step_unix_s,
        }

    def _report(self, state: RuntimeState, reason: str, facts: Mapping[str, object]) -> None:
        self._life.report(state.value, reason, facts)


def build_engine(spec: RuntimeSpec, settings: RuntimeSettings, private_dir: Path, clock: Clock) -> Engine:
    """The engine that a spec names.

    Raises:
        ValueError: the spec names no file for an engine that needs one.
    """
    if spec.engine is EngineName.SIMULATED:
        return SimulatedEngine(spec.upstream_id)
    if spec.artifact is None:
        raise ValueError(f"{spec.model} names no model file, which engine {spec.engine.value!r} needs")
    if spec.engine is EngineName.ONNX:
        if spec.sha256 is None:
            raise ValueError(f"{spec.model} names a file and no sha256; name both")
        return ONNXEngine(Path(spec.artifact), spec.sha256, spec.upstream_id, settings, private_dir=private_dir)
    pool = Pool(clock=clock, resolver=Resolver(clock), guard=EgressGuard(), limits=PoolLimits(), tls=client_context())
    return GGUFEngine(Path(spec.artifact), spec.upstream_id, settings, private_dir=private_dir, pool=pool, clock=clock)


def make_private_dir(path: Path) -> None:
    """An empty directory for this process alone, and those of dead runtimes beside it removed."""
    for other in path.parent.glob(f"{ENGINE_DIR_PREFIX}*"):
        if other == path or not Path(f"/proc/{other.name.removeprefix(ENGINE_DIR_PREFIX)}").exists():
            shutil.rmtree(other, ignore_errors=True)
    path.mkdir(mode=0o700)


async def is_served(path: Path) -> bool:
    """True if somebody accepts connections at a Unix socket."""
    try:
        _, writer = await asyncio.open_unix_connection(str(path))
    except OSError:
        return False
    writer.close()
    return True


def bind_unix(path: Path) -> socket.socket:
    """A listening Unix socket that takes the path in one step, from whoever had it; mode 0600."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    listener.bind(str(draft))
    draft.chmod(0o600)
    listener.listen(BACKLOG)
    draft.replace(path)
    return listener


def inode_of(path: Path) -> int | None:
    """Which file stands at a path now; None if there is none."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def main() -> None:
    """Entry of `python -m lineclear.compose.runtime --life-fd N`."""
    fd = life_fd(sys.argv[1:])
    boot = read_boot(fd)
    life = Life(fd)
    spec = msgspec.convert(boot.options["spec"], RuntimeSpec)
    configure_log(f"runtime.{spec.name}", boot.log)
    uvloop.run(run_and_leave(boot, life, spec))


async def run_and_leave(boot: Boot, life: Life, spec: RuntimeSpec) -> None:
    """Ends the process with the runtime's exit code."""
    try:
        code = await RuntimeProcess(boot, life, spec).run()
    except Exception as error:
        log.exception("the runtime ends on a defect of its own or a wrong spec")
        life.report(RuntimeState.FAILED, str(error))
        code = EXIT_REFUSED
    life.close()
    logging.shutdown()
    # From inside the loop: threads of an engine may hang, and so do tasks that wait for them, which the loop's own end
    # would cancel and wait for. Leaving gives the memory back.
    os._exit(code)


def _refuse(error: LineclearError) -> tuple[int, bytes, bytes]:
    answer = problem(Dialect.OPENAI, error, "")
    return answer.status, answer.head, answer.body


if __name__ == "__main__":
    main()
