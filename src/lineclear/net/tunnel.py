"""A connection to a target through an egress proxy: CONNECT, and the tunnel's socket once it stands.

In: the proxy, one of its addresses, a target. Out: a connected socket on which the target is the other end.
Never sends a byte meant for the target before the proxy agreed; knows nothing of requests.
Source: RFC 9110 §9.3.6 (CONNECT), §11.7 (Proxy-Authorization); RFC 7617 (Basic).
"""

import asyncio
import base64
import re
import socket

import msgspec

from lineclear.base.secret import Secret
from lineclear.domain.errors import ErrorCode, Sent, UpstreamError
from lineclear.net.failures import broken

HEAD_BYTES_MAX = 16 * 1024
PHASE = "proxy"
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r)")


class Proxy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a proxy listens, in plain HTTP, and how it lets us in."""

    host: str
    port: int
    credential: Secret | None = None
    """`user:password`; None = it asks for none."""


async def dig(proxy: Proxy, address: str, host: str, port: int) -> socket.socket:
    """A socket that leads to `host`:`port` by way of the proxy at `address`.

    Raises:
        UpstreamError: phase `proxy`, nothing was sent to the target.
    """
    loop = asyncio.get_running_loop()
    dug = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        dug.setblocking(False)
        dug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(dug, (address, proxy.port))
        await loop.sock_sendall(dug, _request(proxy, host, port))
        _judge(await _read_head(loop, dug))
    except OSError as error:
        dug.close()
        words = "refused the connection" if isinstance(error, ConnectionRefusedError) else "could not be reached"
        raise _failure(f"the egress proxy {words}") from error
    except BaseException:
        dug.close()
        raise
    return dug


def _request(proxy: Proxy, host: str, port: int) -> bytes:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"host: {target}"]
    if proxy.credential is not None:
        lines.append("proxy-authorization: Basic " + base64.b64encode(proxy.credential.reveal().encode()).decode())
    return "\r\n".join([*lines, "", ""]).encode("ascii")


async def _read_head(loop: asyncio.AbstractEventLoop, dug: socket.socket) -> bytes:
    """The proxy's answer up to its empty line, and nothing beyond: what follows belongs to the tunnel."""
    head = b""
    while b"\r\n\r\n" not in head:
        if len(head) > HEAD_BYTES_MAX:
            raise _failure("the egress proxy's answer is no answer to CONNECT")
        data = await loop.sock_recv(dug, 4096)
        if not data:
            raise _failure("the egress proxy closed the connection before the tunnel stood")
        head += data
    return head


def _judge(head: bytes) -> None:
    status = _STATUS.match(head)
    if status is None:
        raise _failure("the egress proxy's answer is no answer to CONNECT")
    code = int(status.group(1))
    if code == 407:
        raise _failure("the egress proxy refuses these credentials or asks for some (407): egress_proxy_credential")
    if not 200 <= code < 300:
        raise _failure(f"the egress proxy does not lead to the target: it answered {code} to CONNECT")
    if head.index(b"\r\n\r\n") + 4 != len(head):
        # The target waits for us to speak first, so these bytes are nobody's.
        raise _failure("the egress proxy sent more than its answer to CONNECT")


def _failure(message: str) -> UpstreamError:
    return broken(ErrorCode.UPSTREAM_UNREACHABLE, message, sent=Sent.NO, phase=PHASE)
