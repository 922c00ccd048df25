"""Step `plan`: which targets, in which order, and why not the others. Kept for `explain`.

In: Admitted. Out: Planned. Must not: reserve or send. The split is sticky: the same unit gets the same
target for as long as the release's targets stay as they are (decision 38).
"""

from typing import Final
from zlib import crc32

import msgspec

from lineclear.base.clock import Clock
from lineclear.domain.errors import CallerError, ErrorCode, PlatformFault
from lineclear.domain.exchange import Operation
from lineclear.domain.ledger import CandidateRecord
from lineclear.domain.snapshot import PromptEntry
from lineclear.gateway.admit import Admitted
from lineclear.gateway.deprecation import brownout_end_s, brownout_words
from lineclear.gateway.snapshot import Admission, Candidate, Order, RouteView
from lineclear.gateway.split import unit_of

CHAT: Final = Operation.CHAT
"""Reading an enum member through its class costs ten times a module name on Python 3.11."""
HASH_SPACE = 2**64
CRC_SPACE = 2**32


class Planned(msgspec.Struct, frozen=True, gc=False):
    """Candidates in the order in which they will be tried; never empty."""

    admitted: Admitted
    order: Order
    candidates: tuple[Candidate, ...]
    considered: tuple[CandidateRecord, ...]
    prompt_text: str | None
    """The route's prompt with its variables filled in; None if it has none."""
    prompt_bytes: int
    """UTF-8 bytes of body, prompt and the tools that are sent: an upper bound on input tokens."""


def plan(admitted: Admitted, clock: Clock) -> Planned:
    """Rank the allowed targets and leave out those that are ill or throttled now.

    Raises:
        PlatformFault: NO_HEALTHY_TARGET with the time until the first may be tried again; UPSTREAM_RATE_LIMITED
            if all of them asked to be left alone.
        CallerError: VARIABLE_MISSING if the prompt needs a variable that was not sent; SIMULATE_FORBIDDEN if a
            fault is asked of a vendor.
    """
    route = admitted.route
    admission = admitted.admission
    order = admission.orders[_choose(admission, admitted)]
    candidates, considered = order.candidates, order.considered
    for candidate in candidates:
        if candidate.health.is_suspect or candidate.brownouts:
            candidates, considered = leave_out(route, admission, order, clock)
            break
    parsed = admitted.parsed
    if parsed.identified.head.simulate and not all(candidate.is_hosted for candidate in candidates):
        raise CallerError(
            ErrorCode.SIMULATE_FORBIDDEN,
            f"route {route.name!r} is served by a vendor, which simulates nothing",
            hint="leave x-lineclear-simulate out, or call a route whose models are simulated",
            param="x-lineclear-simulate",
        )
    prompt_text = None if route.prompt is None else _fill(route.prompt, admitted)
    prompt_bytes = parsed.view.prompt_bytes
    if admission.tools_bytes and _gets_tools(admitted):
        prompt_bytes += admission.tools_bytes
    if prompt_text:
        prompt_bytes += len(prompt_text.encode())
    return Planned(admitted, order, candidates, considered, prompt_text, prompt_bytes)


def _gets_tools(admitted: Admitted) -> bool:
    """Whether the release's tools are sent with the call, as the patch of its dialect has it."""
    parsed = admitted.parsed
    if admitted.admission.tools_replace:
        return True
    if parsed.tree.get("tools") is not None:
        return False
    return parsed.identified.head.operation is not CHAT or parsed.tree.get("functions") is None


def _choose(admission: Admission, admitted: Admitted) -> int:
    """The split's place for this call's unit."""
    if len(admission.weights) == 1:
        return 0
    head = admitted.parsed.identified.head
    unit = unit_of(head)
    if unit:
        split = admitted.route.split_hash.copy()
        split.update(unit.encode())
        point = int.from_bytes(split.digest(), "big") * admission.total_weight // HASH_SPACE
    else:
        # Nothing has to stick, so any even spread will do, and this one costs a fifth.
        point = crc32(head.request_id.encode()) * admission.total_weight // CRC_SPACE
    for place, weight in enumerate(admission.weights):
        point -= weight
        if point < 0:
            return place
    return len(admission.weights) - 1


def leave_out(
    route: RouteView, admission: Admission, order: Order, clock: Clock
) -> tuple[tuple[Candidate, ...], tuple[CandidateRecord, ...]]:
    """The order without the targets that are ill, throttled or in a brownout now, and all that was considered.

    Raises:
        PlatformFault: NO_HEALTHY_TARGET if none is left; UPSTREAM_RATE_LIMITED if all asked to be left alone;
            BROWNOUT if one would serve but for its brownout.
    """
    now_ns, now_s = clock.monotonic_ns(), clock.unix_us() // 1_000_000
    brownout: tuple[Candidate, int] | None = None
    healthy: list[Candidate] = []
    considered: list[CandidateRecord] = []
    for place, candidate in enumerate(order.candidates):
        exclusion = candidate.health.exclusion(now_ns)
        ends_s = brownout_end_s(candidate.brownouts, now_s) if candidate.brownouts and not exclusion else None
        if ends_s is not None:
            exclusion, brownout = brownout_words(ends_s), brownout or (candidate, ends_s)
        if not exclusion:
            healthy.append(candidate)
        score = 0.0 if exclusion else float(len(order.candidates) - place)
        considered.append(CandidateRecord(candidate.model, score, exclusion))
    if not healthy and brownout is not None:
        raise _in_brownout(route, *brownout, (brownout[1] - now_s) * 1_000)
    if not healthy:
        raise _nothing_healthy(route, order.candidates, now_ns)
    return tuple(healthy), (*considered, *admission.excluded)


def _in_brownout(route: RouteView, candidate: Candidate, ends_s: int, wait_ms: int) -> PlatformFault:
    return PlatformFault(
        ErrorCode.BROWNOUT,
        f"route {route.name!r} has no other model: {candidate.model} is {brownout_words(ends_s)}",
        hint=f"move to a route that serves {candidate.successor}; the version is served again after retry-after",
        rules=("status.brownout",),
        retry_after_ms=wait_ms,
        successor=candidate.successor,
    )


def _nothing_healthy(route: RouteView, ranked: tuple[Candidate, ...], now_ns: int) -> PlatformFault:
    throttled = all(candidate.health.is_throttled(now_ns) for candidate in ranked)
    waits = [candidate.health.available_in_ms(now_ns) for candidate in ranked]
    return PlatformFault(
        ErrorCode.UPSTREAM_RATE_LIMITED if throttled else ErrorCode.NO_HEALTHY_TARGET,
        f"none of the {len(ranked)} targets of route {route.name!r} can be tried now",
        hint="try again after the time in retry-after; `lineclear explain` tells why each was left out",
        retry_after_ms=max(1, min(waits)),
    )


def _fill(prompt: PromptEntry, admitted: Admitted) -> str:
    segments = prompt.segments
    if len(segments) == 1:
        return segments[0]
    values = dict(admitted.parsed.identified.head.variables)
    filled: list[str] = []
    for place, segment in enumerate(segments):
        if place % 2 == 0:
            filled.append(segment)
            continue
        value = values.get(segment)
        if value is None:
            raise CallerError(
                ErrorCode.VARIABLE_MISSING,
                f"the prompt {prompt.name!r} of route {admitted.route.name!r} needs the variable {segment!r}; "
                f"send it as x-lineclear-var-{segment}",
                hint=f"send x-lineclear-var-{segment} with its value, percent-encoded UTF-8",
                param=f"x-lineclear-var-{segment}",
            )
        filled.append(value)
    return "".join(filled)
