"""Deterministic embeddings and classifications of a scripted upstream, built without the product's own codecs.

In: a request's JSON. Out: a whole body: an item for each input. The same request always gives the same bytes.
"""

import base64
import hashlib
import json
import struct
from typing import Any

EMBEDDINGS = "embeddings"
CLASSIFY = "classify"
DIMENSIONS = 8
LABELS = ("no", "yes")


def inputs_of(tree: dict[str, Any]) -> list[Any]:
    """The inputs of a request: texts, or lists of tokens."""
    given = tree.get("input", [])
    if isinstance(given, str) or (isinstance(given, list) and given and isinstance(given[0], int)):
        return [given]
    return list(given) if isinstance(given, list) else []


def item_answer(kind: str, tree: dict[str, Any], input_tokens: int, *, no_usage: bool) -> bytes:
    """The body of a whole answer."""
    inputs = inputs_of(tree)
    make = _class if kind == CLASSIFY else _embedding
    answer: dict[str, Any] = {
        "object": "list",
        "data": [make(index, given, tree) for index, given in enumerate(inputs)],
        "model": tree.get("model", ""),
        "usage": {"prompt_tokens": input_tokens, "total_tokens": input_tokens},
    }
    if no_usage:
        del answer["usage"]
    return json.dumps(answer).encode()


def vector_of(given: Any, dimensions: int = DIMENSIONS) -> list[float]:
    """The vector of an input; sixteenths, so that a 32-bit float holds each exactly."""
    noise = hashlib.shake_128(json.dumps(given).encode()).digest(dimensions)
    return [(byte - 128) / 16 for byte in noise]


def _embedding(index: int, given: Any, tree: dict[str, Any]) -> dict[str, Any]:
    values = vector_of(given, tree.get("dimensions") or DIMENSIONS)
    vector: Any = values
    if tree.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
    return {"object": "embedding", "index": index, "embedding": vector}


def _class(index: int, given: Any, _tree: dict[str, Any]) -> dict[str, Any]:
    share = hashlib.sha256(json.dumps(given).encode()).digest()[0] / 255
    return {"index": index, "label": LABELS[share > 0.5], "probs": [1 - share, share], "num_classes": 2}
