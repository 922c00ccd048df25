"""Text classification on the data port: text in, the likeliest label and every class's probability out.

In: request bodies and answers. Out: see `codec`; for engines, the answer's bytes. Must not: take tensors, which
belong to the Open Inference Protocol. OpenAI has no such operation; the form is the one that vLLM and SGLang serve.
Source: docs.vllm.ai, "Classification API"; docs.sglang.io, "Classification API", 2026-11.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from lineclear.wire import codec
from lineclear.wire.openai_inputs import ENCODE, OpenAIInputs, input_usage, require_input
from lineclear.wire.request_fields import refused

_TENSOR_HINT = "Send texts. Tensors come with the Open Inference Protocol (/v2), which is not built yet."


class Classified(msgspec.Struct, frozen=True, gc=False):
    """What a model says of one input."""

    label: str
    """The likeliest class."""
    probs: tuple[float, ...]
    """Of each class in the model's order; they add up to 1."""


class OpenAIClassify(OpenAIInputs):
    """Codec of POST /v1/classify."""

    item_field = "label"

    def check(self, tree: dict[str, Any]) -> None:
        """`input` is text or tokens; a tensor is refused by name."""
        if "inputs" in tree and "input" not in tree:
            raise refused("inputs", "is the Open Inference Protocol's and not read here", _TENSOR_HINT)
        require_input(tree)
        given = tree["input"]
        rows = given if type(given) is list and type(given[0]) is list else [given]
        if any(type(row) is list and row and type(row[0]) in (float, list) for row in rows):
            raise refused("input", "is a tensor", _TENSOR_HINT)


def write_classes(items: Sequence[Classified], model: str, prompt_tokens: int | None, response_id: str) -> bytes:
    """A whole answer; `prompt_tokens` of all inputs together, None = the answer does not say."""
    answer: dict[str, Any] = {
        "id": response_id,
        "object": "list",
        "data": [
            {"index": index, "label": item.label, "probs": item.probs, "num_classes": len(item.probs)}
            for index, item in enumerate(items)
        ],
        "model": model,
    }
    if prompt_tokens is not None:
        answer["usage"] = input_usage(prompt_tokens)
    return ENCODE(answer)


OPENAI_CLASSIFY: Final[codec.Codec] = OpenAIClassify()
