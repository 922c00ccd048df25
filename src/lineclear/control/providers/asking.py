"""One call to a provider from control: through the same pool, DNS and egress guard that gateways have.

In: an address and a body. Out: status, bytes and milliseconds, or the failure in our words. Never follows a redirect,
never retries.
"""

import asyncio
from dataclasses import dataclass

from lineclear.base.clock import Clock
from lineclear.domain.errors import UpstreamError
from lineclear.net.dns import Resolver
from lineclear.net.egress import EgressGuard
from lineclear.net.tls import client_context
from lineclear.net.upstream import Pool, PoolLimits
from lineclear.providers.address import Address

DEADLINE_S = 8.0
"""Of one call. A test makes at most four, and the caller of the admin API waits for all."""
ANSWER_BYTES_MAX = 4 * 1024 * 1024
"""More of an answer is not read; the longest list of models known has 300 KiB."""


@dataclass(frozen=True)
class Answered:
    """What came."""

    status: int
    body: bytes
    latency_ms: float
    """Until the answer was complete; connecting included."""


@dataclass(frozen=True)
class NotAnswered:
    """Why nothing usable came."""

    phase: str
    """dns | egress | connect | tls | total | …, as UpstreamError has it."""
    message: str
    latency_ms: float


def ask(where: Address, fields: bytes, body: bytes, clock: Clock) -> Answered | NotAnswered:
    """Make one call and wait for all of its answer. Blocks; runs a loop of its own.

    Args:
        where: address with the credential.
        fields: more header lines, each ended by CRLF.
        body: empty for none.
        clock: measures.
    """
    return asyncio.run(_ask(where, fields, body, clock))


async def _ask(where: Address, fields: bytes, body: bytes, clock: Clock) -> Answered | NotAnswered:
    pool = Pool(clock=clock, resolver=Resolver(clock), guard=EgressGuard(), limits=PoolLimits(), tls=client_context())
    length = b"content-length: %d\r\n" % len(body) if body else b""
    call = pool.call(where.origin, where.credential_id, where.head + fields + length + b"\r\n", body)
    began_ns = clock.monotonic_ns()
    call.deadline(began_ns + int(DEADLINE_S * 1e9), "total")
    answer = b""
    try:
        await call.open()
        while len(answer) <= ANSWER_BYTES_MAX and (piece := await call.read()):
            answer += piece
    except UpstreamError as error:
        return NotAnswered(error.phase, error.message, _ms_since(began_ns, clock))
    finally:
        pool.close()
    if len(answer) > ANSWER_BYTES_MAX:
        return NotAnswered("body", f"the answer has more than {ANSWER_BYTES_MAX} bytes", _ms_since(began_ns, clock))
    return Answered(call.status, answer, _ms_since(began_ns, clock))


def _ms_since(began_ns: int, clock: Clock) -> float:
    return round((clock.monotonic_ns() - began_ns) / 1e6, 1)
