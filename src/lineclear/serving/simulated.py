"""The simulated engine: no model, but real answers to every operation, and faults on demand.

In: a request and its directives. Out: canonical events, encoded by the dialect's own writer. Equal messages get
equal answers. It says in its text that it is simulated. It must not read a clock into an answer.
"""

import asyncio
import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import Any, assert_never

import msgspec

from lineclear.domain.errors import (
    AttemptClass,
    CallerError,
    ErrorCode,
    LineclearError,
    PlatformFault,
    Sent,
    UpstreamError,
)
from lineclear.domain.exchange import (
    Dialect,
    Event,
    Finished,
    Operation,
    Started,
    StopReason,
    Terminated,
    TextDelta,
    UsageReported,
)
from lineclear.domain.money import Usage, estimated_tokens
from lineclear.serving.engine import JSON_HEAD, STREAM_HEAD, EngineCall, EngineCounts, EngineCut, Outlet
from lineclear.serving.simulate import FaultKind
from lineclear.serving.simulated_items import DIMENSIONS, input_tokens, response_id, simulated_class, simulated_vector
from lineclear.wire.openai_classify import write_classes
from lineclear.wire.openai_embeddings import dimensions_of, encoding_of, write_embeddings
from lineclear.wire.openai_inputs import read_inputs
from lineclear.wire.problems import problem

OPENING = ("This", " answer", " is", " simulated", ":")
# fmt: off
WORDS = (
    "signal", "line", "clear", "block", "section", "platform", "lever", "points",
    "train", "guard", "driver", "station", "bell", "token", "staff", "siding",
    "junction", "yard", "express", "local", "freight", "goods", "engine", "coach",
    "van", "brake", "whistle", "lamp", "semaphore", "distant", "home", "starter",
    "advance", "arrival", "departure", "minute", "timetable", "register", "entry", "reply",
    "offer", "accept", "refuse", "cancel", "restore", "pass", "north", "south",
    "east", "west", "up", "down", "main", "loop", "branch", "bridge",
    "tunnel", "cutting", "bank", "summit", "valley", "river", "coast",
)
# fmt: on
TOKENS_MIN = 12
TOKENS_SPREAD = 37
"""Without `tokens=` an answer has 12 to 48 tokens, by its digest."""
CREATED = 1_767_225_600
"""2026-01-01T00:00:00Z: a time in an answer must not differ between equal requests."""
ASKED_FOR = "simulated, as the header x-lineclear-simulate asked"
EVENTS_PER_TURN = 32
"""So that one long answer does not hold the loop."""


class SimulatedPlan(msgspec.Struct, frozen=True):
    """One answer, with the place where it goes wrong."""

    response_id: str
    tokens: tuple[str, ...]
    """What comes before the fault, or all of it."""
    usage: Usage | None
    """None = the answer does not say."""
    stop_reason: StopReason
    fault: FaultKind | None


