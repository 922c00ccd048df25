"""Notices by e-mail: one letter to a channel's addresses through the server's own mail server.

In: a message, addresses, where the mail server is. Out: nothing if the mail server took it for at least one address.
The connection is encrypted unless the setting says otherwise; addresses are judged by the egress guard.
"""

import smtplib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from lineclear.base.clock import Clock
from lineclear.base.secret import Secret
from lineclear.control.notices.message import Message
from lineclear.control.notices.posting import SendFailed
from lineclear.domain.errors import UpstreamError
from lineclear.net.dns import system_lookup
from lineclear.net.egress import EgressGuard

DEADLINE_S: Final = 15.0
"""For each step of the talk with the mail server."""
SUBJECT_CHARS_MAX: Final = 150
_PORTS: Final = {"smtp": 587, "smtps": 465}


@dataclass(frozen=True)
class MailServer:
    """Where letters are handed in."""

    host: str
    port: int
    is_tls: bool
    """From the first byte on."""
    is_plain: bool
    """Nothing is encrypted at all: for a relay on the same machine."""
    user: str
    password: Secret
    sender: str


def mail_server(url: str, sender: str) -> MailServer:
    """What `LINECLEAR_SMTP_URL` and `LINECLEAR_SMTP_FROM` say.

    Raises:
        ValueError: it cannot be used; the message does not repeat the URL, which holds a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise ValueError("LINECLEAR_SMTP_URL is not a URL") from error
    options = parse_qs(parts.query)
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/") or set(options) - {"tls"}:
        raise ValueError("LINECLEAR_SMTP_URL must be smtp://user:password@host:port or smtps://…; see docs/notices.md")
    if options.get("tls", ["none"]) != ["none"] or (options and parts.scheme == "smtps"):
        raise ValueError("LINECLEAR_SMTP_URL: only smtp:// may say tls=none, and nothing else")
    if "@" not in sender or any(char.isspace() for char in sender):
        raise ValueError("LINECLEAR_SMTP_FROM must be an address such as lineclear@example.com")
    return MailServer(
        parts.hostname, port, parts.scheme == "smtps", bool(options), unquote(parts.username or ""),
        Secret(unquote(parts.password or "")), sender,
    )  # fmt: skip


def send_mail(server: MailServer, addresses: Sequence[str], delivery: str, message: Message, clock: Clock) -> None:
    """Hand a letter in. Blocks.

    Raises:
        SendFailed: nobody of the addresses gets it.
    """
    letter = letter_of(server, addresses, delivery, message, clock)
    try:
        with _connection(server) as smtp:
            if server.user:
                smtp.login(server.user, server.password.reveal())
            smtp.send_message(letter, server.sender, list(addresses))
    except smtplib.SMTPRecipientsRefused as error:
        codes = ", ".join(f"{address} ({code})" for address, (code, _) in error.recipients.items())
        raise SendFailed(f"the mail server {server.host} takes nothing for {codes}") from error
    except smtplib.SMTPResponseException as error:
        raise SendFailed(f"the mail server {server.host} answered {error.smtp_code}") from error
    except (smtplib.SMTPException, OSError) as error:
        raise SendFailed(f"the mail server {server.host} did not take it: {type(error).__name__}") from error


def letter_of(
    server: MailServer, addresses: Sequence[str], delivery: str, message: Message, clock: Clock
) -> EmailMessage:
    """The letter; its Message-ID is the same at each attempt, so that it is shown once."""
    letter = EmailMessage()
    title = " ".join(message.title.split())
    letter["Subject"] = f"[Lineclear] {title[:SUBJECT_CHARS_MAX]}"
    letter["From"] = server.sender
    letter["To"] = ", ".join(addresses)
    letter["Date"] = format_datetime(clock.now())
    letter["Message-ID"] = f"<{delivery}@{server.sender.rpartition('@')[2]}>"
    letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note answers it
    letter.set_content("\n".join([message.title, "", *message.lines(), ""]))
    return letter


def _connection(server: MailServer) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if server.is_tls:
        return _JudgedTLS(server.host, server.port, timeout=DEADLINE_S, context=context)
    smtp = _Judged(server.host, server.port, timeout=DEADLINE_S)
    if not server.is_plain:
        try:
            smtp.starttls(context=context)
        except smtplib.SMTPNotSupportedError as error:
            smtp.close()
            words = f"the mail server {server.host} does not encrypt; `?tls=none` behind LINECLEAR_SMTP_URL permits it"
            raise SendFailed(words) from error
        except BaseException:
            smtp.close()
            raise
    return smtp


def _dial(host: str, port: int, timeout_s: float) -> socket.socket:
    """A connection to an address that was judged. Private ones are allowed: who runs the server named this host."""
    try:
        addresses = EgressGuard().check(system_lookup(host), private_network=True)
    except UpstreamError as error:
        raise SendFailed(f"the mail server {host} has an address that is never connected to") from error
    return socket.create_connection((addresses[0], port), timeout_s)


class _Judged(smtplib.SMTP):
    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return _dial(host, port, timeout)


class _JudgedTLS(smtplib.SMTP_SSL):
    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self.context.wrap_socket(_dial(host, port, timeout), server_hostname=host)
