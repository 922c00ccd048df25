"""Simulated vectors and classes: what an embedding model or a classifier would send, made of a digest of the input.

In: one input. Out: a unit vector, or a class with probabilities. The same bytes always give the same values, and
nothing else does: the vectors of related texts are no closer than those of any others.
"""

import hashlib
import math
import struct

import msgspec

from lineclear.domain.money import estimated_tokens
from lineclear.wire.openai_classify import Classified
from lineclear.wire.openai_embeddings import pack_vector
from lineclear.wire.openai_inputs import Input

DIMENSIONS = 384
"""Without `dimensions` a vector is as long as MiniLM's."""
LABELS = ("simulated-red", "simulated-amber", "simulated-green")
_HALF = 32_768


def simulated_vector(given: Input, dimensions: int) -> bytes:
    """A vector of length 1 as little-endian 32-bit floats."""
    noise = hashlib.shake_256(_bytes(given)).digest(2 * dimensions)
    values = [value + 0.5 - _HALF for value in struct.unpack(f"<{dimensions}H", noise)]  # never all zero
    length = math.sqrt(math.fsum(value * value for value in values))
    return pack_vector([value / length for value in values])


def simulated_class(given: Input) -> Classified:
    """Probabilities that add up to 1, and the label of the greatest."""
    weights = [1 + byte for byte in hashlib.sha256(_bytes(given)).digest()[: len(LABELS)]]
    probs = tuple(weight / sum(weights) for weight in weights)
    return Classified(label=LABELS[probs.index(max(probs))], probs=probs)


def input_tokens(given: Input) -> int:
    """Tokens as they came, or as many as the text's bytes make likely."""
    return len(given) if isinstance(given, tuple) else estimated_tokens(len(given.encode()))


def response_id(inputs: tuple[Input, ...]) -> str:
    """A name that is the same for equal requests."""
    return f"sim-{hashlib.sha256(msgspec.json.encode(inputs)).hexdigest()[:24]}"


def _bytes(given: Input) -> bytes:
    return msgspec.json.encode(given)
