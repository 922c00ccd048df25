"""Step `entry`: body → tree and typed view, guarded once.

In: Identified and net's Request. Out: Parsed; the original bytes are kept. Must not: buffer more than the
limit, or let two large bodies of one worker be parsed at the same time (decision 18).
"""

import asyncio
from typing import Any

import msgspec

from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.domain.exchange import RequestView
from lineclear.gateway.identify import Identified
from lineclear.net.server import Request
from lineclear.wire.codec import Codec
from lineclear.wire.codecs import CODECS
from lineclear.wire.json_guard import guard

JSON = b"application/json"
BODY_BYTES_MAX = 32 * 1024 * 1024
LARGE_BODY_BYTES = 1024 * 1024
"""From here on one body at a time is read and parsed per worker."""


class Parsed(msgspec.Struct, frozen=True, gc=False):
    """The body in three forms: bytes as they came, tree for policy, view for the walk."""

    identified: Identified
    body: bytes
    tree: dict[str, Any]  # the raw JSON tree; only codecs read it
    view: RequestView
    codec: Codec


async def entry(identified: Identified, request: Request, large_bodies: asyncio.Lock) -> Parsed:
    """Read and parse the body.

    Raises:
        CallerError: UNSUPPORTED_MEDIA_TYPE, BODY_TOO_LARGE, REQUEST_TIMEOUT, INVALID_JSON, DUPLICATE_KEY,
            INVALID_REQUEST.
        ClientGone: if the caller hangs up while sending.
    """
    headers = request.headers
    if b"content-encoding" in headers or headers.get(b"content-type") != JSON:
        check_media_type(request)
    length = request.content_length
    if length is None or length > LARGE_BODY_BYTES:
        async with large_bodies:
            return _parse(identified, await request.read_body(BODY_BYTES_MAX))
    return _parse(identified, request.whole_body() if request.is_complete else await request.read_body(BODY_BYTES_MAX))


def _parse(identified: Identified, body: bytes) -> Parsed:
    codec = CODECS[identified.head.operation]
    tree = guard(body)
    return Parsed(identified, body, tree, codec.view(tree, len(body)), codec)


def check_media_type(request: Request) -> None:
    """Refuse what is not plain JSON.

    Raises:
        CallerError: UNSUPPORTED_MEDIA_TYPE.
    """
    encoding = request.headers.get(b"content-encoding")
    if encoding is not None and encoding.lower() != b"identity":
        raise CallerError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            "compressed request bodies are not accepted",
            hint="send the body without Content-Encoding",
            param="content-encoding",
        )
    media_type = request.headers.get(b"content-type", JSON)
    if media_type != JSON and not media_type.lower().startswith(JSON):
        raise CallerError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            f"content type {media_type[:80].decode('latin-1')!r} is not application/json",
            hint="send Content-Type: application/json",
            param="content-type",
        )
