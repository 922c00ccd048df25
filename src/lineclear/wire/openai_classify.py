"""Classification on the data port: texts or arrays of numbers in, the likeliest label and every probability out.

In: request bodies and answers. Out: see `codec`; for engines, the answer's bytes. Must not: read the named tensors of
the Open Inference Protocol. OpenAI has no such operation; the form is the one that vLLM and SGLang serve.
Source: docs.vllm.ai, "Classification API"; docs.sglang.io, "Classification API", 2026-11.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from lineclear.wire import codec
from lineclear.wire.openai_inputs import ENCODE, OpenAIInputs, input_usage, require_input
from lineclear.wire.request_fields import refused

_TENSOR_HINT = 'Send "input": a text, or the numbers alone as nested lists, with the batch as the outermost one.'


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
        """`input` is a text or a list; which lists a model reads is the model's to judge."""
        if "inputs" in tree and "input" not in tree:
            raise refused("inputs", "is the Open Inference Protocol's and not read here", _TENSOR_HINT)
        require_input(tree)


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
