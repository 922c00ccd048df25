"""One child process: how it is started, what it last said, and how its end is told to a person.

In: a command and a boot message. Out: pid, the life socket's status lines, the exit. Standard library only.
It must not decide what follows: the supervisor does.
"""

import json
import logging
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lineclear.compose.life import FAILED, STARTING, STATUS_BYTES_MAX, Boot

log = logging.getLogger(__name__)

CONTROL = "control"
"""The one role that resolves `${VARIABLE}`, and so the only one that is given the whole environment."""
HANDED_NAMES = frozenset(
    {"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "OMP_NUM_THREADS"}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR"}
)
HANDED_PREFIXES = ("LC_", "PYTHON", "COVERAGE_")
"""What every other role gets: where things lie and how to speak, no vendor's key, no token, no database."""
SPAWNED = "spawned"
"""The process exists and imports its modules, but has no boot message yet."""
EXITED = "exited"


@dataclass(slots=True)
class Child:
    """One process life. `state` is the last word of the process itself until it is `exited`."""

    part: str
    """The name of the place it fills, e.g. `gateway.0`."""
    role: str
    life: int
    pid: int
    start_ticks: int
    """When the kernel started it; with the pid it names a process beyond doubt."""
    life_socket: socket.socket | None
    """None once the process closed its end."""
    state: str = SPAWNED
    reason: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    exit_status: int | None = None
    """As `os.waitstatus_to_exitcode`: negative is a signal. None = it lives."""
    ready_ns: int | None = None
    """Monotonic ns of its first `ready`."""
    leaving: bool = False
    """It was told to drain: its end is no failure."""
    is_booted: bool = False
    """It was sent its boot message."""
    unread: bytes = b""
    end_reason: str = ""
    """Why it is about to end or to be ended, where that was said; the reason of a good state is none."""
    silent_looks: int = 0
    """How often the keeper looked since the last status line."""

    @property
    def is_alive(self) -> bool:
        return self.exit_status is None

    def boot(self, boot: Boot) -> None:
        """Sends the boot message; a child that is already dead is found by its exit, not here."""
        self.state = STARTING
        if self.life_socket is not None:
            try:
                self.life_socket.sendall(boot.to_line())
            except OSError as error:
                log.warning("a child went away before its boot message", extra={"facts": {"error": str(error)}})

    def tell(self, line: bytes) -> None:
        """Sends one more line; a child that is already dead is found by its exit, not here."""
        if self.life_socket is not None and not self.leaving:
            try:
                self.life_socket.sendall(line)
            except OSError as error:
                facts = {"part": self.part, "error": str(error)}
                log.warning("a child could not be told of the new certificate", extra={"facts": facts})

    def drain(self) -> None:
        """Gives the child its end of file; what it still says can be heard."""
        self.leaving = True
        if self.life_socket is not None:
            try:
                self.life_socket.shutdown(socket.SHUT_WR)
            except OSError:
                # The other end is closed already, which tells the child's end better than a shutdown would.
                self.close()

    def kill(self) -> None:
        """SIGKILL to the child's whole process group."""
        if self.is_alive:
            kill_group(self.pid)

    def close(self) -> None:
        if self.life_socket is not None:
            self.life_socket.close()
            self.life_socket = None

    def hear(self, data: bytes) -> bool:
        """Takes bytes from the life socket in; True if a status line changed what is known of the child."""
        self.silent_looks = 0
        *lines, self.unread = (self.unread + data).split(b"\n")
        if len(self.unread) > STATUS_BYTES_MAX:
            self.unread = b""
            log.error("a status line without an end was dropped", extra={"facts": {"part": self.part}})
        changes = [self._take(line) for line in lines]
        return any(changes)

    def _take(self, line: bytes) -> bool:
        try:
            status = json.loads(line)
            state, reason, facts = str(status["state"]), str(status["reason"]), dict(status["facts"])
        except (ValueError, KeyError, TypeError) as error:
            facts = {"part": self.part, "line": repr(line[:200]), "error": str(error)}
            log.warning("a status line could not be read", extra={"facts": facts})
            return False
        changed = (state, reason, facts) != (self.state, self.reason, self.facts)
        self.state, self.reason, self.facts = state, reason, facts
        if state == FAILED:
            self.end_reason = reason
        return changed

    def exit_text(self) -> str:
        """The end in words: `exit code 1`, `killed by SIGKILL`."""
        if self.exit_status is None:
            return "alive"
        if self.exit_status < 0:
            return f"killed by {signal.Signals(-self.exit_status).name}"
        return f"exit code {self.exit_status}"


def spawn(part: str, role: str, life: int, command: Sequence[str], listeners: Sequence[socket.socket]) -> Child:
    """Starts `command --life-fd N` in a process group of its own, with the listeners inherited.

    exec, never fork alone: the child shares no Python state with the supervisor.

    Raises:
        OSError: the machine has no process, descriptor or memory left.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    handed = [theirs.fileno(), *(listener.fileno() for listener in listeners)]
    try:
        for fd in handed:
            os.set_inheritable(fd, True)
        pid = os.posix_spawn(
            command[0],
            [*command, "--life-fd", str(theirs.fileno())],
            environment_of(role, os.environ),  # noqa: TID251 - handed on by name; config reads it in the child
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)],
            setpgroup=0,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2],
        )
    except OSError:
        ours.close()
        raise
    finally:
        # The supervisor has one thread, so no other child can be started while these are inheritable.
        for fd in handed:
            os.set_inheritable(fd, False)
        theirs.close()
    return Child(part, role, life, pid, start_ticks(pid) or 0, ours)


def environment_of(role: str, whole: Mapping[str, str]) -> dict[str, str]:
    """The variables that a process of this role is started with, out of the supervisor's own."""
    if role == CONTROL:
        return dict(whole)
    return {name: whole[name] for name in whole if name in HANDED_NAMES or name.startswith(HANDED_PREFIXES)}


def kill_group(pid: int) -> None:
    """Kills a process that leads a group, and the group; one that ended meanwhile is no failure."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        log.debug("the process group is gone already", extra={"facts": {"pid": pid}})


def reap(child: Child) -> bool:
    """True if the child's end was found now."""
    if not child.is_alive:
        return False
    pid, status = os.waitpid(child.pid, os.WNOHANG)
    if pid == 0:
        return False
    child.exit_status = os.waitstatus_to_exitcode(status)
    child.state = EXITED
    return True


def start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat: start time in clock ticks since boot. None if there is no such process.

    Source: proc_pid_stat(5). A zombie counts as gone: it holds no socket and no lock.
    """
    try:
        # The second field is the command in parentheses and may hold spaces; fields count from after it.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == b"Z" else int(fields[19])
