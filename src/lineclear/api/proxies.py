"""Who really asks, where proxies of the operator's own stand in front of the admin port.

In: an ASGI application, the networks whose proxies are believed. Out: the same application, with the address of the
caller in place of the proxy's. `x-forwarded-for` is believed only from such a peer, and only back to the first address
that is none of them: what stands further left anybody can have written.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from lineclear.config.settings import Network

FIELD: Final = b"x-forwarded-for"
HOPS_MAX: Final = 16
"""Addresses that are read, from the right; a longer chain of one's own proxies is none."""
ADDRESS_CHARS_MAX: Final = 64
_Address = IPv4Address | IPv6Address


def behind_proxies(application: ASGIApp, trusted: Sequence[Network]) -> ASGIApp:
    """The application; itself if no proxy is trusted."""
    if not trusted:
        return application

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if scope["type"] == "http" and client is not None:
            fields = [value for name, value in scope["headers"] if name == FIELD]
            scope = {**scope, "client": (caller_of(client[0], fields, trusted), client[1])}
        await application(scope, receive, send)

    return serve


def caller_of(peer: str, fields: Iterable[bytes], trusted: Sequence[Network]) -> str:
    """The address that a request comes from.

    Args:
        peer: Who is connected, as the socket says it.
        fields: The values of every `x-forwarded-for`, in order.
        trusted: Networks of the proxies that are believed.

    Returns:
        The rightmost address that is no trusted proxy's, or the last proxy that was believed: where nothing, or no
        address, stands left of it.
    """
    at = _address(peer)
    if at is None or not _is_trusted(at, trusted):
        return peer
    said = b",".join(fields).decode("latin-1").rsplit(",", HOPS_MAX)[-HOPS_MAX:]
    for text in reversed(said):
        before = _address(_without_port(text.strip(" \t")))
        if before is None:
            break
        at = before
        if not _is_trusted(at, trusted):
            break
    return str(at)


def _is_trusted(address: _Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)


def _without_port(text: str) -> str:
    """`192.0.2.1:5000` and `[2001:db8::1]:5000`, as some proxies write it, without brackets and port."""
    host, colon, port = text.rpartition(":")
    if colon and port.isascii() and port.isdigit() and len(port) <= 5 and (host.endswith("]") or host.count(":") == 0):
        text = host
    if text.startswith("[") and text.endswith("]") and ":" in text:
        return text[1:-1]
    return text


def _address(text: str) -> _Address | None:
    """None for whatever is no address, such as a name, `unknown` or one with a zone."""
    if len(text) > ADDRESS_CHARS_MAX or "%" in text:
        return None
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed
