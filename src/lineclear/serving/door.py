"""The runtime's HTTP door on its Unix socket: which path is which call, and what the caller gets when it fails.

In: requests from gateways. Out: the engine's answer, or an error in the caller's dialect. A caller that hangs
up cancels the work, wherever it stands. It must not know keys, routes or prices.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from lineclear.domain.entry import exchange_of
from lineclear.domain.errors import CallerError, ClientGone, ErrorCode, LineclearError, PlatformFault
from lineclear.domain.exchange import OPERATION_PATH, Dialect, Operation
from lineclear.domain.runtimes import RuntimeState
from lineclear.net.server import Reply, Request
from lineclear.serving.admission import Admission
from lineclear.serving.engine import JSON_HEAD, Engine, EngineCall
from lineclear.serving.simulate import Directives, read_directives
from lineclear.wire.codec import Codec
from lineclear.wire.codecs import CODECS
from lineclear.wire.json_guard import guard
from lineclear.wire.problems import problem

BODY_BYTES_MAX = 32 << 20
NOT_READY_RETRY_MS = 2_000
CALLS: dict[bytes, Operation] = {path.encode(): operation for operation, path in OPERATION_PATH.items()}
SERVING_STATES = (RuntimeState.READY, RuntimeState.DRAINING)


class Door:
    """Answers every request that comes in over the runtime's socket."""

    def __init__(self, engine: Engine, admission: Admission, condition: Callable[[], tuple[RuntimeState, str]]) -> None:
        """`condition` tells the runtime's state and the reason for it."""
        self._engine = engine
        self._admission = admission
        self._condition = condition
        self.answered = 0
        self.failed = 0
        """Answers that the engine could not finish."""
        self.refused = 0
        """Requests turned away: not ready, queue full, or wrong."""
        self.cancelled = 0
        """Callers that hung up first."""

    async def handle(self, request: Request, reply: Reply) -> None:
        """One exchange; the handler of `net.HTTPServer`."""
        operation = CALLS.get(request.path)
        if operation is None:
            await self._tell(request, reply)
            return
        codec = CODECS[operation]
        # The gateway names the attempt; what the caller is told names the exchange, as every other answer does.
        request_id = exchange_of(request.headers.get(b"x-request-id", b"").decode("latin-1"))
        try:
            await self._serve(request, reply, operation, codec, request_id)
        except LineclearError as error:
            if reply.begun:
                reply.abort()
            else:
                refuse(reply, codec.dialect, error, request_id)
            if isinstance(error, CallerError) or error.code in (ErrorCode.OVERLOADED, ErrorCode.NOT_READY):
                self.refused += 1
            else:
                self.failed += 1

    async def _serve(self, request: Request, reply: Reply, operation: Operation, codec: Codec, request_id: str) -> None:
        if request.method != b"POST":
            raise CallerError(ErrorCode.METHOD_NOT_ALLOWED, "this path takes POST only", hint="send a POST request")
        if operation not in self._engine.operations:
            offered = ", ".join(self.paths)
            raise CallerError(
                ErrorCode.INVALID_REQUEST,
                f"this model does not do {operation.value!r}",
                hint=f"it answers at {offered}; for the rest call a route with another model",
            )
        state, reason = self._condition()
        if state not in SERVING_STATES:
            raise PlatformFault(
                ErrorCode.NOT_READY, f"the model is {state.value}: {reason}", retry_after_ms=NOT_READY_RETRY_MS
            )
        body = await request.read_body(BODY_BYTES_MAX)
        tree = guard(body)
        call = EngineCall(
            operation=operation,
            codec=codec,
            body=body,
            tree=tree,
            view=codec.view(tree, len(body)),
            request_id=request_id,
            directives=self._directives(request),
        )
        work = asyncio.ensure_future(self._work(call, reply))

        def stop_work() -> None:
            work.cancel()

        reply.on_gone = stop_work
        try:
            await work
        except (asyncio.CancelledError, ClientGone):
            if not reply.gone:
                raise
            self.cancelled += 1
        else:
            self.answered += 1

    async def _work(self, call: EngineCall, reply: Reply) -> None:
        async with self._admission.slot(len(call.body)):
            await self._engine.answer(call, reply)

    def _directives(self, request: Request) -> Directives:
        text = request.headers.get(b"x-lineclear-simulate", b"").decode("latin-1")
        if text and not self._engine.obeys_directives:
            raise CallerError(
                ErrorCode.SIMULATE_FORBIDDEN,
                "this model is real and obeys no x-lineclear-simulate",
                hint="leave the header out, or call the model `simulated`",
                param="x-lineclear-simulate",
            )
        return read_directives(text)

    async def _tell(self, request: Request, reply: Reply) -> None:
        """The runtime's word about itself, for people and probes."""
        state, reason = self._condition()
        if request.path == b"/livez":
            reply.whole(200, JSON_HEAD, b'{"status":"ok"}')
        elif request.path == b"/readyz":
            status = 200 if state is RuntimeState.READY else 503
            counts = await self._engine.counts() if state in SERVING_STATES else None
            engine = {} if counts is None else {"steps": counts.steps, "working": counts.working}
            facts = {"state": state.value, "reason": reason, **self.facts(), **engine}
            reply.whole(status, JSON_HEAD, json.dumps(facts).encode())
        else:
            error = CallerError(
                ErrorCode.NOT_FOUND,
                "this runtime does not know the path",
                hint=f"it has {', '.join(self.paths)}",
            )
            refuse(reply, Dialect.OPENAI, error, "")

    @property
    def ended(self) -> int:
        """Requests that reached the engine and are over."""
        return self.answered + self.failed + self.cancelled

    @property
    def paths(self) -> list[str]:
        """What callers may ask this model for."""
        return sorted(OPERATION_PATH[operation] for operation in self._engine.operations)

    def facts(self) -> dict[str, Any]:
        """Counts since the start, and what is being done now."""
        return {
            "running": self._admission.running,
            "queued": self._admission.queued,
            "answered": self.answered,
            "failed": self.failed,
            "refused": self.refused,
            "cancelled": self.cancelled,
        }


def refuse(reply: Reply, dialect: Dialect, error: LineclearError, request_id: str) -> None:
    """Writes an error as the whole answer, in the caller's dialect."""
    answer = problem(dialect, error, request_id)
    reply.whole(answer.status, answer.head, answer.body)
