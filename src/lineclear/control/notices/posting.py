"""One POST to a receiver of notices: through the egress guard, bounded in time, no redirect followed.

In: a URL, a JSON body, headers. Out: nothing if the receiver took it. Must not log or repeat the URL, which may be a
secret; of the answer only its status counts.
"""

import asyncio
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from lineclear.base.clock import Clock
from lineclear.config.notice_rules import url_flaw
from lineclear.domain.errors import UpstreamError
from lineclear.net.dns import Resolver
from lineclear.net.egress import EgressGuard
from lineclear.net.tls import client_context
from lineclear.net.upstream import Origin, Pool, PoolLimits

DEADLINE_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 64 * 1024
"""Read and thrown away, so that the receiver is not cut off while it answers."""
GONE: Final = 410
_PORTS: Final = {"http": 80, "https": 443}


class SendFailed(Exception):
    """A notice did not arrive; the message says why, for people."""

    def __init__(self, message: str, *, is_final: bool = False, wait_s: int = 0) -> None:
        super().__init__(message)
        self.is_final = is_final
        """The receiver wants nothing more."""
        self.wait_s = wait_s
        """What it asked to wait; 0 = nothing."""


def post_json(url: str, body: bytes, headers: Mapping[str, str], clock: Clock, *, private_network: bool) -> None:
    """Post a body. Blocks, at most DEADLINE_S.

    Raises:
        SendFailed: for anything but a status from 200 to 299.
    """
    origin, target = _origin(url, private_network=private_network)
    fields = {
        "host": _host(origin),
        "user-agent": "lineclear",
        "accept": "*/*",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    status, retry_after = asyncio.run(
        _post(origin, f"POST {target} HTTP/1.1\r\n{head}\r\n".encode("ascii"), body, clock)
    )
    if 200 <= status < 300:
        return
    words = "answered 410: it wants nothing more" if status == GONE else f"answered {status}"
    wait_s = int(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 7 else 0
    raise SendFailed(f"{origin.host} {words}", is_final=status == GONE, wait_s=wait_s)


def _origin(url: str, *, private_network: bool) -> tuple[Origin, str]:
    flaw = url_flaw(url)
    if flaw:
        raise SendFailed(f"nothing can be posted to the URL of this channel: {flaw}")
    parts = urlsplit(url)
    if parts.scheme == "http" and not private_network:
        raise SendFailed(
            "http:// would send notices in clear; use https://, or LINECLEAR_NOTICES_PRIVATE_NETWORK=1 at the server"
        )
    port = parts.port or _PORTS[parts.scheme]
    origin = Origin(
        scheme=parts.scheme, host=str(parts.hostname), port=port, path="", private_network=private_network
    )  # fmt: skip
    return origin, quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (f"?{parts.query}" if parts.query else "")


def _host(origin: Origin) -> str:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return host if origin.port == _PORTS[origin.scheme] else f"{host}:{origin.port}"


async def _post(origin: Origin, head: bytes, body: bytes, clock: Clock) -> tuple[int, str]:
    pool = Pool(clock=clock, resolver=Resolver(clock), guard=EgressGuard(), limits=PoolLimits(), tls=client_context())
    call = pool.call(origin, "", head, body)
    call.deadline(clock.monotonic_ns() + int(DEADLINE_S * 1e9), "total")
    size = 0
    try:
        await call.open()
        while size <= ANSWER_BYTES_MAX and (piece := await call.read()):
            size += len(piece)
    except UpstreamError as error:
        if error.phase == "egress":
            raise SendFailed(
                f"{origin.host} has a loopback, private or reserved address, and nothing is posted there; an operator"
                " permits private ones by LINECLEAR_NOTICES_PRIVATE_NETWORK=1"
            ) from error
        raise SendFailed(f"{origin.host} did not answer: {error.message}") from error
    finally:
        pool.close()
    return call.status, call.headers.get(b"retry-after", b"").decode("latin-1")
