"""Decides which processes run on this node, and holds the listening sockets; it serves nothing itself.

In: a configuration from `lineclear up`, signals, the snapshot directory. Out: parts to keep, state.json, the ready
facts. Standard library and base only, so that nothing it runs on can break it.
SIGTERM or SIGINT drains (twice: kills), SIGUSR2 replaces every process one by one, SIGHUP takes certificate and files
anew.
"""

import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NoReturn

from lineclear.base.certificate import Certificate
from lineclear.base.log import configure_log
from lineclear.compose import announce, resume
from lineclear.compose.certificates import EXPIRY_LOOK_S, Certificates
from lineclear.compose.child import Child
from lineclear.compose.current import (
    Current,
    SnapshotUnreadable,
    read_current,
    read_stamp,
    replica_part,
    replicas_of,
)
from lineclear.compose.datadir import UpRefused, reopen_data_directory, write_atomically
from lineclear.compose.detach import Background, go_to_background, trim_log
from lineclear.compose.keeper import CommandOf, Keeper, Launch, are_empty
from lineclear.compose.listeners import is_loopback, url_of
from lineclear.compose.notify import Notifier
from lineclear.compose.part import Part
from lineclear.compose.renewal import RUNTIME_START_S, RestartFailed, replace_after, replace_all, replace_beside
from lineclear.compose.up import Prepared, UpConfig, prepare

log = logging.getLogger("lineclear.supervisor")

SNAPSHOT_POLL_S = 0.5
"""How often the snapshot is looked at for models that came or went."""
START_POLL_S = 0.02
"""The same while everything waits for the first snapshot or for what it asks for."""
SILENCE_LOOK_S = 1.0
REMOVED_RUNTIME_S = 5.0
"""Gateways get this long to take the snapshot that no longer names a runtime before it drains."""


def role_command(role: str) -> Sequence[str]:
    """The entry module of a role, in this interpreter; -P: files in the current directory are not modules."""
    return (sys.executable, "-P", "-m", f"lineclear.compose.{role}")


