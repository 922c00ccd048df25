"""`POST /v1/requests/{id}/review`: what people said of an output goes into the spool, whoever else is away.

In: net's Request. Out: 202 once the record is in the file. Whether the request is the app's own is known where the
ledger is: a review of anything else is kept there and counts for nothing. Must not: ask control.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from lineclear.domain.entry import DAY_US
from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.domain.ledger import Review
from lineclear.domain.reviews import REASON_CHARS_MAX, REVIEW_DAYS_MAX, REVIEWER_CHARS_MAX, ReviewOutcome
from lineclear.gateway.entry import check_media_type
from lineclear.gateway.forward import REQUEST_PREFIX
from lineclear.gateway.local import Answer, identify_caller, told_fields
from lineclear.gateway.parts import Parts
from lineclear.gateway.review_rates import REVIEWS_PER_MINUTE
from lineclear.net.server import Reply, Request
from lineclear.wire.json_guard import guard

REVIEW_SUFFIX: Final = b"/review"
BODY_BYTES_MAX: Final = 16 * 1024
AHEAD_US: Final = 60_000_000
"""So far may the id of a request lie ahead of this worker's clock."""
FIELDS: Final = ("outcome", "reason", "reviewer")
OUTCOMES: Final = ", ".join(ReviewOutcome)

_REQUEST_ID = re.compile(rb"req_[0-9a-f]{28}")


def asks_for_review(path: bytes) -> bool:
    """Whether a path is one of these."""
    return path.startswith(REQUEST_PREFIX) and path.endswith(REVIEW_SUFFIX)


async def review(parts: Parts, request: Request, _reply: Reply, request_id: str) -> Answer:
    """Take a review.

    Raises:
        CallerError: INVALID_API_KEY; NOT_FOUND for what is no id of ours, or of a request too long ago; RATE_LIMITED;
            what is wrong with the body.
        PlatformFault: LEDGER_UNAVAILABLE if it cannot be kept.
        ClientGone: the caller hung up while sending.
    """
    caller = identify_caller(parts, request, request_id)
    at_us = parts.clock.unix_us()
    reviewed = _reviewed(request.path, at_us)
    wait_us = parts.reviews.take(caller.app.name, parts.clock.monotonic_ns() // 1000)
    if wait_us:
        parts.counters["reviews_limited"] += 1
        raise CallerError(
            ErrorCode.RATE_LIMITED,
            f"an app may send {REVIEWS_PER_MINUTE} reviews a minute",
            hint="send it again later",
            retry_after_ms=-(-wait_us // 1000),
        )
    check_media_type(request)
    outcome, reason, reviewer = _said(guard(await request.read_body(BODY_BYTES_MAX)))
    record = Review(
        request_id, at_us, caller.environment, caller.app.name, caller.key_id, reviewed, outcome, reason, reviewer
    )
    await parts.ledger.flushed(parts.ledger.append(record))
    parts.counters["reviews_taken"] += 1
    body = {"object": "review", "id": request_id, "request": reviewed, "outcome": outcome}
    return 202, told_fields(parts.current.snapshot(), caller), msgspec.json.encode(body)


def _reviewed(path: bytes, now_us: int) -> str:
    wanted = path[len(REQUEST_PREFIX) : -len(REVIEW_SUFFIX)]
    if not _REQUEST_ID.fullmatch(wanted):
        raise CallerError(
            ErrorCode.NOT_FOUND,
            f"{wanted[:64].decode('latin-1')!r} is no id of a request",
            hint="take it from the response header x-request-id of a call made with a key of the same app",
        )
    text = wanted.decode("ascii")
    age_us = now_us - int(text[4:16], 16) * 1000
    if not -AHEAD_US <= age_us <= REVIEW_DAYS_MAX * DAY_US:
        raise CallerError(
            ErrorCode.NOT_FOUND,
            f"request {text} is none of the last {REVIEW_DAYS_MAX} days",
            hint=f"an output is reviewed at most {REVIEW_DAYS_MAX} days after it was made",
        )
    return text


def _said(tree: Mapping[str, Any]) -> tuple[str, str, str]:
    # Any: plain JSON values, as the caller wrote them.
    for name in tree:
        if name not in FIELDS:
            raise _wrong(name[:64], f"is not known; a review has {', '.join(FIELDS)}")
    outcome = tree.get("outcome")
    if not isinstance(outcome, str) or outcome not in ReviewOutcome.__members__.values():
        raise _wrong("outcome", f"is one of {OUTCOMES}")
    return outcome, _text(tree, "reason", REASON_CHARS_MAX), _text(tree, "reviewer", REVIEWER_CHARS_MAX)


def _text(tree: Mapping[str, Any], name: str, chars_max: int) -> str:
    # Any: as `_said`.
    value = tree.get(name, "")
    if not isinstance(value, str) or len(value) > chars_max:
        raise _wrong(name, f"is a text of at most {chars_max} characters")
    return value


def _wrong(param: str, words: str) -> CallerError:
    return CallerError(
        ErrorCode.INVALID_REQUEST,
        f"{param!r} {words}",
        hint='send {"outcome": "rejected", "reason": "why"}',
        param=param,
    )
