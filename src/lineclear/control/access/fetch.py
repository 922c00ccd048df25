"""One call to an identity provider: through the egress guard, bounded in time and bytes, no redirect followed.

In: a URL, perhaps a form. Out: a JSON object. Must not log what was sent or came.
"""

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from lineclear.base.clock import Clock
from lineclear.base.secret import Secret
from lineclear.domain.errors import UpstreamError
from lineclear.net.dns import Resolver
from lineclear.net.egress import EgressGuard
from lineclear.net.tls import client_context
from lineclear.net.upstream import Origin, Pool, PoolLimits

DEADLINE_S = 8.0
ANSWER_BYTES_MAX = 256 * 1024
"""Keys and settings of a provider have a few KiB."""
OK = 200


class FetchFailed(Exception):
    """The provider did not answer usably; the message says how."""


def fetch_json(
    url: str,
    clock: Clock,
    *,
    private_network: bool,
    form: Mapping[str, str] | None = None,
    client: tuple[str, Secret] | None = None,
) -> dict[str, Any]:
    """The JSON object at a URL; with `form` it is posted there, as `client` if given. Blocks.

    Any: JSON of the provider, looked at by the caller.

    Raises:
        FetchFailed: for anything but 200 with an object.
    """
    origin, target = _origin(url, private_network=private_network)
    fields = f"host: {_host(origin)}\r\naccept: application/json\r\nuser-agent: lineclear\r\n"
    body = b""
    if form is not None:
        body = urlencode(form).encode()
        fields += f"content-type: application/x-www-form-urlencoded\r\ncontent-length: {len(body)}\r\n"
    if client is not None:
        # RFC 6749 §2.3.1: both are form-encoded before they are joined.
        pair = f"{quote(client[0], safe='')}:{quote(client[1].reveal(), safe='')}"
        fields += f"authorization: Basic {base64.b64encode(pair.encode()).decode()}\r\n"
    head = f"{'GET' if form is None else 'POST'} {target} HTTP/1.1\r\n{fields}\r\n"
    status, answer = asyncio.run(_ask(origin, head.encode("ascii"), body, clock))
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise FetchFailed(f"{origin.host} answered {status} with no JSON") from error
    if status != OK or not isinstance(value, dict):
        raise FetchFailed(f"{origin.host} answered {status}")
    return value


def _origin(url: str, *, private_network: bool) -> tuple[Origin, str]:
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise FetchFailed("the provider names an address that is none") from error
    # In the clear only where the operator said that the provider is on this network.
    is_good = parts.scheme == "https" or (parts.scheme == "http" and private_network)
    if not is_good or not parts.hostname or parts.username is not None or not url.isascii() or not url.isprintable():
        raise FetchFailed("the provider names an address that is none of https")
    origin = Origin(scheme=parts.scheme, host=parts.hostname, port=port, path="", private_network=private_network)
    return origin, quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (f"?{parts.query}" if parts.query else "")


def _host(origin: Origin) -> str:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return host if origin.port == {"http": 80, "https": 443}[origin.scheme] else f"{host}:{origin.port}"


async def _ask(origin: Origin, head: bytes, body: bytes, clock: Clock) -> tuple[int, bytes]:
    pool = Pool(clock=clock, resolver=Resolver(clock), guard=EgressGuard(), limits=PoolLimits(), tls=client_context())
    call = pool.call(origin, "", head, body)
    call.deadline(clock.monotonic_ns() + int(DEADLINE_S * 1e9), "total")
    answer = b""
    try:
        await call.open()
        while len(answer) <= ANSWER_BYTES_MAX and (piece := await call.read()):
            answer += piece
    except UpstreamError as error:
        raise FetchFailed(f"{origin.host} did not answer: {error.message}") from error
    finally:
        pool.close()
    if len(answer) > ANSWER_BYTES_MAX:
        raise FetchFailed(f"{origin.host} answered with more than {ANSWER_BYTES_MAX} bytes")
    return call.status, answer
