"""The blocking half of the onnx engine: files into a net, inputs into numbers, numbers into vectors or labels.

In: verified files and the inputs of requests. Out: little-endian float32 vectors of length 1, or labels with
probabilities. Needs the extra `local`; imported by `onnx` when a model is loaded, in its process alone.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import tokenizers
from numpy.typing import NDArray

from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.domain.money import estimated_tokens
from lineclear.domain.runtimes import CLASSIFICATION, TEXT, RuntimeSettings
from lineclear.serving.artifact import read_verified
from lineclear.serving.engine import EngineCut, EngineRefused
from lineclear.wire.openai_classify import Classified
from lineclear.wire.openai_inputs import Input

LABELS_MAX = 100_000
CHARS_PER_TOKEN_MAX = 64
"""A text with more characters than this per allowed token is refused before the tokenizer reads it."""
BLOCK_BYTES = 4096
"""How far into an input white space at its ends is skipped. Source: magika's configuration, block_size."""
EPSILON = 1e-12
INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


class Features(msgspec.Struct, frozen=True):
    """One input as the numbers that the net reads."""

    numbers: list[int]
    tokens: int
    """What the input counts in usage."""


class ONNXNet:
    """One net with what stands before and after it. Its methods block, and may be called from several threads."""

    def __init__(
        self,
        session: Any,
        read: "Callable[[Input, str], Features]",
        padding: int,
        labels: tuple[str, ...] | None,
    ) -> None:
        """`session`: an onnxruntime session, which has no types. `labels`: None for a net that gives vectors."""
        self._session = session
        self._read = read
        self._padding = padding
        self._labels = labels
        self._types = {entry.name: INTEGERS.get(entry.type) for entry in session.get_inputs()}
        self._main = session.get_inputs()[0].name
        self.width = 0
        """Numbers in each vector, or labels; known after the first computation."""

    def features(self, inputs: Sequence[Input]) -> list[Features]:
        """Every input as numbers.

        Raises:
            CallerError: an input is too long, or is not of the kind that the net reads.
        """
        one = len(inputs) == 1
        return [self._read(item, "input" if one else f"input.{at}") for at, item in enumerate(inputs)]

    def compute(self, batch: Sequence[Features]) -> list[bytes | Classified]:
        """One row for each of these inputs.

        Raises:
            EngineCut: the net failed, or gave something else than it should.
        """
        longest = max(len(item.numbers) for item in batch)
        ids = np.full((len(batch), longest), self._padding, dtype=np.int64)
        mask = np.zeros((len(batch), longest), dtype=np.int64)
        for at, item in enumerate(batch):
            ids[at, : len(item.numbers)] = item.numbers
            mask[at, : len(item.numbers)] = 1
        fed = {name: array.astype(self._types[name]) for name, array in self._named(ids, mask).items()}
        try:
            output = np.asarray(self._session.run(None, fed)[0], dtype=np.float32)
        except (RuntimeError, ValueError) as error:
            raise EngineCut("the net could not compute this input") from error
        rows = pooled(output, mask) if output.ndim == 3 else output
        if rows.ndim != 2 or len(rows) != len(batch) or not np.isfinite(rows).all():
            raise EngineCut(f"the net gave an output of shape {output.shape} for {len(batch)} inputs, or no numbers")
        self.width = rows.shape[1]
        if self._labels is None:
            return [row.astype("<f4").tobytes() for row in normalized(rows)]
        return classified(rows, self._labels)

    def _named(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return {name: known.get(name, ids) for name in self._types}


def pooled(hidden: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean of the vectors of an input's own tokens. Source: sentence-transformers, Pooling, mean tokens."""
    weights = mask[:, :, None].astype(np.float32)
    total: NDArray[np.float32] = (hidden * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), EPSILON)
    return total


def normalized(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors of length 1, so that a dot product is the cosine."""
    unit: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), EPSILON)
    return unit


def classified(rows: NDArray[np.float32], labels: tuple[str, ...]) -> list[bytes | Classified]:
    """The likeliest label of each row; scores that are no probabilities yet go through softmax."""
    if rows.shape[1] != len(labels):
        raise EngineCut(f"the net gave {rows.shape[1]} scores and there are {len(labels)} labels")
    # Float32 sums of a few hundred probabilities miss 1 by about 1e-6.
    if (rows < 0).any() or not np.allclose(rows.sum(axis=1), 1.0, atol=1e-3):
        powers = np.exp(rows - rows.max(axis=1, keepdims=True))
        rows = powers / powers.sum(axis=1, keepdims=True)
    return [Classified(labels[int(row.argmax())], tuple(row.tolist())) for row in rows]


def load_net(artifact: Path, sha256: str, settings: RuntimeSettings, private_dir: Path) -> ONNXNet:
    """The net of a file, ready to be asked.

    Every file is read once, and what was compared with its digest is what is loaded.

    Raises:
        EngineRefused: a file is no such file, or the parts do not fit together.
        ArtifactRefused: a file is not the one that was named.
    """
    content = read_verified(artifact, sha256)
    try:
        session = onnxruntime.InferenceSession(content, _options(settings, private_dir), ["CPUExecutionProvider"])
    except Exception as error:
        raise EngineRefused(f"onnxruntime could not load {artifact}: {_first_line(error)}") from error
    del content
    folder = artifact.parent
    labels = _labels(folder / settings.labels, settings) if settings.task == CLASSIFICATION else None
    if settings.reads == TEXT:
        tokenizer = _tokenizer(folder / settings.tokenizer, settings)
        padding = (tokenizer.padding or {}).get("pad_id", 0)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        read = _text_reader(tokenizer, settings.context)
    else:
        padding = settings.padding
        read = _byte_reader(_byte_window(session, artifact), padding)
    _demand_inputs(session, settings, artifact)
    return ONNXNet(session, read, padding, labels)


def _options(settings: RuntimeSettings, private_dir: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads or max(1, len(os.sched_getaffinity(0)) - 1)
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # With its own arena a single long batch would keep more than 1 GB for good; without it the speed is the same.
    options.enable_cpu_mem_arena = False
    # Waiting threads sleep: spinning would take the gateway's cores for nothing.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A net may name other files for its weights; those would escape the digest, and here there are none.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(private_dir))
    return options


def _demand_inputs(session: Any, settings: RuntimeSettings, artifact: Path) -> None:
    entries = {entry.name: entry.type for entry in session.get_inputs()}
    known = {"input_ids", "attention_mask", "token_type_ids"}
    foreign = [name for name in entries if name not in known] if settings.reads == TEXT else list(entries)[1:]
    wrong = [name for name, kind in entries.items() if kind not in INTEGERS]
    if foreign or wrong:
        raise EngineRefused(
            f"{artifact} takes inputs that this engine does not know how to fill: {', '.join(foreign or wrong)}; it "
            "fills input_ids, attention_mask and token_type_ids for text, and one array of whole numbers for bytes"
        )


def _tokenizer(path: Path, settings: RuntimeSettings) -> tokenizers.Tokenizer:
    content = read_verified(path, settings.tokenizer_sha256)
    try:
        return tokenizers.Tokenizer.from_buffer(content)
    except Exception as error:
        raise EngineRefused(f"{path} is not a tokenizer.json: {_first_line(error)}") from error


def _labels(path: Path, settings: RuntimeSettings) -> tuple[str, ...]:
    content = read_verified(path, settings.labels_sha256)
    try:
        labels = json.loads(content)
    except ValueError as error:
        raise EngineRefused(f"{path} is not a JSON list of labels: {error}") from error
    if not isinstance(labels, list) or not 0 < len(labels) <= LABELS_MAX or not all(type(x) is str for x in labels):
        raise EngineRefused(f"{path} is not a JSON list of labels")
    return tuple(labels)


def _text_reader(tokenizer: tokenizers.Tokenizer, tokens_max: int) -> "Callable[[Input, str], Features]":
    vocabulary = tokenizer.get_vocab_size()

    def read(item: Input, param: str) -> Features:
        if isinstance(item, str):
            if len(item) > tokens_max * CHARS_PER_TOKEN_MAX:
                raise _too_long(param, f"{len(item)} characters", tokens_max)
            numbers = tokenizer.encode(item).ids
        else:
            numbers = list(item)
            if max(numbers) >= vocabulary:
                raise _wrong(param, f"token {max(numbers)} is not one of the model's {vocabulary}", "send the text")
        if len(numbers) > tokens_max:
            raise _too_long(param, f"{len(numbers)} tokens", tokens_max)
        return Features(numbers, len(numbers))

    return read


def _byte_window(session: Any, artifact: Path) -> int:
    """How many numbers a net of bytes reads: its input's second dimension."""
    shape = session.get_inputs()[0].shape
    if len(shape) != 2 or type(shape[1]) is not int or shape[1] < 2 or shape[1] % 2:
        raise EngineRefused(f"{artifact} reads an array of shape {shape}; for bytes it has to be [batch, even number]")
    return int(shape[1])


def _byte_reader(window: int, padding: int) -> "Callable[[Input, str], Features]":
    half = window // 2

    def read(item: Input, param: str) -> Features:
        if isinstance(item, str):
            content = item.encode()
        elif max(item) > 255:
            raise _wrong(param, f"{max(item)} is not a byte", "send numbers from 0 to 255, or a text")
        else:
            content = bytes(item)
        start = content[:BLOCK_BYTES].lstrip()[:half]
        end = content[-BLOCK_BYTES:].rstrip()[-half:]
        gap = [padding] * (window - len(start) - len(end))
        return Features([*start, *gap, *end], estimated_tokens(len(content)))

    return read


def _too_long(param: str, length: str, tokens_max: int) -> CallerError:
    return _wrong(
        param,
        f"the input has {length} and the model reads {tokens_max} tokens",
        "split the text and send the parts; nothing is cut off unasked",
    )


def _wrong(param: str, message: str, hint: str) -> CallerError:
    return CallerError(ErrorCode.INVALID_REQUEST, message, hint=hint, param=param)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
