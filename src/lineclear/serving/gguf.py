"""The gguf engine: llama.cpp's own server inside this process, on a private Unix socket.

In: bodies of OpenAI chat and completions and of Anthropic messages. Out: its answers. Whole answers are asked for as
streams and folded here, because llama.cpp notices a caller that hung up only while it writes. The model file's path
never leaves: answers name the alias.
"""

import importlib
import os
from pathlib import Path
from typing import Any

import msgspec

from lineclear.base.clock import Clock
from lineclear.domain.capability import engine_operations
from lineclear.domain.catalogue import Engine
from lineclear.domain.errors import CallerError, ErrorCode, PlatformFault, UpstreamError
from lineclear.domain.exchange import OPERATION_PATH, Dialect, Event, Failed, Operation, Started, Terminated
from lineclear.domain.runtimes import EMBEDDINGS, POOLING_OF_MODEL, RuntimeSettings
from lineclear.net.upstream import Origin, Pool, UpstreamCall
from lineclear.serving.engine import JSON_HEAD, STREAM_HEAD, EngineCall, EngineCounts, EngineCut, EngineRefused, Outlet
from lineclear.serving.gguf_limits import check_for_llama
from lineclear.wire.openai_chat import OPENAI_CHAT
from lineclear.wire.openai_inputs import read_inputs
from lineclear.wire.splice import encoded, join, top_level

SOCKET_NAME = "e.sock"
"""llama.cpp takes a host name for a Unix socket only if it ends in `.sock`."""
STEPS_METRIC = b"llamacpp:n_decode_total"
RUNNING_METRIC = b"llamacpp:requests_processing"
WAITING_METRIC = b"llamacpp:requests_deferred"
CONNECT_S = 3.0
STEPS_WAIT_S = 2.0
WHOLE_BYTES_MAX = 16 << 20
SPECIAL_TOKENS = 2
"""Tokens that a model puts around an input; otherwise a text has no more tokens than bytes."""
HTTP_THREADS_SPARE = 6
"""llama.cpp serves each connection in a thread: one per slot, and these for the watch and for closing ones."""
GENERATED = frozenset({Operation.CHAT, Operation.MESSAGES, Operation.COMPLETIONS})
"""Operations whose answer is generated token by token."""
OWN_OUTPUT_FIELDS = frozenset({"n_predict", "n_cmpl"})
"""llama.cpp's own names for the output cap and the number of answers. They beat `max_tokens` and `n`, which is what the
gateway reserved for. Source: llama.cpp, tools/server/README.md, POST /completion."""