class Supervisor:
    """What one node runs, from its start to its end."""

    def __init__(
        self,
        config: UpConfig,
        held: Prepared,
        command_of: CommandOf = role_command,
        boot_id: str | None = None,
        background: Background | None = None,
    ) -> None:
        self.config = config
        self.held = held
        self._scheme = "http" if held.certificate is None else "https"
        self._gateway_url = url_of(held.slots[0], self._scheme)
        self.is_announced = False
        self.restarts_asked = 0
        self.restarts_done = 0
        self.restart_error = ""
        self._reloads_asked = 0
        self._reloads_done = 0
        self._loop = asyncio.new_event_loop()
        launch = Launch(
            data=held.data,
            boot_id=boot_id or secrets.token_hex(4),
            log=config.log,
            workers=config.workers,
            drain_s=config.drain_s,
            command_of=command_of,
        )
        self.keeper = Keeper(self._loop, launch, self._write_state, self._on_failure)
        self.certificates = Certificates(config, held.certificate, self.keeper.clock)
        self.keeper.certificate = held.certificate
        self.started_ns = self.keeper.clock.monotonic_ns()
        self._snapshot: Current | None = None
        self._snapshot_stamp: tuple[int, int, int] | None = None
        self._is_first_start = read_stamp(held.data.path / "snapshot") is None
        self._exit_code = 0
        self._refused = ""
        """Why a first start ends; empty if it does not."""
        self._background = background
        self._notifier = Notifier(config.notify_socket)
        self._add_fixed_parts()

    @property
    def gateway_url(self) -> str:
        return self._gateway_url

    @property
    def admin_url(self) -> str:
        return url_of(self.held.admin, self._scheme)

    def _add_fixed_parts(self) -> None:
        control = {
            "files": [str(path) for path in self.config.files],
            "admin_url": self.admin_url,
            "gateway_url": self.gateway_url,
            "public_url": self.config.public_url,
            "public_admin_url": self.config.public_admin_url,
            "behind_proxy": self.config.behind_proxy,
            "is_admin_shared": not is_loopback(self.config.admin_host),
            "root_path": self.config.root_path,
        }
        self.keeper.parts["control"] = Part("control", "control", 0, control, (self.held.admin,))
        self.keeper.parts["accountant"] = Part("accountant", "accountant", 0, {})
        for slot, listener in enumerate(self.held.slots):
            part = Part(f"gateway.{slot}", "gateway", slot, {"drain_s": self.config.drain_s}, (listener,))
            self.keeper.parts[part.name] = part

    # From start to end

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
        self._write_up_file()
        self._look_at_expiry()
        self._adopt()
        self._look_for_silence()
        self._beat()
        for name in ("control", "accountant"):
            self.keeper.fill(self.keeper.parts[name])
        if self.restarts_asked > self.restarts_done:
            self.keeper.own(self._replace_all(), "rolling restart")
        if self._reloads_asked > self._reloads_done:
            # Asked of the program before this one; its notifier waits for the end of it.
            self.keeper.own(self._reload(), "reload")
        while not self.keeper.is_stopping:
            self._look_at_snapshot()
            self._announce_if_settled()
            await self.keeper.wait_for_change(SNAPSHOT_POLL_S if self.is_announced else START_POLL_S)
        await self._stop_all()
        if self._refused:
            # Last, where the person who typed the command looks: the others' farewells would bury it.
            announce.complain(self._refused)
        return self._exit_code

    def _look_for_silence(self) -> None:
        self.keeper.look_for_silence()
        if self.config.is_detached:
            trim_log(self.held.data.path)
        self._loop.call_later(SILENCE_LOOK_S, self._look_for_silence)

    def _beat(self) -> None:
        if self.config.watchdog_s is not None:
            self._notifier.tell("WATCHDOG=1")
            # Half of what is allowed, as sd_watchdog_enabled(3) asks for.
            self._loop.call_later(self.config.watchdog_s / 2, self._beat)

    def _adopt(self) -> None:
        """Takes over the processes that the program before this one left, if there was one."""
        for part in self.keeper.parts.values():
            for child in part.children():
                self.keeper.listen(child)
                if child.leaving:
                    self.keeper.see_out(part, child)
        self.keeper.reap_all()

    def _signal_table(self) -> Iterable[tuple[signal.Signals, Callable[[], None]]]:
        return (
            (signal.SIGCHLD, self.keeper.reap_all),
            (signal.SIGTERM, self._on_stop_signal),
            (signal.SIGINT, self._on_stop_signal),
            (signal.SIGUSR2, self._on_restart_signal),
            (signal.SIGHUP, self._on_reload_signal),
        )

    def _on_failure(self, part: Part, child: Child, reason: str) -> bool:
        """Only control can make the first snapshot, and at a first start nobody relies on what was there before."""
        if part.role != "control" or not self._is_first_start or self.is_announced:
            return False
        if not reason and not part.is_settled:
            return False
        self._refused = f"control could not start: {reason or child.exit_text()}"
        self._exit_code = 1
        self.keeper.is_stopping = True
        return True

    # The snapshot decides whether gateways start and which runtimes run

    def _look_at_snapshot(self) -> None:
        stamp = read_stamp(self.held.data.path / "snapshot")
        if stamp is None or stamp == self._snapshot_stamp:
            return
        is_first = self._snapshot_stamp is None
        self._snapshot_stamp = stamp
        if is_first:
            # Before the runtimes: they take long to load, and the data port need not wait behind them for a core.
            for slot in range(self.config.workers):
                self.keeper.fill(self.keeper.parts[f"gateway.{slot}"])
        try:
            current = read_current(self.held.data.path / "snapshot")
        except SnapshotUnreadable:
            log.exception("the snapshot cannot be read here; the runtimes stay as they are")
        else:
            self._take_snapshot(current)

    def _take_snapshot(self, current: Current) -> None:
        before = self._snapshot
        if before is not None and (current.epoch, current.revision) < (before.epoch, before.revision):
            facts = {"revision": current.revision, "in_force": before.revision}
            log.warning("a lower revision was published and is refused", extra={"facts": facts})
            return
        self._snapshot = current
        wanted: set[str] = set()
        for name, spec in current.runtimes.items():
            wanted |= self._want_runtime(name, spec)
        for part in list(self.keeper.parts.values()):
            if part.role == "runtime" and part.is_wanted and part.name not in wanted:
                self._unwant(part)

    def _want_runtime(self, runtime: str, spec: Mapping[str, object]) -> set[str]:
        """Sees to a part for each replica; returns their names."""
        # How many there are is no setting of any one of them: more of them is no reason to replace those that run.
        options = {"spec": {name: value for name, value in spec.items() if name != "replicas"}}
        changed: list[Part] = []
        names = [replica_part(runtime, replica) for replica in range(replicas_of(spec))]
        for replica, name in enumerate(names):
            part = self.keeper.parts.setdefault(name, Part(name, "runtime", replica, options))
            part.is_wanted = True
            if part.options != options:
                part.options = options
                changed.append(part)
            else:
                self.keeper.fill(part)
        if changed:
            self.keeper.own(self._replace_runtimes(changed), f"new settings of {runtime}")
        return set(names)

    async def _replace_runtimes(self, parts: Sequence[Part]) -> None:
        """One replica after the other, so that memory for one more is enough and the others go on serving."""
        for part in parts:
            try:
                await replace_beside(self.keeper, part, RUNTIME_START_S)
            except RestartFailed as failure:
                log.warning("new settings of a runtime are not in force", extra={"facts": {"reason": str(failure)}})
                return

    def _unwant(self, part: Part) -> None:
        part.is_wanted = False
        if part.restart_timer is not None:
            part.restart_timer.cancel()
        self._loop.call_later(REMOVED_RUNTIME_S, self._drain_unwanted, part)

    def _drain_unwanted(self, part: Part) -> None:
        if not part.is_wanted:
            if part.current is not None:
                self.keeper.let_go(part, part.current)
            self.keeper.drop_unwanted(part)

    # Rolling restart

    def _on_restart_signal(self) -> None:
        if self.keeper.is_stopping:
            return
        self.restarts_asked += 1
        if self.restarts_asked == self.restarts_done + 1:
            self.keeper.own(self._renew(), "rolling restart")

    async def _renew(self) -> None:
        """First this process becomes the installed program's, then it replaces the others."""
        await self.keeper.until(lambda: self.is_announced, announce.DEGRADED_S + 1)
        command = self.keeper.launch.command_of("supervisor")
        if await resume.can_exec(command):
            self._become(command)
        self.restart_error = "the installed supervisor does not start; the running one goes on"
        log.error(self.restart_error)
        await self._replace_all()

    async def _replace_all(self) -> None:
        goal = self.restarts_asked
        try:
            await replace_all(self.keeper)
        except RestartFailed as failure:
            self.restart_error = str(failure)
            log.error(self.restart_error)  # noqa: TRY400 - a refusal in words, its traceback says nothing more
        self.restarts_done = goal
        log.info("rolling restart done", extra={"facts": {"error": self.restart_error or None}})
        self.keeper.changed()
        if self.restarts_asked > goal:
            self.restart_error = ""
            await self._renew()

    def _become(self, command: Sequence[str]) -> NoReturn:
        """Replaces this program by the installed one; pid, children, sockets and lock stay."""
        parts = self.keeper.parts.values()
        for part in parts:
            if part.successor is not None:
                self.keeper.let_go(part, part.successor)
        state: resume.State = {
            "config": self.config.to_json(),
            "boot_id": self.keeper.launch.boot_id,
            "run_dir": str(self.held.data.run_dir),
            "lock_fd": self.held.data.lock_fd,
            "slots": [listener.fileno() for listener in self.held.slots],
            "admin": self.held.admin.fileno(),
            # In memory only, as the whole state is.
            "certificate": None if self.certificates.in_force is None else asdict(self.certificates.in_force),
            "certificate_error": self.certificates.error,
            "is_announced": self.is_announced,
            "restarts_asked": self.restarts_asked,
            "restarts_done": self.restarts_done,
            "reloads_open": self._reloads_asked - self._reloads_done,
            "started_ns": self.started_ns,
            "parts": [resume.part_state(part) for part in parts],
        }
        fds = [listener.fileno() for listener in (*self.held.slots, self.held.admin)]
        fds += [self.held.data.lock_fd, *resume.life_fds(parts)]
        resume.exec_anew(command, state, fds)

    @classmethod
    def resumed(cls, state: resume.State, command_of: CommandOf) -> "Supervisor":
        """The supervisor that `_become` described, in the new program."""
        config = UpConfig.from_json(state["config"])
        data = reopen_data_directory(config.data_dir, Path(state["run_dir"]), state["lock_fd"])
        slots = tuple(resume.adopt_socket(fd) for fd in state["slots"])
        admin = resume.adopt_socket(state["admin"])
        shown = None if state.get("certificate") is None else Certificate(**state["certificate"])
        supervisor = cls(config, Prepared(data, slots, admin, shown), command_of, state["boot_id"])
        by_fd = {listener.fileno(): listener for listener in (*slots, admin)}
        parts = [resume.part_of(part, by_fd.__getitem__) for part in state["parts"]]
        supervisor.keeper.parts = {part.name: part for part in parts}
        supervisor.certificates.error = state.get("certificate_error", "")
        supervisor.is_announced = state["is_announced"]
        supervisor.restarts_asked = state["restarts_asked"]
        supervisor.restarts_done = state["restarts_done"]
        supervisor._reloads_asked = state.get("reloads_open", 0)
        supervisor.started_ns = state["started_ns"]
        return supervisor

    def _on_reload_signal(self) -> None:
        """Control reads the `-f` files when it starts, so a new control applies them anew, all or nothing."""
        now_us = self.keeper.clock.monotonic_ns() // 1000
        self._notifier.tell("RELOADING=1", f"MONOTONIC_USEC={now_us}")
        self._reload_certificate()
        if self.keeper.is_stopping:
            self._notifier.tell("READY=1")
            return
        self._reloads_asked += 1
        if self._reloads_asked == self._reloads_done + 1:
            self.keeper.own(self._reload(), "reload")

    async def _reload(self) -> None:
        """A control that began before the signal may have read older files, so each signal is followed by a new one."""
        while self._reloads_done < self._reloads_asked:
            goal = self._reloads_asked
            try:
                await replace_after(self.keeper, self.keeper.parts["control"])
            except RestartFailed as failure:
                log.warning("the files were not applied anew", extra={"facts": {"reason": str(failure)}})
            self._reloads_done = goal
        self._notifier.tell("READY=1")

    # The certificate of both ports

    def _reload_certificate(self) -> None:
        """Every process shows the pair that lies in the files now, or all keep the one before."""
        if self.certificates.reload() and self.certificates.in_force is not None:
            self.keeper.show(self.certificates.in_force)
            self._write_up_file()
        self._write_state()

    def _write_up_file(self) -> None:
        announce.write_up_file(self.held.data, self.gateway_url, self.admin_url, self.certificates.in_force)

    def _look_at_expiry(self) -> None:
        self.certificates.warn_of_expiry()
        self._loop.call_later(EXPIRY_LOOK_S, self._look_at_expiry)

    # Stopping

    def _on_stop_signal(self) -> None:
        if self.keeper.is_stopping:
            log.warning("asked twice to stop: killing what is left")
            self._exit_code = 1
            self.keeper.kill_all()
            return
        facts = {"drain_s": self.config.drain_s}
        log.info("stopping: no new exchanges, running ones may finish", extra={"facts": facts})
        self._notifier.tell("STOPPING=1")
        self.keeper.is_stopping = True
        self.keeper.changed()

    async def _stop_all(self) -> None:
        """Gateways first, so that what they called is still there; control last, so that it ingests their records."""
        self.keeper.cancel_work()
        for listener in self.held.slots:
            # Held any longer, they would take connections that no worker will accept; the workers close last.
            listener.close()
        for role in ("gateway", "runtime", "accountant", "control"):
            parts = [part for part in self.keeper.parts.values() if part.role == role]
            for part in parts:
                part.is_wanted = False
                for child in [child for child in part.children() if not child.leaving]:
                    self.keeper.let_go(part, child)
            # A little more than the limit after which the keeper kills, for the machine to bury the dead.
            await self.keeper.until(partial(are_empty, parts), self.keeper.drain_limit_s(role) + 5)
        announce.withdraw(self.config, self.held.data)
        log.info("stopped")

    # Telling

    def view(self) -> dict[str, object]:
        """The content of state.json."""
        return {
            "supervisor": os.getpid(),
            "boot_id": self.keeper.launch.boot_id,
            "gateway_url": self.gateway_url,
            "admin_url": self.admin_url,
            "stopping": self.keeper.is_stopping,
            "announced": self.is_announced,
            "certificate": self.certificates.view(),
            "restart": {"asked": self.restarts_asked, "done": self.restarts_done, "error": self.restart_error},
            "parts": [row for part in self.keeper.parts.values() for row in part.view()],
        }

    def _write_state(self) -> None:
        self._notifier.tell_status(self._status_text())
        try:
            write_atomically(self.held.data.run_dir / "state.json", self.view())
        except OSError as error:
            # A full disk must not end the process that everything hangs on; the next change tries again.
            log.warning("state.json cannot be written", extra={"facts": {"error": str(error)}})

    def _status_text(self) -> str:
        parts = self.keeper.parts.values()
        absent = [part.name for part in parts if not part.is_ready]
        verb = "stopping" if self.keeper.is_stopping else "serving" if self.is_announced else "starting"
        notes = [f"not ready: {', '.join(absent)}"] if absent else []
        return "; ".join([f"{verb} at {self.gateway_url}", *notes, *filter(None, [self.certificates.error])])

    def _announce_if_settled(self) -> None:
        parts = self.keeper.parts.values()
        uptime_s = (self.keeper.clock.monotonic_ns() - self.started_ns) / 1e9
        if self.is_announced or not announce.is_settled(parts, uptime_s):
            return
        self.is_announced = True
        facts = announce.ready_facts(self.config, self.held.data, parts, self.gateway_url)
        try:
            announce.announce(self.config, facts)
        except OSError as error:
            log.warning("the ready facts cannot be written", extra={"facts": {"error": str(error)}})
        if self._background is not None:
            self._background.finish()
        self._notifier.tell("READY=1")
        self.keeper.changed()


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
    background = go_to_background() if config.is_detached else None
    if isinstance(background, int):
        return background
    configure_log("supervisor", config.log)
    try:
        held = prepare(config)
    except UpRefused as refusal:
        announce.complain(str(refusal))
        return 1
    if background is not None:
        configure_log("supervisor", config.log, background.open_log(held.data.path))
    return Supervisor(config, held, command_of, background=background).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