class SimulatedEngine:
    """Answers without a model."""

    obeys_directives = True
    golden_input = None
    operations = frozenset(Operation)

    def __init__(self, model: str) -> None:
        """`model` is the name that answers give as theirs."""
        self._model = model
        self._steps = 0
        self._working = 0
        self._stalled = False
        self._never = asyncio.Event()

    async def load(self) -> None:
        """Nothing to load."""

    async def counts(self) -> EngineCounts:
        # A call that hangs because it was told to is no stall: the engine itself still steps.
        if self._working and not self._stalled:
            self._steps += 1
        return EngineCounts(self._steps, self._working)

    async def close(self) -> None:
        """Nothing to give back."""

    async def answer(self, call: EngineCall, outlet: Outlet) -> None:
        self._working += 1
        try:
            await self._answer(call, outlet)
        finally:
            self._working -= 1

    async def _answer(self, call: EngineCall, outlet: Outlet) -> None:
        directives = call.directives
        if directives.stall:
            self._stalled = True
        if directives.hang or self._stalled:
            await self._never.wait()
        if directives.delay_ms:
            await asyncio.sleep(directives.delay_ms / 1000)
        if directives.status is not None:
            _write_error(call, outlet, directives.status)
        elif call.operation is Operation.COUNT_TOKENS:
            outlet.whole(200, JSON_HEAD, b'{"input_tokens":%d}' % _input_tokens(call.tree))
        elif call.operation is Operation.EMBEDDINGS or call.operation is Operation.CLASSIFY:
            await self._items(call, outlet)
        else:
            plan = plan_answer(call)
            await (self._stream if call.view.stream else self._whole)(call, plan, outlet)

    async def _stream(self, call: EngineCall, plan: SimulatedPlan, outlet: Outlet) -> None:
        writer = call.codec.stream_writer(plan.response_id, self._model, CREATED)
        outlet.begin(200, STREAM_HEAD)
        for at, event in enumerate(self._events(plan)):
            if plan.fault is not None and type(event) is Finished:
                break
            if type(event) is TextDelta and call.directives.event_delay_ms:
                await asyncio.sleep(call.directives.event_delay_ms / 1000)
            elif at % EVENTS_PER_TURN == EVENTS_PER_TURN - 1:
                await asyncio.sleep(0)
            data = writer.encode(event)
            if data:
                outlet.chunk(data)
                await outlet.drained()
        match plan.fault:
            case None | FaultKind.END:
                outlet.end()
            case FaultKind.ERROR:
                outlet.end(call.codec.error_frame(_error(500, None), call.request_id))
            case FaultKind.CUT:
                raise EngineCut(ASKED_FOR)
            case FaultKind.HANG:
                await self._never.wait()
            case _:
                assert_never(plan.fault)

    async def _whole(self, call: EngineCall, plan: SimulatedPlan, outlet: Outlet) -> None:
        if call.directives.event_delay_ms:
            await asyncio.sleep(len(plan.tokens) * call.directives.event_delay_ms / 1000)
        body = call.codec.write_whole(self._events(plan), plan.response_id, self._model, CREATED)
        await self._send(call, body, plan.fault, outlet)

    async def _items(self, call: EngineCall, outlet: Outlet) -> None:
        """An item for each input; a fault comes after so many of them."""
        directives = call.directives
        inputs = read_inputs(call.tree)
        if directives.event_delay_ms:
            await asyncio.sleep(len(inputs) * directives.event_delay_ms / 1000)
        tokens = sum(map(input_tokens, inputs)) if directives.usage else None
        if call.operation is Operation.CLASSIFY:
            body = write_classes([simulated_class(each) for each in inputs], self._model, tokens, response_id(inputs))
        else:
            dimensions = dimensions_of(call.tree) or DIMENSIONS
            vectors = [simulated_vector(each, dimensions) for each in inputs]
            body = write_embeddings(vectors, self._model, tokens, encoding_of(call.tree))
        is_faulty = directives.fault is not None and directives.fault_after <= len(inputs)
        await self._send(call, body, directives.fault if is_faulty else None, outlet)

    async def _send(self, call: EngineCall, body: bytes, fault: FaultKind | None, outlet: Outlet) -> None:
        """A whole answer, or what a fault leaves of it."""
        match fault:
            case None:
                outlet.whole(200, JSON_HEAD, body)
            case FaultKind.ERROR:
                _write_error(call, outlet, 500)
            case FaultKind.END:
                outlet.whole(200, JSON_HEAD, body[: len(body) // 2])
            case FaultKind.CUT:
                outlet.begin(200, JSON_HEAD)
                outlet.chunk(body[: len(body) // 2])
                raise EngineCut(ASKED_FOR)
            case FaultKind.HANG:
                await self._never.wait()
            case _:
                assert_never(fault)

    def _events(self, plan: SimulatedPlan) -> Iterator[Event]:
        yield Started(plan.response_id, self._model)
        for token in plan.tokens:
            yield TextDelta(token)
        yield Finished(plan.stop_reason, plan.stop_reason.value)
        if plan.usage is not None:
            yield UsageReported(plan.usage, only=True)
        yield Terminated()


def plan_answer(call: EngineCall) -> SimulatedPlan:
    """The answer to a request: a pure function of its messages, its cap and its directives.

    Raises:
        CallerError: more than one choice was asked for.
    """
    view = call.view
    if view.choices > 1:
        raise CallerError(
            ErrorCode.INVALID_REQUEST,
            f"the simulated model gives one answer, not {view.choices}",
            hint="ask for one answer to one prompt",
            param="prompt" if call.operation is Operation.COMPLETIONS and call.tree.get("n") in (None, 1) else "n",
        )
    digest = hashlib.sha256(_conversation(call.tree)).digest()
    directives = call.directives
    wanted = directives.tokens or TOKENS_MIN + digest[0] % TOKENS_SPREAD
    shown = wanted if view.max_output_tokens is None else max(1, min(wanted, view.max_output_tokens))
    is_faulty = directives.fault is not None and directives.fault_after <= shown
    # An OpenAI stream says its usage only when it was asked to.
    says_usage = not view.stream or view.wants_stream_usage or call.codec.dialect is Dialect.ANTHROPIC
    usage = Usage(input_tokens=_input_tokens(call.tree), output_tokens=shown)
    return SimulatedPlan(
        response_id=f"sim-{digest.hex()[:24]}",
        tokens=tuple(islice(_tokens(digest), directives.fault_after if is_faulty else shown)),
        usage=usage if directives.usage and says_usage else None,
        stop_reason=StopReason.END if shown == wanted else StopReason.LENGTH,
        fault=directives.fault if is_faulty else None,
    )


def _tokens(digest: bytes) -> Iterator[str]:
    """An endless text; each item is one token."""
    yield from OPENING
    block = digest
    while True:
        for byte in block:
            yield f" {WORDS[byte % len(WORDS)]}"
        block = hashlib.sha256(block).digest()


def _conversation(tree: dict[str, Any]) -> bytes:
    if "prompt" in tree and "messages" not in tree:
        return msgspec.json.encode(tree["prompt"])
    return msgspec.json.encode([tree.get("system"), tree.get("messages")])


def _input_tokens(tree: dict[str, Any]) -> int:
    return estimated_tokens(len(_conversation(tree)))


def _write_error(call: EngineCall, outlet: Outlet, status: int) -> None:
    answer = problem(call.codec.dialect, _error(status, call.directives.retry_after), call.request_id)
    outlet.whole(status, answer.head, answer.body)


def _error(status: int, retry_after_s: int | None) -> LineclearError:
    """The error of ours that is nearest to an HTTP status; the status itself goes out as it was asked for."""
    retry_after_ms = None if retry_after_s is None else retry_after_s * 1000
    if status in (401, 403):
        code = ErrorCode.INVALID_API_KEY
    elif status == 429:
        code = ErrorCode.RATE_LIMITED
    elif status in (503, 529):
        code = ErrorCode.OVERLOADED
    elif status >= 500:
        # A target's failure, as the ledger has it: not a defect of ours.
        return UpstreamError(
            ErrorCode.UPSTREAM_ERROR,
            ASKED_FOR,
            attempt_class=AttemptClass.REJECTED,
            sent=Sent.YES,
            status=status,
            hint="leave the header out",
            retry_after_ms=retry_after_ms,
        )
    else:
        code = ErrorCode.INVALID_REQUEST
    kind = CallerError if status < 500 else PlatformFault
    return kind(code, ASKED_FOR, retry_after_ms=retry_after_ms)
