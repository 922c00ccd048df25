"""Keeps every part filled: starts processes, hears them, notices their end, starts the next one after a wait.

In: parts, and what the supervisor decides about them. Out: live processes, and a pulse at every change.
Standard library and base only. It must not know what a role is for.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass

from lineclear.base.certificate import Certificate
from lineclear.base.clock import SystemClock
from lineclear.base.log import LogChoice
from lineclear.compose.child import EXITED, Child, reap, spawn
from lineclear.compose.datadir import DataDirectory
from lineclear.compose.life import FAILED, HEARTBEAT_FACT, READY, Boot, certificate_line
from lineclear.compose.part import Part, restart_delay_s

log = logging.getLogger("lineclear.supervisor")

NODE = "local"
STAGE_S = 30.0
"""How long a process other than a gateway may take to drain before its process group is killed."""
GATEWAY_MARGIN_S = 10.0
"""A gateway ends its exchanges itself at the drain deadline; this much later it is killed."""

SILENT_LOOKS_MAX = 10
"""A process that beats every second is killed after so many seconds of silence."""
LOADING_ROLES = frozenset({"runtime"})
LOADING_LOOKS_MAX = 600
"""A process of these roles says nothing while it reads a large file, but no longer than this."""

CommandOf = Callable[[str], Sequence[str]]
"""Role to the command that runs it; `--life-fd N` is appended."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What all boot messages of one supervisor life have in common."""

    data: DataDirectory
    boot_id: str
    log: LogChoice
    workers: int
    drain_s: float
    command_of: CommandOf


