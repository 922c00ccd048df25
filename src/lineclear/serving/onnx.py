"""The onnx engine: an ONNX net on the CPU that turns texts, bytes or tensors into vectors or labels.

In: embeddings or classification requests. Out: whole answers. The blocking work runs in `slots` threads, batch by
batch: a caller that hangs up loses the batches that have not begun, the one that runs is waited for. onnxruntime,
tokenizers and numpy are imported only when a model is loaded.
"""

import asyncio
import importlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

import msgspec

from lineclear.domain.capability import engine_operations
from lineclear.domain.catalogue import Engine
from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.domain.exchange import Operation
from lineclear.domain.runtimes import BYTES, TENSOR, TEXT, RuntimeSettings
from lineclear.serving.engine import JSON_HEAD, EngineCall, EngineCounts, EngineCut, EngineRefused, Outlet
from lineclear.wire.openai_classify import Classified, write_classes
from lineclear.wire.openai_embeddings import dimensions_of, encoding_of, write_embeddings
from lineclear.wire.openai_tensors import zeros

if TYPE_CHECKING:
    from lineclear.serving.onnx_inputs import Features
    from lineclear.serving.onnx_net import ONNXNet

log = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

BATCH_NUMBERS_MAX = {TEXT: 4096, BYTES: 65_536, TENSOR: 1 << 20}
"""Tokens, bytes or numbers of one batch, padding included, by setting `reads`: a step takes seconds at most, also for
a net whose work grows with the square of the length."""
EXTRA = "engine 'onnx' needs the packages onnxruntime, tokenizers and numpy: pip install 'lineclear[local]'"


class Counted(msgspec.Struct, frozen=True):
    """The outcome for all inputs of one request, in order."""

    rows: tuple[bytes | Classified, ...]
    tokens: int


class ONNXEngine:
    """One ONNX net, loaded once."""

    obeys_directives = False

    def __init__(
        self, artifact: Path, sha256: str, alias: str, settings: RuntimeSettings, *, private_dir: Path
    ) -> None:
        """`private_dir` is an empty directory: the only place where the net may look for data outside its file."""
        self._artifact = artifact
        self._sha256 = sha256
        self._alias = alias
        self._settings = settings
        self._private_dir = private_dir
        self._net: ONNXNet | None = None
        self._steps = 0
        self._begun = 0
        self._under_way: set[int] = set()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(settings.slots, thread_name_prefix="onnx")

    @property
    def operations(self) -> frozenset[Operation]:
        return frozenset(engine_operations(Engine.ONNX, {"task": self._settings.task}))

    async def load(self) -> None:
        try:
            nets = importlib.import_module("lineclear.serving.onnx_net")
        except ImportError as error:
            raise EngineRefused(f"{EXTRA} ({error.name} is missing)") from error
        self._net = await self._in_thread(
            lambda: nets.load_net(self._artifact, self._sha256, self._settings, self._private_dir)
        )

    async def answer(self, call: EngineCall, outlet: Outlet) -> None:
        outlet.whole(200, JSON_HEAD, await self._body(call))

    async def _body(self, call: EngineCall) -> bytes:
        match call.operation:
            case Operation.EMBEDDINGS:
                encoding = encoding_of(call.tree)
                self._demand_length(dimensions_of(call.tree))
                counted = await self._compute(call.tree)
                vectors = [row for row in counted.rows if isinstance(row, bytes)]
                return write_embeddings(vectors, self._alias, counted.tokens, encoding)
            case Operation.CLASSIFY:
                counted = await self._compute(call.tree)
                items = [row for row in counted.rows if isinstance(row, Classified)]
                return write_classes(items, self._alias, counted.tokens, f"classify-{call.request_id}")
            case Operation.CHAT | Operation.MESSAGES | Operation.COUNT_TOKENS | Operation.COMPLETIONS:
                raise EngineCut(f"the operation {call.operation.value!r} reached an engine that does not offer it")
            case _:
                assert_never(call.operation)

    @property
    def golden_input(self) -> object:
        form = None if self._net is None else self._net.form
        if form is None:
            return None
        return msgspec.json.decode(self._settings.golden_prompt) if self._settings.golden_prompt else zeros(form.shape)

    async def _compute(self, tree: dict[str, Any]) -> Counted:
        net = self._net
        if net is None:
            raise EngineCut("the engine was asked before it was loaded")
        features = await self._in_thread(partial(net.features, tree, self._settings.inputs_max))
        rows: list[bytes | Classified] = [b""] * len(features)
        batch = 1 if net.is_single else self._settings.batch
        for places in batches(features, batch, BATCH_NUMBERS_MAX[self._settings.reads]):
            part = [features[place] for place in places]
            results = await self._in_thread(partial(net.compute, part))
            for place, row in zip(places, results, strict=True):
                rows[place] = row
        return Counted(tuple(rows), sum(feature.tokens for feature in features))

    def _demand_length(self, dimensions: int | None) -> None:
        own = self._net.width if self._net is not None else 0
        if dimensions not in (None, own):
            raise CallerError(
                ErrorCode.INVALID_REQUEST,
                f"this model's vectors have {own} dimensions and cannot be shortened to {dimensions}",
                hint="leave `dimensions` out",
                param="dimensions",
            )

    async def _in_thread(self, work: Callable[[], ResultT]) -> ResultT:
        """Runs blocking work and counts it as a step; cancelled, it does not start, or is waited for."""
        running = self._threads.submit(self._count, work)
        ended = asyncio.wrap_future(running)
        try:
            result = await asyncio.shield(ended)
        except asyncio.CancelledError:
            if not running.cancel():
                # The slot is free only once the thread is: what comes next must not run beside it.
                await asyncio.wait((ended,))
                if (error := ended.exception()) is not None:
                    log.info("work for a caller that is gone failed", extra={"facts": {"error": str(error)}})
            raise
        self._steps += 1
        return result

    def _count(self, work: Callable[[], ResultT]) -> ResultT:
        with self._lock:
            self._begun += 1
            step = self._begun
            self._under_way.add(step)
        try:
            return work()
        finally:
            with self._lock:
                self._under_way.discard(step)

    async def counts(self) -> EngineCounts:
        with self._lock:
            return EngineCounts(self._steps, len(self._under_way), min(self._under_way, default=None))

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._net = None


def batches(features: "Sequence[Features]", batch: int, numbers_max: int) -> Iterator[list[int]]:
    """Places of inputs that are computed together: of like length, so that little padding is computed.

    At most `batch` of them, and at most `numbers_max` numbers with the padding, but always one.
    """
    by_length = sorted(range(len(features)), key=lambda place: len(features[place].numbers))
    together: list[int] = []
    for place in by_length:
        # Sorted, so the newest is the longest, and all others are padded to it.
        if together and (len(together) == batch or (len(together) + 1) * len(features[place].numbers) > numbers_max):
            yield together
            together = []
        together.append(place)
    if together:
        yield together