class GGUFEngine:
    """One GGUF model, loaded once."""

    obeys_directives = False
    golden_input = None

    def __init__(
        self, artifact: Path, alias: str, settings: RuntimeSettings, *, private_dir: Path, pool: Pool, clock: Clock
    ) -> None:
        """`private_dir` is an empty directory with mode 0700; the engine's socket is put there."""
        self._artifact = artifact
        self._alias = alias
        self._settings = settings
        self._socket = private_dir / SOCKET_NAME
        self._origin = Origin(scheme="unix", host="engine", port=0, path=str(self._socket), private_network=True)
        self._pool = pool
        self._clock = clock
        self._server: Any = None  # Any: xllamacpp has no types
        self.operations = frozenset(engine_operations(Engine.GGUF, {"task": settings.task}))

    async def load(self) -> None:
        # Imported here and not above: the package is an extra, and 100 MB that only this process wants.
        try:
            xllamacpp = importlib.import_module("xllamacpp")
        except ImportError as error:
            raise EngineRefused("engine 'gguf' needs the package xllamacpp: pip install 'lineclear[local]'") from error
        try:
            # Holds the GIL until the model is loaded, so a thread would not help.
            self._server = xllamacpp.Server(self._parameters(xllamacpp))
        except RuntimeError as error:
            context = self._settings.context * self._settings.slots
            raise EngineRefused(
                f"llama.cpp could not load {self._artifact} with {context} tokens of context and gave no reason: the "
                "model's architecture is unknown to this build, the file is damaged, or memory is short"
            ) from error

    def _parameters(self, xllamacpp: Any) -> Any:
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(self._artifact)
        parameters.model_alias = {self._alias}
        parameters.hostnames = [str(self._socket)]
        parameters.n_parallel = self._settings.slots
        parameters.n_ctx = self._settings.context * self._settings.slots
        threads = self._settings.threads or max(1, len(os.sched_getaffinity(0)) - 1)
        parameters.cpuparams.n_threads = threads
        parameters.cpuparams_batch.n_threads = threads
        parameters.n_threads_http = self._settings.slots + HTTP_THREADS_SPARE
        if self._settings.task == EMBEDDINGS:
            parameters.embedding = True
            # An input is computed in one piece, so the piece must hold the longest; and one input at a time, because
            # llama.cpp pools inputs of unequal length wrongly when it computes them together (build of 2026.10).
            parameters.n_batch = parameters.n_ubatch = parameters.n_ctx = self._settings.context
            parameters.n_parallel = 1
            if self._settings.pooling != POOLING_OF_MODEL:
                name = f"LLAMA_POOLING_TYPE_{self._settings.pooling.upper()}"
                parameters.pooling_type = getattr(xllamacpp.llama_pooling_type, name)
        parameters.cache_ram_mib = 0  # the default keeps up to 8 GiB of old prompts
        parameters.endpoint_metrics = True
        parameters.endpoint_slots = False
        parameters.endpoint_props = False
        parameters.ui = False
        parameters.offline = True
        parameters.verbosity = 0  # its lines would not be in the log's format, and may name a prompt
        return parameters

    async def answer(self, call: EngineCall, outlet: Outlet) -> None:
        check_for_llama(call)
        if call.operation is Operation.EMBEDDINGS:
            await self._check_lengths(call)
        is_folded = _can_fold(call)
        upstream = self._request(
            "POST",
            OPERATION_PATH[call.operation],
            _engine_body(call, self._alias, self._settings.output_tokens, is_folded=is_folded),
        )
        try:
            await upstream.open(connect_s=CONNECT_S)
            if upstream.status != 200:
                raise _engine_error(upstream.status, await _read_all(upstream))
            if is_folded:
                outlet.whole(200, JSON_HEAD, await self._fold(call, upstream))
            elif call.view.stream:
                await _relay(upstream, outlet)
            else:
                outlet.whole(200, JSON_HEAD, await _read_all(upstream))
        except UpstreamError as error:
            raise EngineCut(f"the engine broke off: {error.message}") from error
        finally:
            # Closing the connection is what stops llama.cpp's work for a caller that is gone.
            upstream.abort()

    async def _fold(self, call: EngineCall, upstream: UpstreamCall) -> bytes:
        reader = call.codec.stream_reader()
        events: list[Event] = []
        received = 0
        while data := await upstream.read():
            received += len(data)
            if received > WHOLE_BYTES_MAX:
                raise EngineCut(f"the engine's answer passed {WHOLE_BYTES_MAX} bytes")
            events.extend(event for frame in reader.feed(data) for event in frame.events)
        events.extend(event for frame in reader.end() for event in frame.events)
        name = ""
        for event in events:
            if type(event) is Failed:
                raise EngineCut(f"the engine reported: {event.message}")
            if type(event) is Started:
                name = event.response_id
        if not events or type(events[-1]) is not Terminated:
            raise EngineCut("the engine's answer stopped before its end")
        return call.codec.write_whole(events, name, self._alias, self._clock.unix_us() // 1_000_000)

    async def _check_lengths(self, call: EngineCall) -> None:
        """llama.cpp calls an input that is too long an error of its own (500); it is the caller's."""
        context = self._settings.context
        for place, given in enumerate(read_inputs(call.tree)):
            tokens = len(given)
            if isinstance(given, str) and len(given.encode()) + SPECIAL_TOKENS > context:
                tokens = await self._count_tokens(given)
            if tokens > context:
                raise CallerError(
                    ErrorCode.INVALID_REQUEST,
                    f"input {place} has {tokens} tokens and this model reads {context}",
                    hint="send shorter inputs; more is the model version's setting `context`",
                    param="input" if isinstance(call.tree["input"], str) else f"input.{place}",
                )

    async def _count_tokens(self, text: str) -> int:
        body = b'{"add_special":true,"content":%b}' % bytes(encoded(text))
        upstream = self._request("POST", "/tokenize", body)
        try:
            await upstream.open(connect_s=CONNECT_S)
            answer = await _read_all(upstream)
            if upstream.status != 200:
                raise _engine_error(upstream.status, answer)
        except UpstreamError as error:
            raise EngineCut(f"the engine broke off: {error.message}") from error
        finally:
            upstream.abort()
        return len(msgspec.json.decode(answer)["tokens"])

    async def counts(self) -> EngineCounts | None:
        call = self._request("GET", "/metrics", b"")
        call.deadline(self._clock.monotonic_ns() + int(STEPS_WAIT_S * 1e9), "head")
        try:
            await call.open(connect_s=STEPS_WAIT_S)
            text = await _read_all(call)
        except UpstreamError:
            # An engine that does not even count has completed no step; the watch reads None so.
            return None
        finally:
            call.abort()
        values = dict(line.split(b" ", 1) for line in text.splitlines() if line.startswith(b"llamacpp:"))
        if STEPS_METRIC not in values:
            return None
        steps, running, waiting = (
            int(float(values.get(name, b"0"))) for name in (STEPS_METRIC, RUNNING_METRIC, WAITING_METRIC)
        )
        return EngineCounts(steps, running + waiting)

    async def close(self) -> None:
        # Dropping the last reference stops llama.cpp's threads; it waits for answers that still run.
        self._server = None

    def _request(self, method: str, path: str, body: bytes) -> UpstreamCall:
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return self._pool.call(self._origin, "", head.encode(), body)


def _can_fold(call: EngineCall) -> bool:
    """False for a stream, and for what canonical events do not carry: log-probabilities."""
    if call.operation not in GENERATED or call.view.stream:
        return False
    return call.tree.get("logprobs") in (None, False) and not call.tree.get("n_probs")


def _engine_body(call: EngineCall, alias: str, output_tokens: int, *, is_folded: bool) -> bytes:
    values: dict[str, Any] = {
        name: value for name, value in top_level(call.body).items() if name not in OWN_OUTPUT_FIELDS
    }
    if call.operation in GENERATED and call.view.max_output_tokens is None:
        values["max_tokens"] = encoded(output_tokens)
    values["model"] = encoded(alias)
    if is_folded:
        values["stream"] = encoded(True)
        if call.codec.dialect is Dialect.OPENAI:
            values["stream_options"] = b'{"include_usage":true}'
    return join(values)


async def _relay(upstream: UpstreamCall, outlet: Outlet) -> None:
    outlet.begin(200, STREAM_HEAD)
    while data := await upstream.read():
        outlet.chunk(data)
        await outlet.drained()
    outlet.end()


async def _read_all(upstream: UpstreamCall) -> bytes:
    parts = bytearray()
    while data := await upstream.read():
        parts += data
        if len(parts) > WHOLE_BYTES_MAX:
            raise EngineCut(f"the engine's answer passed {WHOLE_BYTES_MAX} bytes")
    return bytes(parts)


def _engine_error(status: int, body: bytes) -> CallerError | PlatformFault:
    """llama.cpp's error, which has OpenAI's form on every path, as ours."""
    _, message = OPENAI_CHAT.read_error(body)
    if 400 <= status < 500:
        return CallerError(
            ErrorCode.INVALID_REQUEST,
            message or f"the engine refused the request with status {status}",
            hint="change the request as the message says; a longer context is the model version's setting `context`",
        )
    if status == 503:
        return PlatformFault(ErrorCode.OVERLOADED, message or "the engine is busy", retry_after_ms=1000)
    return EngineCut(message or f"the engine answered with status {status}")
