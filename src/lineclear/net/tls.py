"""TLS contexts: towards targets always verified, with resumed sessions; towards callers with ours.

In: a trust file, a certificate with its key. Out: `ssl.SSLContext`s for asyncio.
Must not offer a way to leave verification out.
"""

import ssl
from collections import OrderedDict
from pathlib import Path
from typing import Any

from lineclear.base.certificate import Certificate

SESSIONS_MAX = 512
"""Servers whose last session is kept; the one used longest ago goes first."""


class ResumingContext(ssl.SSLContext):
    """Offers each server the session it gave us last, which spares a round trip and its signature.

    Neither asyncio nor uvloop can pass a session; both call `wrap_bio`, so it is added there.
    """

    sessions: "OrderedDict[str, ssl.SSLSession]"

    # Any: the signature belongs to the standard library's class and its two loops call it differently.
    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        server_hostname = kwargs.get("server_hostname")
        if isinstance(server_hostname, str) and kwargs.get("session") is None:
            kwargs["session"] = self.sessions.get(server_hostname)
        return super().wrap_bio(*args, **kwargs)

    def keep_session(self, connected: ssl.SSLObject) -> None:
        """Remembers the session of a connection that worked. TLS 1.3 tickets come after the handshake."""
        session, server_hostname = connected.session, connected.server_hostname
        if session is None or server_hostname is None:
            return
        self.sessions[server_hostname] = session
        self.sessions.move_to_end(server_hostname)
        if len(self.sessions) > SESSIONS_MAX:
            self.sessions.popitem(last=False)


def client_context(ca_file: Path | None = None) -> ResumingContext:
    """A context for connections to targets: TLS 1.2 or newer, certificate and name verified.

    `ca_file` replaces the system's trust store.
    """
    context = ResumingContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sessions = OrderedDict()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(cafile=str(ca_file))
    context.set_alpn_protocols(["http/1.1"])
    return context


class ServerContext(ssl.SSLContext):
    """A context for our own ports whose certificate can be changed: each new connection shows the one in force.

    Loading another pair into a context in use would not do: it keeps one pair per kind of key and would show both.
    """

    _in_force: ssl.SSLContext
    certificate: Certificate
    """The one in force."""

    def use(self, certificate: Certificate) -> None:
        """New connections show this certificate from now on; open ones keep theirs.

        Raises:
            ssl.SSLError: it cannot be used; the one before stays in force.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        certificate.load_into(context)
        context.set_alpn_protocols(["http/1.1"])
        self._in_force, self.certificate = context, certificate

    # Any: the signature belongs to the standard library's class and its two loops call it differently.
    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return self._in_force.wrap_bio(*args, **kwargs)


def server_context(certificate: Certificate) -> ServerContext:
    """A context for our own ports: TLS 1.2 or newer, HTTP/1.1 only.

    Raises:
        ssl.SSLError: the certificate cannot be used.
    """
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.use(certificate)
    return context