class Keeper:
    """The parts of one node and their processes."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        launch: Launch,
        on_change: Callable[[], None],
        on_failure: Callable[[Part, Child, str], bool],
    ) -> None:
        """Args:
        on_change: called after every change.
        on_failure: told of a part whose process ended unasked, and why; True ends all hope for it.
        """
        self.launch = launch
        self.parts: dict[str, Part] = {}
        self.certificate: Certificate | None = None
        """What every part with a listener shows to its callers; None = no TLS."""
        self.is_stopping = False
        self.clock = SystemClock()
        self._loop = loop
        self._on_change = on_change
        self._on_failure = on_failure
        self._pulse: asyncio.Future[None] = loop.create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    # Starting

    def fill(self, part: Part) -> None:
        """Starts a process in an empty place; a place that is filled or about to be is left alone."""
        if part.current is None and part.successor is None and part.is_wanted and not self.is_stopping:
            part.current = self.start(part)
            if part.current is None:
                self.retry_later(part)
            else:
                self.boot(part, part.current)

    def start(self, part: Part) -> Child | None:
        """A new process without its boot message; None if the machine has no room for one now."""
        life, part.lives = part.lives, part.lives + 1
        try:
            child = spawn(part.name, part.role, life, self.launch.command_of(part.role), part.listeners)
        except OSError as error:
            part.failures += 1
            part.last_end = f"could not be started: {error.strerror}"
            log.warning("a process could not be started", extra={"facts": {"part": part.name, "error": str(error)}})
            return None
        log.debug("started", extra={"facts": {"part": part.name, "life": life, "pid": child.pid}})
        self.listen(child)
        self.changed()
        return child

    def boot(self, part: Part, child: Child) -> None:
        """Sends the boot message."""
        child.boot(
            Boot(
                role=part.role,
                data_dir=self.launch.data.path,
                run_dir=self.launch.data.run_dir,
                node=NODE,
                boot_id=self.launch.boot_id,
                slot=part.slot,
                life=child.life,
                listen_fds=tuple(listener.fileno() for listener in part.listeners),
                # A runtime runs model code and needs no secret.
                master_key=b"" if part.role == "runtime" else self.launch.data.master_key,
                log=self.launch.log,
                workers=self.launch.workers,
                options=part.options,
                certificate=self.certificate if part.listeners else None,
            )
        )
        child.is_booted = True

    def show(self, certificate: Certificate) -> None:
        """Every process with a listener shows this certificate from now on, those that start later included."""
        self.certificate = certificate
        for part in self.parts.values():
            for child in part.children() if part.listeners else ():
                # One that still waits for its boot message finds the certificate there.
                if child.is_booted:
                    child.tell(certificate_line(certificate))

    def retry_later(self, part: Part) -> None:
        """Fills the place again after the wait that its failures call for."""
        delay_s = restart_delay_s(part.failures)
        part.restart_timer = self._loop.call_later(delay_s, self.fill, part)

    # Hearing

    def listen(self, child: Child) -> None:
        """Hears what a process says from now on."""
        if child.life_socket is not None:
            self._loop.add_reader(child.life_socket, self._on_words, child)

    def _on_words(self, child: Child) -> None:
        if child.life_socket is None:
            return
        try:
            data = child.life_socket.recv(65536)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self._loop.remove_reader(child.life_socket)
            child.close()
            return
        told_before = child.state, child.reason
        if child.hear(data):
            if (child.state, child.reason) != told_before:
                self._on_status(child)
            self.changed()

    def _on_status(self, child: Child) -> None:
        if child.state == READY and child.ready_ns is None:
            child.ready_ns = self.clock.monotonic_ns()
        facts: dict[str, object] = {"part": child.part, "life": child.life}
        if child.reason:
            facts["reason"] = child.reason
        # What lies between start and ready is the child's own story, told in its own lines.
        level = {READY: logging.INFO, FAILED: logging.WARNING}.get(child.state, logging.DEBUG)
        log.log(level, child.state, extra={"facts": facts})

    def look_for_silence(self) -> None:
        """Kills every process that promised heartbeats and lets none be heard; asked once a second.

        Counted in looks and not in seconds: if this process itself was stopped for a while, nobody else is to blame.
        """
        for child in self.children():
            child.silent_looks += 1
            if HEARTBEAT_FACT in child.facts:
                looks_max, what = SILENT_LOOKS_MAX, "no heartbeat"
            elif child.role in LOADING_ROLES and child.ready_ns is None:
                looks_max, what = LOADING_LOOKS_MAX, f"still {child.state}, and not a word"
            else:
                continue
            if child.silent_looks > looks_max and child.is_alive:
                child.end_reason = f"{what} for {looks_max} s: the process hangs or was stopped"
                log.warning("killing a process that is silent", extra={"facts": {"part": child.part}})
                child.kill()

    # Ending

    def reap_all(self) -> None:
        """Notices every process that ended."""
        for child in list(self.children()):
            if reap(child):
                self._on_exit(self.parts[child.part], child)

    def _on_exit(self, part: Part, child: Child) -> None:
        # The last words may still be unread; a reason in them is why it ended.
        self._on_words(child)
        if child.life_socket is not None:
            self._loop.remove_reader(child.life_socket)
            child.close()
        child.state = EXITED
        is_empty = part.forget(child)
        if child.leaving:
            log.info("left", extra={"facts": {"part": part.name, "life": child.life, "end": child.exit_text()}})
            if child.exit_status != 0:
                log.warning("a drain did not end well", extra={"facts": {"part": part.name, "end": child.exit_text()}})
        elif is_empty or not part.is_wanted:
            self._on_unasked_end(part, child, child.end_reason)
        self.drop_unwanted(part)
        self.changed()

    def _on_unasked_end(self, part: Part, child: Child, reason: str) -> None:
        part.count_failure(child, self.clock.monotonic_ns())
        facts = {"part": part.name, "life": child.life, "end": child.exit_text(), "failures": part.failures}
        log.warning("a process ended unasked", extra={"facts": {**facts, "reason": reason} if reason else facts})
        is_hopeless = self._on_failure(part, child, reason)
        if part.is_wanted and part.successor is None and not (is_hopeless or self.is_stopping):
            self.retry_later(part)

    def let_go(self, part: Part, child: Child) -> None:
        """Tells a process to drain and sees to it that it ends."""
        part.leaving.append(child)
        if part.current is child:
            part.current = None
        if part.successor is child:
            part.successor = None
        child.drain()
        self.see_out(part, child)
        self.changed()

    def see_out(self, part: Part, child: Child) -> None:
        """Kills a draining process that takes too long."""
        limit_s = self.drain_limit_s(part.role)
        self._loop.call_later(limit_s, self._kill_late, child, limit_s)

    def drain_limit_s(self, role: str) -> float:
        """How long a process of this role may drain."""
        return self.launch.drain_s + GATEWAY_MARGIN_S if role == "gateway" else STAGE_S

    def _kill_late(self, child: Child, limit_s: float) -> None:
        if child.is_alive:
            log.warning(
                "killing a process that does not leave", extra={"facts": {"part": child.part, "after_s": limit_s}}
            )
            child.kill()

    def kill_all(self) -> None:
        """SIGKILL to every process group."""
        for child in self.children():
            child.kill()

    def drop_unwanted(self, part: Part) -> None:
        """Forgets a part that nobody wants once it is empty."""
        if not part.is_wanted and are_empty([part]):
            self.parts.pop(part.name, None)

    def children(self) -> Iterator[Child]:
        """Every process that may be alive."""
        for part in list(self.parts.values()):
            yield from list(part.children())

    # Waiting

    def changed(self) -> None:
        """Something about the parts is new: whoever waits looks again."""
        if not self._pulse.done():
            self._pulse.set_result(None)
        self._on_change()

    async def wait_for_change(self, limit_s: float) -> None:
        """Returns at the next change, or when the limit has passed."""
        if self._pulse.done():
            self._pulse = self._loop.create_future()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._pulse), limit_s)

    async def until(self, is_so: Callable[[], bool], limit_s: float) -> bool:
        """True as soon as the claim holds; False if the limit passed first."""
        deadline = self._loop.time() + limit_s
        while not is_so():
            left_s = deadline - self._loop.time()
            if left_s <= 0:
                return False
            await self.wait_for_change(min(left_s, 1.0))
        return True

    def own(self, work: Coroutine[object, object, None], name: str) -> None:
        """Runs a piece of work beside the rest and records how it ended."""
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_work_done)

    def _on_work_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed: %s", task.get_name(), error, exc_info=error)

    def cancel_work(self) -> None:
        """Ends what `own` began, and every wait before a restart."""
        for task in self._tasks:
            task.cancel()
        for part in self.parts.values():
            if part.restart_timer is not None:
                part.restart_timer.cancel()


def are_empty(parts: Iterable[Part]) -> bool:
    """True if no process fills any of these places."""
    return not any(True for part in parts for _ in part.children())
