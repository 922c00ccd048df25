"""The blocking half of the onnx engine: files into a net, inputs into numbers, numbers into vectors or labels.

In: verified files and the inputs of requests. Out: little-endian float32 vectors of length 1, or labels with
probabilities. Needs the extra `local`; imported by `onnx` when a model is loaded, in its process alone.
"""

import ctypes
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import tokenizers
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from lineclear.domain.errors import CallerError
from lineclear.domain.runtimes import CLASSIFICATION, TENSOR, TEXT, RuntimeSettings
from lineclear.serving.artifact import read_verified
from lineclear.serving.engine import EngineCut, EngineRefused
from lineclear.serving.onnx_inputs import (
    INTEGERS,
    NUMBERS,
    Features,
    Read,
    byte_reader,
    byte_window,
    no_reader,
    tensor_features,
    tensor_form,
    text_reader,
    wrong,
)
from lineclear.wire.openai_classify import Classified
from lineclear.wire.openai_inputs import read_inputs
from lineclear.wire.openai_tensors import TensorForm, read_tensors

LABELS_MAX = 100_000
EPSILON = 1e-12
M_MMAP_THRESHOLD = -3
"""Source: glibc's malloc.h."""
MMAP_BYTES = 1 << 20
SCORES = frozenset({"tensor(float)", "tensor(double)", "tensor(float16)"})
"""Element types of an output that may hold scores; a label's number may stand beside them."""
PROBE_TEXT = "a"
LIKE_TRAINING = "send numbers such as the model was trained with; its card may say which"

log = logging.getLogger(__name__)


class ONNXNet:
    """One net with what stands before and after it. Its methods block, and may be called from several threads."""

    def __init__(
        self, session: Any, read: Read, padding: int, labels: tuple[str, ...] | None, form: TensorForm | None
    ) -> None:
        """`session`: an onnxruntime session, which has no types. `labels`: None for a net that gives vectors.

        `form`: what tensors the net reads; None for a net of texts or bytes, of which `read` makes numbers.
        """
        self._session = session
        self._read = read
        self._padding = padding
        self._labels = labels
        self._types = {entry.name: NUMBERS[entry.type] for entry in session.get_inputs()}
        self._main = session.get_inputs()[0].name
        self._output = _output_name(session, labels is not None)
        self.form = form
        self.is_single = form is not None and session.get_inputs()[0].shape[0] == 1
        """The net computes one input at a time."""
        self.width = 0
        """Numbers in each vector, or labels; known after the first computation."""

    def features(self, tree: dict[str, Any], inputs_max: int) -> list[Features]:
        """Every input of a request as numbers. Any: JSON as it came.

        Raises:
            CallerError: an input is too long, or not of the kind that the net reads, or there are too many.
        """
        if self.form is not None:
            return [tensor_features(numbers) for numbers in read_tensors(tree, self.form, inputs_max)]
        inputs = read_inputs(tree)
        if len(inputs) > inputs_max:
            raise wrong(
                "input",
                f"{len(inputs)} inputs in one request; this model takes {inputs_max}",
                "send several requests; the model version's setting `inputs_max` raises it",
            )
        one = len(inputs) == 1
        return [self._read(item, "input" if one else f"input.{at}") for at, item in enumerate(inputs)]

    def compute(self, batch: Sequence[Features]) -> list[bytes | Classified]:
        """One row for each of these inputs.

        Raises:
            CallerError: the net has no answer to these numbers.
            EngineCut: the net failed, or gave something else than it should.
        """
        fed, mask = self._fed(batch)
        try:
            output = np.asarray(self._session.run([self._output], fed)[0], dtype=np.float32)
        except InvalidArgument as error:
            # Names, types and sizes were tried when the net was loaded, so it is the numbers: none of its tokens, say.
            log.info("the net has no answer to an input", extra={"facts": {"error": _first_line(error)}})
            raise wrong("input", "the net cannot compute these numbers", LIKE_TRAINING) from error
        except Exception as error:
            # The edge to a foreign library: what it raises derives from nothing nearer than this.
            log.warning("the net failed", extra={"facts": {"error": _first_line(error)}})
            raise EngineCut("the net could not compute this input") from error
        rows = pooled(output, mask) if output.ndim == 3 and mask is not None else output
        if rows.ndim != 2 or len(rows) != len(batch):
            raise EngineCut(f"the net gave an output of shape {output.shape} for {len(batch)} inputs")
        if not np.isfinite(rows).all():
            if self.form is not None:
                raise wrong("input", "the net's scores for these numbers are not finite", LIKE_TRAINING)
            raise EngineCut("the net gave scores that are no finite numbers")
        self.width = rows.shape[1]
        if self._labels is None:
            return [row.astype("<f4").tobytes() for row in normalized(rows)]
        return classified(rows, self._labels)

    def _fed(self, batch: Sequence[Features]) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64] | None]:
        """What the net reads, and for texts and bytes which places hold an input's own numbers."""
        if self.form is not None:
            rows = np.array([item.numbers for item in batch], dtype=self._types[self._main])
            return {self._main: rows.reshape(len(batch), *self.form.shape)}, None
        longest = max(len(item.numbers) for item in batch)
        ids = np.full((len(batch), longest), self._padding, dtype=np.int64)
        mask = np.zeros((len(batch), longest), dtype=np.int64)
        for at, item in enumerate(batch):
            ids[at, : len(item.numbers)] = item.numbers
            mask[at, : len(item.numbers)] = 1
        known = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return {name: known.get(name, ids).astype(kind) for name, kind in self._types.items()}, mask


