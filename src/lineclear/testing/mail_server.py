"""A mail server on a loopback port that keeps what it is handed, and refuses what a test tells it to.

In: letters by SMTP (RFC 5321), over a real socket, one connection at a time. Out: the letters. Knows EHLO, AUTH PLAIN
and LOGIN, STARTTLS if it has a certificate, MAIL, RCPT, DATA, RSET, NOOP, QUIT.
"""

import base64
import contextlib
import socket
import ssl
import threading
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Self

ACCEPT_S = 0.1


@dataclass
class Letter:
    """One letter as it was handed in."""

    sender: str
    recipients: list[str]
    content: bytes
    user: str
    """Who signed in; empty if nobody did."""
    is_encrypted: bool

    @property
    def message(self) -> EmailMessage:
        return message_from_bytes(self.content, policy=policy.default)


@dataclass
class _Talk:
    stream: Any  # Any: the file of a socket, plain or TLS
    connection: socket.socket | None = None
    """The plain one; None once it is encrypted."""
    sender: str = ""
    recipients: list[str] = field(default_factory=list)
    user: str = ""
    is_encrypted: bool = False


class MailServer:
    """Use as a context manager."""

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, user: str = "", password: str = "", data_reply: str = ""
    ) -> None:
        """`data_reply` such as `451 later` is said to every letter instead of taking it."""
        self.letters: list[Letter] = []
        self.arrived = threading.Event()
        self.data_reply = data_reply
        self.unknown: set[str] = set()
        """Addresses for which nothing is taken."""
        self._tls = tls
        self._known = base64.b64encode(f"\0{user}\0{password}".encode()).decode() if user else ""
        self._user = user
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(ACCEPT_S)
        self.port = self._listener.getsockname()[1]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(10)
            with contextlib.suppress(OSError):
                self._talk(connection)
            connection.close()

    def _talk(self, connection: socket.socket) -> None:
        talk = _Talk(connection.makefile("rwb"), connection)
        self._say(talk, "220 test ESMTP")
        self._converse(talk)

    def _converse(self, talk: _Talk) -> None:  # noqa: C901 - one case for each verb
        while line := talk.stream.readline():
            verb, _, rest = line.decode("ascii", "replace").strip().partition(" ")
            match verb.upper():
                case "EHLO" | "HELO":
                    can_encrypt = self._tls is not None and not talk.is_encrypted
                    offers = ["test", *(["STARTTLS"] if can_encrypt else []), *(["AUTH PLAIN"] if self._known else [])]
                    for offer in offers[:-1]:
                        self._say(talk, f"250-{offer}")
                    self._say(talk, f"250 {offers[-1]}")
                case "STARTTLS" if self._tls is not None and talk.connection is not None:
                    self._say(talk, "220 go ahead")
                    talk.stream.close()
                    with self._tls.wrap_socket(talk.connection, server_side=True) as encrypted:
                        self._converse(_Talk(encrypted.makefile("rwb"), is_encrypted=True))
                    return
                case "AUTH":
                    is_right = bool(self._known) and rest == f"PLAIN {self._known}"
                    talk.user = self._user if is_right else ""
                    self._say(talk, "235 welcome" if is_right else "535 no")
                case "MAIL" if self._known and not talk.user:
                    self._say(talk, "530 sign in first")
                case "MAIL":
                    talk.sender, talk.recipients = _address(rest), []
                    self._say(talk, "250 ok")
                case "RCPT":
                    self._recipient(talk, _address(rest))
                case "DATA":
                    self._say(talk, "354 go")
                    self._take(talk)
                case "RSET" | "NOOP":
                    self._say(talk, "250 ok")
                case "QUIT":
                    self._say(talk, "221 bye")
                    return
                case _:
                    self._say(talk, "502 unknown")

    def _recipient(self, talk: _Talk, address: str) -> None:
        if address in self.unknown:
            self._say(talk, "550 no such person")
            return
        talk.recipients.append(address)
        self._say(talk, "250 ok")

    def _take(self, talk: _Talk) -> None:
        content = b""
        while (line := talk.stream.readline()) not in (b".\r\n", b""):
            content += line.removeprefix(b".") if line.startswith(b"..") else line
        if self.data_reply:
            self._say(talk, self.data_reply)
            return
        self.letters.append(Letter(talk.sender, talk.recipients, content, talk.user, talk.is_encrypted))
        self._say(talk, "250 taken")
        self.arrived.set()

    def _say(self, talk: _Talk, line: str) -> None:
        talk.stream.write(f"{line}\r\n".encode())
        talk.stream.flush()


def _address(rest: str) -> str:
    return rest.partition("<")[2].partition(">")[0]
