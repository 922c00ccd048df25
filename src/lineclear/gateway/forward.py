"""Endpoints that are identified here and answered by control: `GET /v1/requests/{id}`.

In: net's Request. Out: control's answer, relayed over its Unix socket with the app and environment that the key
belongs to. Bounded in time, size and number; control being away costs this answer and nothing else (decision 19).
"""

import re
from typing import Final

from lineclear.domain.errors import CallerError, ClientGone, ErrorCode, PlatformFault, UpstreamError
from lineclear.gateway.local import Answer, identify_caller, told_fields
from lineclear.gateway.parts import Parts
from lineclear.net.server import Reply, Request
from lineclear.net.upstream import UpstreamCall

REQUEST_PREFIX: Final = b"/v1/requests/"
FORWARD_S: Final = 5.0
"""Longest wait for control; it reads what is in the spool first, which takes a moment under load."""
CONNECT_S: Final = 1.0
ANSWER_BYTES_MAX: Final = 1024 * 1024
"""A longer answer of control is not read to its end."""
FORWARDS_MAX: Final = 32
"""At once per worker, so that a control that hangs costs little."""

_REQUEST_ID = re.compile(rb"(req_[0-9a-f]{28})(?:\.[0-9]{1,3})?")
"""Ours, or an attempt's, as a target may have told it."""
_LANE = "control"
"""The pool's name for connections to control, beside the ids of credentials."""


async def forward_request(parts: Parts, request: Request, reply: Reply, request_id: str) -> Answer:
    """`GET /v1/requests/{id}`: what happened to one of the app's own requests.

    Raises:
        CallerError: INVALID_API_KEY; NOT_FOUND for what is not one of the app's own requests in its environment.
        PlatformFault: CONTROL_UNAVAILABLE.
        ClientGone: the caller hung up.
    """
    caller = identify_caller(parts, request, request_id)
    wanted = request.path.removeprefix(REQUEST_PREFIX)
    named = _REQUEST_ID.fullmatch(wanted)
    if named is None:
        raise _not_found(wanted)
    # The app is asserted here, from the key; nothing that the caller sent travels on but the checked id.
    head = (
        f"GET /v1/requests/{named[1].decode('ascii')} HTTP/1.1\r\nhost: control\r\nconnection: close\r\n"
        f"x-lineclear-app: {caller.app.name}\r\nx-lineclear-environment: {caller.environment}\r\n\r\n"
    )
    status, body = await _ask_control(parts, head.encode("ascii"), reply)
    if status == 404:
        raise _not_found(wanted)
    if status != 200:
        raise _unavailable("answered what cannot be passed on")
    return 200, told_fields(parts.current.snapshot(), caller), body


async def _ask_control(parts: Parts, head: bytes, reply: Reply) -> tuple[int, bytes]:
    """Status and body of control's answer. Raises as `forward_request`."""
    counters = parts.counters
    if parts.forwards.locked():
        counters["forwards_refused"] += 1
        raise _unavailable("is busy with other questions")
    call = parts.pool.call(parts.control, _LANE, head, b"")
    call.deadline(parts.clock.monotonic_ns() + int(FORWARD_S * 1e9), "total")
    reply.on_gone = lambda: call.abort(ClientGone("the caller closed the connection"))
    try:
        async with parts.forwards:
            await call.open(fresh=True, connect_s=CONNECT_S)
            return call.status, await _read_bounded(call)
    except UpstreamError as error:
        counters["forwards_unanswered"] += 1
        raise _unavailable("does not answer") from error
    finally:
        reply.on_gone = None
        call.abort()


async def _read_bounded(call: UpstreamCall) -> bytes:
    body = bytearray()
    while data := await call.read():
        body += data
        if len(body) > ANSWER_BYTES_MAX:
            raise _unavailable(f"answers more than {ANSWER_BYTES_MAX} bytes")
    return bytes(body)


def _not_found(wanted: bytes) -> CallerError:
    return CallerError(
        ErrorCode.NOT_FOUND,
        f"this app has no request {wanted[:64].decode('latin-1')!r} in this key's environment",
        hint="take the id from the response header x-request-id of a call made with a key of the same app",
    )


def _unavailable(what: str) -> PlatformFault:
    return PlatformFault(
        ErrorCode.CONTROL_UNAVAILABLE,
        f"the control process, which keeps the ledger, {what}; inference does not need it",
        hint="it is restarted by itself; try again shortly",
        retry_after_ms=1_000,
    )
