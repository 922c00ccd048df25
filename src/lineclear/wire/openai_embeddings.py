"""The OpenAI embeddings dialect: text or tokens in, a vector for each out, as numbers or as base64.

In: request bodies and answers. Out: see `codec`; for engines, the fields they need and the answer's bytes.
Must not: turn one encoding into the other on its way: `encoding_format` travels to the target, which obeys it.
Source: OpenAI API reference, "Embeddings"; openai-python asks for base64 where its caller names nothing.
"""

import base64
import struct
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from lineclear.wire import codec
from lineclear.wire.openai_inputs import ENCODE, OpenAIInputs, input_usage, require_input
from lineclear.wire.request_fields import refused, whole_number

DIMENSIONS_MAX = 65_536
FLOAT_BYTES = 4


class VectorEncoding(StrEnum):
    """How the vectors of an answer are written; both carry the same 32-bit floats."""

    FLOAT = "float"
    BASE64 = "base64"


class OpenAIEmbeddings(OpenAIInputs):
    """Codec of POST /v1/embeddings."""

    item_field = "embedding"

    def check(self, tree: dict[str, Any]) -> None:
        """`input` and `dimensions`, as far as every target agrees on them."""
        require_input(tree)
        dimensions_of(tree)


def encoding_of(tree: dict[str, Any]) -> VectorEncoding:
    """The encoding asked for; numbers if none is.

    Raises:
        CallerError: `invalid_request` for `encoding_format`.
    """
    asked = tree.get("encoding_format")
    if asked is None:
        return VectorEncoding.FLOAT
    for encoding in VectorEncoding:
        if asked == encoding.value:
            return encoding
    raise refused("encoding_format", "has to be 'float' or 'base64'", "Leave encoding_format out for numbers.")


def dimensions_of(tree: dict[str, Any]) -> int | None:
    """The length of vector asked for; None = the model's own.

    Raises:
        CallerError: `invalid_request` for `dimensions`.
    """
    dimensions = whole_number(tree, "dimensions", DIMENSIONS_MAX)
    if dimensions == 0:
        raise refused("dimensions", "has to be at least 1", "Leave dimensions out for the model's own length.")
    return dimensions


def pack_vector(values: Sequence[float]) -> bytes:
    """Numbers as little-endian 32-bit floats, the form in which `write_embeddings` takes a vector."""
    return struct.pack(f"<{len(values)}f", *values)


def write_embeddings(
    vectors: Sequence[bytes], model: str, prompt_tokens: int | None, encoding: VectorEncoding
) -> bytes:
    """A whole answer.

    Args:
        vectors: one for each input, in order, as little-endian 32-bit floats. Both encodings write these very
            floats, so that what a caller reads is the same.
        model: the name the answer gives.
        prompt_tokens: of all inputs together; None = the answer does not say.
        encoding: the one that the request asked for.
    """
    written: list[str] | list[tuple[float, ...]]
    if encoding is VectorEncoding.BASE64:
        written = [base64.b64encode(vector).decode("ascii") for vector in vectors]
    else:
        written = [struct.unpack(f"<{len(vector) // FLOAT_BYTES}f", vector) for vector in vectors]
    answer: dict[str, Any] = {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(written)],
        "model": model,
    }
    if prompt_tokens is not None:
        answer["usage"] = input_usage(prompt_tokens)
    return ENCODE(answer)


OPENAI_EMBEDDINGS: Final[codec.Codec] = OpenAIEmbeddings()