def _output_name(session: Any, classifies: bool) -> str:
    """The output that holds vectors or scores: of a classifier the first of fractions, else the first.

    Raises:
        EngineRefused: a classifier has none.
    """
    outputs = session.get_outputs()
    if not classifies:
        return str(outputs[0].name)
    for output in outputs:
        if output.type in SCORES:
            return str(output.name)
    given = ", ".join(f"{output.name}: {output.type}" for output in outputs)
    raise EngineRefused(
        f"the net gives {given}; a classifier has to give scores as an array of fractions (skl2onnx: zipmap off)"
    )


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
    _give_large_blocks_back()
    content = read_verified(artifact, sha256)
    try:
        session = onnxruntime.InferenceSession(content, _options(settings, private_dir), ["CPUExecutionProvider"])
    except Exception as error:
        raise EngineRefused(f"onnxruntime could not load {artifact}: {_first_line(error)}") from error
    del content
    folder = artifact.parent
    labels = _labels(folder / settings.labels, settings) if settings.task == CLASSIFICATION else None
    if settings.reads == TENSOR:
        return ONNXNet(session, no_reader, 0, labels, tensor_form(session, artifact))
    if settings.reads == TEXT:
        tokenizer = _tokenizer(folder / settings.tokenizer, settings)
        padding = (tokenizer.padding or {}).get("pad_id", 0)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        _demand_inputs(session, settings, artifact)
        net = ONNXNet(session, text_reader(tokenizer, settings.context), padding, labels, None)
        _demand_reach(net, tokenizer, settings.context, artifact)
        return net
    read = byte_reader(byte_window(session, artifact), settings.padding)
    _demand_inputs(session, settings, artifact)
    return ONNXNet(session, read, settings.padding, labels, None)


def _demand_reach(net: ONNXNet, tokenizer: tokenizers.Tokenizer, context: int, artifact: Path) -> None:
    """What a caller may send has to be computable: the tokenizer's last token, and `context` tokens at once.

    Raises:
        EngineRefused: it is not.
        EngineCut: the net computes nothing at all.
    """
    numbers = tokenizer.encode(PROBE_TEXT).ids or [0]
    net.compute([Features(numbers, 0)])
    last = tokenizer.get_vocab_size() - 1
    try:
        net.compute([Features([*numbers[:-1], last], 0)])
    except (CallerError, EngineCut) as error:
        raise EngineRefused(
            f"{artifact} does not know token {last}, the last of its tokenizer; the two files do not belong together"
        ) from error
    try:
        net.compute([Features((numbers * context)[:context], 0)])
    except (CallerError, EngineCut) as error:
        raise EngineRefused(
            f"{artifact} does not read {context} tokens at once; set `context` to what the net was made for"
        ) from error


def _give_large_blocks_back() -> None:
    """Sets from where on freed memory goes back to the system at once.

    glibc raises that mark to the largest block freed so far, up to 32 MiB, unless it was set: the try of a net with its
    longest input would be enough, and every later batch would stay in the heap. Source: mallopt(3), M_MMAP_THRESHOLD.
    Another C library has no such mark, and nothing is set.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)


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


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
