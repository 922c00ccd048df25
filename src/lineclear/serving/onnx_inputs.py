"""What callers send as the numbers that an ONNX net reads: text by a tokenizer, bytes by a window, tensors as they are.

In: inputs of requests. Out: Features. Whatever does not fit is the caller's error; nothing is cut off unasked. Needs
the extra `local`; imported with `onnx_net`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import tokenizers

from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.domain.money import estimated_tokens
from lineclear.serving.engine import EngineRefused
from lineclear.wire.openai_inputs import Input
from lineclear.wire.openai_tensors import TensorForm

CHARS_PER_TOKEN_MAX = 64
"""A text with more characters than this per allowed token is refused before the tokenizer reads it."""
BLOCK_BYTES = 4096
"""How far into an input white space at its ends is skipped. Source: magika's configuration, block_size."""
RANK_MAX = 8
INPUT_NUMBERS_MAX = 1 << 20
"""Numbers of one array."""
INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
NUMBERS: dict[str, Any] = {  # Any: numpy's number types have no common type that takes them all
    **INTEGERS,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int16)": np.int16,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
}
"""Element types of inputs, as onnxruntime calls them."""


class Features(msgspec.Struct, frozen=True):
    """One input as the numbers that the net reads."""

    numbers: Sequence[float]
    tokens: int
    """What the input counts in usage."""


Read: TypeAlias = Callable[[Input, str], Features]
"""Makes numbers of an input; the text is its place in the request."""


def text_reader(tokenizer: tokenizers.Tokenizer, tokens_max: int) -> Read:
    """For nets that read token ids."""
    vocabulary = tokenizer.get_vocab_size()

    def read(item: Input, param: str) -> Features:
        if isinstance(item, str):
            if len(item) > tokens_max * CHARS_PER_TOKEN_MAX:
                raise _too_long(param, f"{len(item)} characters", tokens_max)
            numbers = tokenizer.encode(item).ids
        else:
            numbers = list(item)
            if max(numbers) >= vocabulary:
                raise wrong(param, f"token {max(numbers)} is not one of the model's {vocabulary}", "send the text")
        if len(numbers) > tokens_max:
            raise _too_long(param, f"{len(numbers)} tokens", tokens_max)
        return Features(numbers, len(numbers))

    return read


def byte_window(session: Any, artifact: Path) -> int:
    """How many numbers a net of bytes reads: its input's second dimension.

    Raises:
        EngineRefused: the net reads something else.
    """
    shape = session.get_inputs()[0].shape
    if len(shape) != 2 or type(shape[1]) is not int or shape[1] < 2 or shape[1] % 2:
        raise EngineRefused(f"{artifact} reads an array of shape {shape}; for bytes it has to be [batch, even number]")
    return int(shape[1])


def byte_reader(window: int, padding: int) -> Read:
    """For nets that read the beginning and the end of a file."""
    half = window // 2

    def read(item: Input, param: str) -> Features:
        if isinstance(item, str):
            content = item.encode()
        elif max(item) > 255:
            raise wrong(param, f"{max(item)} is not a byte", "send numbers from 0 to 255, or a text")
        else:
            content = bytes(item)
        start = content[:BLOCK_BYTES].lstrip()[:half]
        end = content[-BLOCK_BYTES:].rstrip()[-half:]
        gap = [padding] * (window - len(start) - len(end))
        return Features([*start, *gap, *end], estimated_tokens(len(content)))

    return read


def no_reader(_item: Input, param: str) -> Features:
    """For nets of tensors, which read no text."""
    raise wrong(param, "is no array of numbers", "send nested lists of numbers")


def tensor_form(session: Any, artifact: Path) -> TensorForm:
    """What the arrays of a net of tensors look like.

    Raises:
        EngineRefused: the net takes several arrays, or one of another kind, or of free size.
    """
    entries = session.get_inputs()
    kind, shape = NUMBERS.get(entries[0].type), tuple(entries[0].shape)
    if len(entries) != 1 or kind is None:
        given = ", ".join(f"{entry.name}: {entry.type}" for entry in entries)
        raise EngineRefused(f"{artifact} reads {given}; for tensors it has to be one array of {', '.join(NUMBERS)}")
    sizes = tuple(size for size in shape[1:] if type(size) is int and size > 0)
    if not 2 <= len(shape) <= RANK_MAX or len(sizes) != len(shape) - 1 or (type(shape[0]) is int and shape[0] != 1):
        raise EngineRefused(
            f"{artifact} reads an array of shape {list(shape)}; for tensors it has to be [batch, N, …], at most "
            f"{RANK_MAX} dimensions, all but the batch of a fixed size: export it with fixed sizes"
        )
    is_whole = np.issubdtype(kind, np.integer)
    bounds = np.iinfo(kind) if is_whole else np.finfo(kind)
    convert = int if is_whole else float
    form = TensorForm(sizes, bool(is_whole), convert(bounds.min), convert(bounds.max))
    if form.numbers > INPUT_NUMBERS_MAX:
        raise EngineRefused(f"{artifact} reads arrays of {form.numbers} numbers; {INPUT_NUMBERS_MAX} are the most")
    return form


def tensor_features(numbers: Sequence[float]) -> Features:
    """For nets of tensors, whose numbers are the net's own; four count one token, as four bytes do."""
    return Features(numbers, estimated_tokens(len(numbers)))


def _too_long(param: str, length: str, tokens_max: int) -> CallerError:
    return wrong(
        param,
        f"the input has {length} and the model reads {tokens_max} tokens",
        "split the text and send the parts; nothing is cut off unasked",
    )


def wrong(param: str, message: str, hint: str) -> CallerError:
    """The caller's error at a place of the request."""
    return CallerError(ErrorCode.INVALID_REQUEST, message, hint=hint, param=param)
