"""The life protocol: how a child process learns what it is, tells how it is, and learns that it must go.

One socketpair per child. In: one JSON line, the boot message, then perhaps lines with a certificate to show from
now on; end of file means drain and exit. Out: one JSON line per status. Standard library only. It must not decide
what a state means: the supervisor does.
"""

import asyncio
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lineclear.base.certificate import Certificate
from lineclear.base.log import LogChoice

BOOT_BYTES_MAX = 1 << 20
STATUS_BYTES_MAX = 16 << 10
"""A Unix stream socket takes a line this small whole or not at all, so reports never arrive in halves."""
REASON_CHARS_MAX = 2000

HEARTBEAT_FACT = "heartbeat_s"
"""A child whose status carries this fact repeats its status at least this often; silence means that it hangs."""

WAITING = "waiting"
"""Modules are imported and the boot message is awaited; `read_boot` says so by itself."""
STARTING = "starting"
READY = "ready"
DRAINING = "draining"
FAILED = "failed"
"""States every role knows. A runtime has more (`queued`, `verifying`, `loading`, `warming`, `unloaded`)."""


@dataclass(frozen=True, slots=True)
class Boot:
    """What the supervisor tells a child once, at its start."""

    role: str
    """control | accountant | gateway | runtime."""
    data_dir: Path
    run_dir: Path
    """Where the Unix sockets are; short enough for their path limit."""
    node: str
    boot_id: str
    """Random hex per supervisor life; part of a gateway's source name."""
    slot: int
    """Which of its role's places this is; 0 for control and accountant."""
    life: int
    """How many processes this slot had before, so that no two share a name."""
    listen_fds: tuple[int, ...]
    """Inherited, bound and listening sockets; empty if the role opens its own."""
    master_key: bytes = field(repr=False)
    """32 bytes; never written anywhere by the child."""
    log: LogChoice
    workers: int
    """How many gateway slots there are."""
    options: Mapping[str, Any]
    """Role-specific JSON values; the role checks their types."""
    certificate: Certificate | None = None
    """What the role's listeners show; None = they speak without TLS."""

    @property
    def source(self) -> str:
        """This life's name in spool, pokes and acknowledgements: `<node>-<boot_id>-<slot>-<life>`."""
        return f"{self.node}-{self.boot_id}-{self.slot}-{self.life}"

    def to_line(self) -> bytes:
        """The boot message as it travels, newline included."""
        message = {
            "role": self.role,
            "data_dir": str(self.data_dir),
            "run_dir": str(self.run_dir),
            "node": self.node,
            "boot_id": self.boot_id,
            "slot": self.slot,
            "life": self.life,
            "listen_fds": list(self.listen_fds),
            "master_key": self.master_key.hex(),
            "log": {"format": self.log.format, "level": self.log.level},
            "workers": self.workers,
            "options": dict(self.options),
            "certificate": None if self.certificate is None else asdict(self.certificate),
        }
        return json.dumps(message).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> "Boot":
        """Reads a boot message.

        Raises:
            ValueError: a field is missing, unknown or not readable; supervisor and child are of different versions.
        """
        try:
            message = json.loads(line)
            return cls(
                **{
                    **message,
                    "data_dir": Path(message["data_dir"]),
                    "run_dir": Path(message["run_dir"]),
                    "listen_fds": tuple(message["listen_fds"]),
                    "master_key": bytes.fromhex(message["master_key"]),
                    "log": LogChoice(**message["log"]),
                    "certificate": _certificate_of(message.get("certificate")),
                }
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"the boot message does not fit this program ({error})") from error


def life_fd(argv: Sequence[str]) -> int:
    """The N of `--life-fd N`, the one argument of every role's entry module.

    Raises:
        SystemExit: the module was started by hand.
    """
    if len(argv) == 2 and argv[0] == "--life-fd" and argv[1].isdigit():
        return int(argv[1])
    raise SystemExit("this process is started by `lineclear up`, not by hand (it needs --life-fd N)")


def read_boot(fd: int) -> Boot:
    """Says `waiting`, then blocks until the boot message has come. `fd` stays open and the caller's, for `Life`.

    Raises:
        ValueError: the message does not fit this program.
        SystemExit: the supervisor went away, or has no use for this process any more.
    """
    with socket.socket(fileno=fd) as life:
        try:
            life.sendall(_status_line(WAITING, "", {}))
            received = bytearray()
            while not received.endswith(b"\n"):
                # Only to the line's end: what follows it is read when the child has begun.
                waiting = life.recv(65536, socket.MSG_PEEK)
                part = life.recv((waiting.find(b"\n") + 1) or len(waiting)) if waiting else b""
                if not part:
                    raise SystemExit(0)
                received += part
                if len(received) > BOOT_BYTES_MAX:
                    raise ValueError(f"the boot message is longer than {BOOT_BYTES_MAX} bytes")
        finally:
            life.detach()
    return Boot.from_line(bytes(received))


class Life:
    """The child's end after the boot message: reports go out, the end of file comes in."""

    def __init__(self, fd: int) -> None:
        """Takes ownership of `fd`."""
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self.reports_dropped = 0
        """Reports that found no reader (supervisor gone) or no room; the next report says the newer state."""

    def report(self, state: str, reason: str = "", facts: Mapping[str, object] | None = None) -> None:
        """Tells the supervisor the state of this process. Never blocks; a supervisor that is gone is no error.

        Raises:
            ValueError: the facts do not fit STATUS_BYTES_MAX.
        """
        line = _status_line(state, reason, facts or {})
        if len(line) > STATUS_BYTES_MAX:
            raise ValueError(f"a status of {len(line)} bytes is longer than {STATUS_BYTES_MAX}")
        try:
            self._socket.send(line, socket.MSG_NOSIGNAL)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            self.reports_dropped += 1

    def fileno(self) -> int:
        """For a process without an asyncio loop: readable means the end of file has come."""
        return self._socket.fileno()

    async def wait_eof(self, on_certificate: Callable[[Certificate], None] | None = None) -> None:
        """Returns when the supervisor closed its end or died: drain and exit.

        `on_certificate` is told each certificate that the role's listeners are to show from then on.
        """
        loop = asyncio.get_running_loop()
        unread = b""
        try:
            while data := await loop.sock_recv(self._socket, 65536):
                *lines, unread = (unread + data).split(b"\n")
                for certificate in map(_certificate_of_line, lines):
                    if on_certificate is not None and certificate is not None:
                        on_certificate(certificate)
        except ConnectionResetError:
            return

    def close(self) -> None:
        """Tells the supervisor, by the end of file, that nothing more will come."""
        self._socket.close()


def certificate_line(certificate: Certificate) -> bytes:
    """What tells a child that runs to show another certificate."""
    return json.dumps({"certificate": asdict(certificate)}).encode() + b"\n"


def _certificate_of_line(line: bytes) -> Certificate | None:
    return _certificate_of(json.loads(line)["certificate"])


# Any: what json gives; the class names the fields and the caller turns a misfit into its own words.
def _certificate_of(message: Any) -> Certificate | None:
    return None if message is None else Certificate(**message)


def _status_line(state: str, reason: str, facts: Mapping[str, object]) -> bytes:
    status = {"state": state, "reason": reason[:REASON_CHARS_MAX], "facts": dict(facts)}
    return json.dumps(status).encode() + b"\n"
