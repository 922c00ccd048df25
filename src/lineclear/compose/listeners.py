"""The listening sockets, made and held by the supervisor so that no worker's death loses a connection.

In: host, port, number of slots. Out: bound, listening sockets. Standard library only.
"""

import errno
import ipaddress
import socket

from lineclear.compose.datadir import UpRefused

BACKLOG = 4096
"""Connections that wait in the kernel while a slot has no worker; the kernel cuts it to net.core.somaxconn."""


def bind_slots(host: str, port: int, slots: int) -> list[socket.socket]:
    """One SO_REUSEPORT listener per gateway slot, all on one port; port 0 lets the kernel choose.

    Raises:
        UpRefused: the port is taken, reserved, or the host is not one of this machine.
    """
    if port != 0:
        # With SO_REUSEPORT a second process of the same user binds the same port in silence and takes half of
        # the connections. A plain bind first makes a busy port an error.
        _bind(host, port, "--port").close()
    listeners = [_bind(host, port, "--port", reuse_port=True)]
    chosen = listeners[0].getsockname()[1]
    listeners.extend(_bind(host, chosen, "--port", reuse_port=True) for _ in range(slots - 1))
    for listener in listeners:
        listener.listen(BACKLOG)
    return listeners


def bind_admin(host: str, port: int) -> socket.socket:
    """The one listener of the admin port.

    Raises:
        UpRefused: as `bind_slots`.
    """
    listener = _bind(host, port, "--admin-port")
    listener.listen(BACKLOG)
    return listener


def url_of(listener: socket.socket, scheme: str = "http") -> str:
    """The address to give to a person; a wildcard bind is shown as loopback."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        host = "::1" if address.version == 6 else "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def is_loopback(host: str) -> bool:
    """True only for an address that other machines cannot reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bind(host: str, port: int, flag: str, *, reuse_port: bool = False) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UpRefused(f"the host {host!r} is not an address of this machine ({error.strerror})") from error
    try:
        # Without SO_REUSEADDR a restart would wait out TIME_WAIT; it does not share a listening port on Linux.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setblocking(False)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise UpRefused(_bind_message(error, host, port, flag)) from error
    return listener


def _bind_message(error: OSError, host: str, port: int, flag: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is taken by another process (see `ss -ltnp`); choose another with {flag}"
    if error.errno == errno.EACCES:
        return f"port {port} may only be used by root; choose one above 1023 with {flag}"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"the host {host!r} is not an address of this machine"
    return f"port {port} on {host} cannot be used: {error.strerror}"
