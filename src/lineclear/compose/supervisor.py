"""Starts, restarts and drains every other process, and holds the listening sockets; it serves nothing itself.

In: a configuration from `lineclear up`, signals, children's status lines, the snapshot directory.
Out: processes, state.json, the ready facts. Standard library and base only, so that nothing it runs on can break it.
SIGTERM or SIGINT drains (twice: kills), SIGUSR2 replaces every process one by one, SIGHUP applies the files anew.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from lineclear.base.clock import SystemClock
from lineclear.base.log import configure_log
from lineclear.compose import announce, resume
from lineclear.compose.child import Child, reap, spawn
from lineclear.compose.current import Current, SnapshotUnreadable, read_current, read_stamp
from lineclear.compose.datadir import UpRefused, reopen_data_directory, write_atomically
from lineclear.compose.life import FAILED, READY, WAITING, Boot
from lineclear.compose.listeners import url_of
from lineclear.compose.part import Part, restart_delay_s
from lineclear.compose.up import Prepared, UpConfig, prepare

log = logging.getLogger("lineclear.supervisor")

NODE = "local"
SNAPSHOT_POLL_S = 0.1
STAGE_S = 30.0
"""How long a process other than a gateway may take to drain before its process group is killed."""
GATEWAY_MARGIN_S = 10.0
"""A gateway ends its exchanges itself at the drain deadline; this much later it is killed."""
GATEWAY_START_S = 60.0
RUNTIME_START_S = 600.0
"""A runtime may have to read and warm a large model."""
IMPORT_S = 60.0
REMOVED_RUNTIME_S = 5.0
"""Gateways get this long to take the snapshot that no longer names a runtime before it drains."""

CommandOf = Callable[[str], Sequence[str]]
"""Role to the command that runs it; `--life-fd N` is appended."""


class RestartFailed(Exception):
    """A successor did not become ready; the process before it keeps its place."""


def role_command(role: str) -> Sequence[str]:
    """The entry module of a role, in this interpreter; -P: files in the current directory are not modules."""
    return (sys.executable, "-P", "-m", f"lineclear.compose.{role}")


class Supervisor:
    """All parts of one node, and what happens to them."""

    def __init__(self, config: UpConfig, held: Prepared, command_of: CommandOf = role_command) -> None:
        self.config = config
        self.held = held
        self.boot_id = secrets.token_hex(4)
        self.parts: dict[str, Part] = {}
        self.is_announced = False
        self.restarts_asked = 0
        self.restarts_done = 0
        self.restart_error = ""
        self._command_of = command_of
        self._clock = SystemClock()
        self._loop = asyncio.new_event_loop()
        self._pulse: asyncio.Future[None] = self._loop.create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._snapshot: Current | None = None
        self._snapshot_stamp: tuple[int, int, int] | None = None
        self._is_first_start = read_stamp(held.data.path / "snapshot") is None
        self._started_ns = self._clock.monotonic_ns()
        self._is_stopping = False
        self._exit_code = 0
        self._add_fixed_parts()

    # The life of the whole

    def run(self) -> int:
        """Runs until told to stop; the exit code of the process."""
        try:
            return self._loop.run_until_complete(self._run())
        finally:
            self._loop.close()

    async def _run(self) -> int:
        for number, act in self._signal_table():
            self._loop.add_signal_handler(number, act)
        resume.unblock_signals()
        announce.write_up_file(self.held.data, self.gateway_url, self.admin_url)
        for child in self._children():
            self._listen(child)
        self._on_child_signal()
        for name in ("control", "accountant"):
            self._fill(self.parts[name])
        if self.restarts_asked > self.restarts_done:
            self._own(self._restart_all(), "rolling restart")
        while not self._is_stopping:
            self._look_at_snapshot()
            self._announce_if_settled()
            await self._wait_for_change(SNAPSHOT_POLL_S)
        await self._stop_all()
        return self._exit_code

    def _signal_table(self) -> Iterable[tuple[signal.Signals, Callable[[], None]]]:
        return (
            (signal.SIGCHLD, self._on_child_signal),
            (signal.SIGTERM, self._on_stop_signal),
            (signal.SIGINT, self._on_stop_signal),
            (signal.SIGUSR2, self._on_restart_signal),
            (signal.SIGHUP, self._on_reload_signal),
        )

    def _add_fixed_parts(self) -> None:
        control = {
            "files": [str(path) for path in self.config.files],
            "admin_url": self.admin_url,
            "gateway_url": self.gateway_url,
            "behind_proxy": self.config.behind_proxy,
        }
        self.parts["control"] = Part("control", "control", 0, control, (self.held.admin,))
        self.parts["accountant"] = Part("accountant", "accountant", 0, {})
        for slot, listener in enumerate(self.held.slots):
            name = f"gateway.{slot}"
            self.parts[name] = Part(name, "gateway", slot, {"drain_s": self.config.drain_s}, (listener,))

    @property
    def gateway_url(self) -> str:
        return url_of(self.held.slots[0])

    @property
    def admin_url(self) -> str:
        return url_of(self.held.admin)

    @property
    def uptime_s(self) -> float:
        """Seconds since this supervisor began."""
        return (self._clock.monotonic_ns() - self._started_ns) / 1e9

    # Starting

    def _fill(self, part: Part) -> None:
        """Starts a process in an empty place; a place that is filled or about to be is left alone."""
        if part.current is None and part.successor is None and part.is_wanted and not self._is_stopping:
            part.current = self._start(part)
            if part.current is None:
                self._retry_later(part)
            else:
                self._boot(part, part.current)

    def _start(self, part: Part) -> Child | None:
        """A new process without its boot message; None if the machine has no room for one now."""
        life, part.lives = part.lives, part.lives + 1
        try:
            child = spawn(part.name, part.role, life, self._command_of(part.role), part.listeners)
        except OSError as error:
            part.failures += 1
            part.last_end = f"could not be started: {error.strerror}"
            log.warning("a process could not be started", extra={"facts": {"part": part.name, "error": str(error)}})
            return None
        log.debug("started", extra={"facts": {"part": part.name, "life": life, "pid": child.pid}})
        self._listen(child)
        self._changed()
        return child

    def _boot(self, part: Part, child: Child) -> None:
        child.boot(
            Boot(
                role=part.role,
                data_dir=self.held.data.path,
                run_dir=self.held.data.run_dir,
                node=NODE,
                boot_id=self.boot_id,
                slot=part.slot,
                life=child.life,
                listen_fds=tuple(listener.fileno() for listener in part.listeners),
                # A runtime runs model code and needs no secret.
                master_key=b"" if part.role == "runtime" else self.held.data.master_key,
                log=self.config.log,
                workers=self.config.workers,
                options=part.options,
            )
        )

    def _retry_later(self, part: Part) -> None:
        delay_s = restart_delay_s(part.failures)
        part.restart_timer = self._loop.call_later(delay_s, self._fill, part)

    # What children say

    def _listen(self, child: Child) -> None:
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
        elif child.hear(data):
            self._on_status(child)

    def _on_status(self, child: Child) -> None:
        if child.state == READY and child.ready_ns is None:
            child.ready_ns = self._clock.monotonic_ns()
        facts: dict[str, object] = {"part": child.part, "life": child.life}
        if child.reason:
            facts["reason"] = child.reason
        # What lies between start and ready is the child's own story, told in its own lines.
        level = {READY: logging.INFO, FAILED: logging.WARNING}.get(child.state, logging.DEBUG)
        log.log(level, child.state, extra={"facts": facts})
        self._changed()

    # What ends

    def _on_child_signal(self) -> None:
        for child in list(self._children()):
            if reap(child):
                self._on_exit(self.parts[child.part], child)

    def _on_exit(self, part: Part, child: Child) -> None:
        # The last words may still be unread; a reason in them is why it ended.
        words_before = child.reason
        self._on_words(child)
        if child.life_socket is not None:
            self._loop.remove_reader(child.life_socket)
            child.close()
        child.state = "exited"
        is_empty = part.forget(child)
        if child.leaving:
            log.info("left", extra={"facts": {"part": part.name, "life": child.life, "end": child.exit_text()}})
            if child.exit_status != 0:
                log.warning("a drain did not end well", extra={"facts": {"part": part.name, "end": child.exit_text()}})
        elif is_empty or not part.is_wanted:
            self._on_failure(part, child, child.reason or words_before)
        self._drop_unwanted(part)
        self._changed()

    def _on_failure(self, part: Part, child: Child, reason: str) -> None:
        part.count_failure(child, self._clock.monotonic_ns())
        facts = {"part": part.name, "life": child.life, "end": child.exit_text(), "failures": part.failures}
        log.warning("a process ended unasked", extra={"facts": {**facts, "reason": reason} if reason else facts})
        if self._is_hopeless(part, reason):
            self._give_up(f"control could not start: {reason or child.exit_text()}")
        elif part.is_wanted and not self._is_stopping and part.successor is None:
            self._retry_later(part)

    def _is_hopeless(self, part: Part, reason: str) -> bool:
        """Only control can make the first snapshot, and at a first start nobody relies on what was there before."""
        if part.role != "control" or not self._is_first_start or self.is_announced:
            return False
        return bool(reason) or part.is_settled

    def _give_up(self, message: str) -> None:
        announce.complain(message)
        self._exit_code = 1
        self._is_stopping = True

    def _drop_unwanted(self, part: Part) -> None:
        if not part.is_wanted and _are_empty([part]):
            self.parts.pop(part.name, None)

    def _children(self) -> Iterator[Child]:
        for part in list(self.parts.values()):
            yield from list(part.children())

    # The snapshot decides whether gateways start and which runtimes run

    def _look_at_snapshot(self) -> None:
        stamp = read_stamp(self.held.data.path / "snapshot")
        if stamp is None or stamp == self._snapshot_stamp:
            return
        is_first = self._snapshot_stamp is None
        self._snapshot_stamp = stamp
        try:
            current = read_current(self.held.data.path / "snapshot")
        except SnapshotUnreadable:
            log.exception("the snapshot cannot be read here; the runtimes stay as they are")
        else:
            self._take_snapshot(current)
        if is_first:
            for slot in range(self.config.workers):
                self._fill(self.parts[f"gateway.{slot}"])

    def _take_snapshot(self, current: Current) -> None:
        before = self._snapshot
        if before is not None and (current.epoch, current.revision) < (before.epoch, before.revision):
            log.warning(
                "a lower revision was published and is refused", extra={"facts": {"revision": current.revision}}
            )
            return
        self._snapshot = current
        for name, spec in current.runtimes.items():
            self._want_runtime(f"runtime.{name}", {"spec": dict(spec)})
        wanted = {f"runtime.{name}" for name in current.runtimes}
        for part in list(self.parts.values()):
            if part.role == "runtime" and part.is_wanted and part.name not in wanted:
                self._unwant(part)

    def _want_runtime(self, name: str, options: dict[str, object]) -> None:
        part = self.parts.setdefault(name, Part(name, "runtime", 0, options))
        was_wanted, part.is_wanted = part.is_wanted, True
        if part.options != options:
            part.options = options
            self._own(self._replace_beside(part, RUNTIME_START_S), f"new settings of {name}")
        elif part.current is None or not was_wanted:
            self._fill(part)

    def _unwant(self, part: Part) -> None:
        part.is_wanted = False
        if part.restart_timer is not None:
            part.restart_timer.cancel()
        self._loop.call_later(REMOVED_RUNTIME_S, self._drain_unwanted, part)

    def _drain_unwanted(self, part: Part) -> None:
        if not part.is_wanted:
            if part.current is not None:
                self._let_go(part, part.current)
                part.current = None
            self._drop_unwanted(part)

    # Replacing, one place at a time

    def _on_restart_signal(self) -> None:
        if self._is_stopping:
            return
        self.restarts_asked += 1
        if self.restarts_asked == self.restarts_done + 1:
            self._own(self._renew(), "rolling restart")

    async def _renew(self) -> None:
        """First this process becomes the installed program's, then it replaces the others."""
        if not self.is_announced:
            await self._until(lambda: self.is_announced, announce.DEGRADED_S + 1)
        if await resume.can_exec(self._command_of("supervisor")):
            self._become_installed()
        self.restart_error = "the installed supervisor does not start; the running one goes on"
        log.error(self.restart_error)
        await self._restart_all()

    def _become_installed(self) -> NoReturn:
        """Replaces this program by the installed one; pid, children, sockets and lock stay."""
        for part in self.parts.values():
            if part.successor is not None:
                self._let_go(part, part.successor)
                part.successor = None
        state: resume.State = {
            "config": self.config.to_json(),
            "boot_id": self.boot_id,
            "run_dir": str(self.held.data.run_dir),
            "lock_fd": self.held.data.lock_fd,
            "slots": [listener.fileno() for listener in self.held.slots],
            "admin": self.held.admin.fileno(),
            "is_announced": self.is_announced,
            "restarts_asked": self.restarts_asked,
            "restarts_done": self.restarts_done,
            "started_ns": self._started_ns,
            "parts": [resume.part_state(part) for part in self.parts.values()],
        }
        fds = [listener.fileno() for listener in (*self.held.slots, self.held.admin)]
        fds += [self.held.data.lock_fd, *resume.life_fds(self.parts.values())]
        resume.exec_anew(self._command_of("supervisor"), state, fds)

    @classmethod
    def resumed(cls, state: resume.State, command_of: CommandOf) -> "Supervisor":
        """The supervisor that `_become_installed` described, in the new program."""
        config = UpConfig.from_json(state["config"])
        data = reopen_data_directory(config.data_dir, Path(state["run_dir"]), state["lock_fd"])
        slots = tuple(resume.adopt_socket(fd) for fd in state["slots"])
        admin = resume.adopt_socket(state["admin"])
        supervisor = cls(config, Prepared(data, slots, admin), command_of)
        by_fd = {listener.fileno(): listener for listener in (*slots, admin)}
        supervisor.boot_id = state["boot_id"]
        supervisor.is_announced = state["is_announced"]
        supervisor.restarts_asked = state["restarts_asked"]
        supervisor.restarts_done = state["restarts_done"]
        supervisor._started_ns = state["started_ns"]
        supervisor.parts = {part["name"]: resume.part_of(part, by_fd.__getitem__) for part in state["parts"]}
        return supervisor

    async def _restart_all(self) -> None:
        """Gateways, accountant, control, then runtimes: what reads a format is renewed before what writes it."""
        try:
            for part in [part for part in self.parts.values() if part.role == "gateway"]:
                await self._replace_beside(part, GATEWAY_START_S)
            await self._replace_after(self.parts["accountant"])
            await self._replace_after(self.parts["control"])
            for part in [part for part in self.parts.values() if part.role == "runtime" and part.is_wanted]:
                await self._replace_beside(part, RUNTIME_START_S)
        except RestartFailed as failure:
            self.restart_error = str(failure)
            log.error(self.restart_error)  # noqa: TRY400 - a refusal in words, its traceback says nothing more
        self.restarts_done = self.restarts_asked
        log.info("rolling restart done", extra={"facts": {"error": self.restart_error or None}})
        self._changed()

    async def _replace_beside(self, part: Part, start_s: float) -> None:
        """The successor takes the same socket and is ready before the old process stops accepting.

        Raises:
            RestartFailed: the successor did not become ready; the old one goes on.
        """
        await self._until(lambda: part.successor is None, start_s)
        if part.current is None:
            self._fill(part)
            return
        successor = self._start(part)
        if successor is None:
            raise RestartFailed(f"no successor of {part.name} could be started: {part.last_end}")
        part.successor = successor
        self._boot(part, successor)
        await self._until(lambda: successor.state == READY or not successor.is_alive, start_s)
        if successor.state != READY:
            self._discard_successor(part, successor)
            raise RestartFailed(
                f"the successor of {part.name} did not become ready within {start_s:g} s"
                f" ({successor.exit_text()}{': ' + successor.reason if successor.reason else ''}); the old one goes on"
            )
        self._promote(part, successor)

    async def _replace_after(self, part: Part) -> None:
        """For what must not run twice: the successor is loaded and waits, the old one leaves, the successor begins.

        Raises:
            RestartFailed: the successor did not even load; the old one goes on. Or it did not become ready.
        """
        successor = self._start(part)
        if successor is None:
            raise RestartFailed(f"no successor of {part.name} could be started: {part.last_end}")
        part.successor = successor
        await self._until(lambda: successor.state == WAITING or not successor.is_alive, IMPORT_S)
        if successor.state != WAITING:
            self._discard_successor(part, successor)
            raise RestartFailed(f"the successor of {part.name} could not load ({successor.exit_text()})")
        old = part.current
        if old is not None:
            self._let_go(part, old)
            await self._until(lambda: not old.is_alive, STAGE_S + 5)
        self._promote(part, successor)
        self._boot(part, successor)
        await self._until(lambda: successor.state == READY or not successor.is_alive, GATEWAY_START_S)
        if successor.state != READY:
            raise RestartFailed(f"the new {part.name} is not ready ({successor.state}: {successor.reason})")

    def _promote(self, part: Part, successor: Child) -> None:
        old, part.current, part.successor = part.current, successor, None
        if old is not None and not old.leaving:
            self._let_go(part, old)
        if not successor.is_alive:
            part.forget(successor)
            self._retry_later(part)

    def _discard_successor(self, part: Part, successor: Child) -> None:
        part.successor = None
        if successor.is_alive:
            successor.leaving = True
            part.leaving.append(successor)
            successor.kill()
        self._fill(part)

    def _let_go(self, part: Part, child: Child) -> None:
        """Tells a process to drain and sees to it that it ends."""
        part.leaving.append(child)
        if part.current is child:
            part.current = None
        child.drain()
        limit_s = self.config.drain_s + GATEWAY_MARGIN_S if part.role == "gateway" else STAGE_S
        self._loop.call_later(limit_s, self._kill_late, child, limit_s)
        self._changed()

    def _kill_late(self, child: Child, limit_s: float) -> None:
        if child.is_alive:
            log.warning(
                "killing a process that does not leave", extra={"facts": {"part": child.part, "after_s": limit_s}}
            )
            child.kill()

    def _on_reload_signal(self) -> None:
        """Control reads the `-f` files when it starts, so a new control applies them anew, all or nothing."""
        if not self._is_stopping and self.parts["control"].successor is None:
            self._own(self._replace_after(self.parts["control"]), "reload")

    # Stopping

    def _on_stop_signal(self) -> None:
        if self._is_stopping:
            log.warning("asked twice to stop: killing what is left")
            self._exit_code = 1
            for child in self._children():
                child.kill()
            return
        log.info(
            "stopping: no new exchanges, running ones may finish", extra={"facts": {"drain_s": self.config.drain_s}}
        )
        self._is_stopping = True
        self._changed()

    async def _stop_all(self) -> None:
        """Gateways first, so that what they called is still there; control last, so that it ingests their records."""
        for task in self._tasks:
            task.cancel()
        for part in self.parts.values():
            if part.restart_timer is not None:
                part.restart_timer.cancel()
        for role in ("gateway", "runtime", "accountant", "control"):
            parts = [part for part in self.parts.values() if part.role == role]
            for part in parts:
                part.is_wanted = False
                for child in [child for child in part.children() if not child.leaving]:
                    self._let_go(part, child)
                part.successor = None
            limit_s = self.config.drain_s + GATEWAY_MARGIN_S if role == "gateway" else STAGE_S
            await self._until(partial(_are_empty, parts), limit_s + 5)
        announce.withdraw(self.config, self.held.data)
        log.info("stopped")

    # Waiting and telling

    def _changed(self) -> None:
        """Something about the parts is new: whoever waits looks again, and state.json is rewritten."""
        if not self._pulse.done():
            self._pulse.set_result(None)
        write_atomically(self.held.data.run_dir / "state.json", self.view())

    def view(self) -> dict[str, object]:
        """The content of state.json."""
        return {
            "supervisor": os.getpid(),
            "boot_id": self.boot_id,
            "gateway_url": self.gateway_url,
            "admin_url": self.admin_url,
            "stopping": self._is_stopping,
            "announced": self.is_announced,
            "restart": {"asked": self.restarts_asked, "done": self.restarts_done, "error": self.restart_error},
            "parts": [row for part in self.parts.values() for row in part.view()],
        }

    async def _wait_for_change(self, limit_s: float) -> None:
        if self._pulse.done():
            self._pulse = self._loop.create_future()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._pulse), limit_s)

    async def _until(self, is_so: Callable[[], bool], limit_s: float) -> bool:
        deadline = self._loop.time() + limit_s
        while not is_so():
            left_s = deadline - self._loop.time()
            if left_s <= 0:
                return False
            await self._wait_for_change(min(left_s, 1.0))
        return True

    def _announce_if_settled(self) -> None:
        if not self.is_announced and announce.is_settled(self.parts.values(), self.uptime_s):
            self.is_announced = True
            facts = announce.ready_facts(self.config, self.held.data, self.parts.values(), self.gateway_url)
            announce.announce(self.config, facts)
            self._changed()

    def _own(self, work: Coroutine[object, object, None], name: str) -> None:
        """Runs a piece of work beside the rest and records how it ended."""
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_work_done)

    def _on_work_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            traceback = None if isinstance(error, RestartFailed) else error
            log.error("%s failed: %s", task.get_name(), error, exc_info=traceback)


def _are_empty(parts: Iterable[Part]) -> bool:
    return not any(True for part in parts for _ in part.children())


def main(arguments: Sequence[str], command_of: CommandOf = role_command) -> int:
    """`python -m lineclear.compose.supervisor CONFIG-JSON`, or `--resume FD` after a re-exec, or `--check`."""
    if arguments == ["--check"]:
        return 0
    if len(arguments) == 2 and arguments[0] == "--resume":
        supervisor = Supervisor.resumed(resume.read_state(int(arguments[1])), command_of)
        configure_log("supervisor", supervisor.config.log)
        log.info("this is the installed supervisor now")
        return supervisor.run()
    config = UpConfig.from_json(arguments[0])
    configure_log("supervisor", config.log)
    try:
        held = prepare(config)
    except UpRefused as refusal:
        announce.complain(str(refusal))
        return 1
    return Supervisor(config, held, command_of).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
