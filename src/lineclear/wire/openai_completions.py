"""The OpenAI text completions dialect, older than chat and still spoken by editors and local servers.

In: request bodies, answers and streams. Out: see `codec`. Must not: know providers.
Source: OpenAI API reference, "Completions (legacy)"; llama.cpp, tools/server/README.md; vLLM, OpenAI-compatible server.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from lineclear.domain.exchange import Event, RequestView
from lineclear.wire import codec
from lineclear.wire.openai_completion_events import (
    CompletionStreamReader,
    CompletionStreamWriter,
    read_completion_answer,
    write_completion_answer,
)
from lineclear.wire.openai_dialect import OpenAIDialect, wants_usage, with_usage, without_prompt
from lineclear.wire.request_fields import (
    CHOICES_MAX,
    OUTPUT_TOKENS_MAX,
    is_stream,
    model_of,
    refused,
    whole_number,
)
from lineclear.wire.splice import encoded, fill, join, top_level

CAP_FIELD = "max_tokens"


class OpenAICompletions(OpenAIDialect):
    """Codec of POST /v1/completions."""

    def view(self, tree: dict[str, Any], body_bytes: int) -> RequestView:
        """See `codec.Codec.view`. Each prompt of a list has answers of its own."""
        model = model_of(tree)
        prompts = prompt_count(tree)
        return RequestView(
            model=model,
            stream=is_stream(tree),
            max_output_tokens=whole_number(tree, CAP_FIELD, OUTPUT_TOKENS_MAX),
            wants_stream_usage=wants_usage(tree),
            choices=prompts * max(_answers(tree, "n"), _answers(tree, "best_of")),
            prompt_bytes=body_bytes,
        )

    def patch(self, body: bytes, tree: dict[str, Any], patch: codec.Patch) -> bytes:
        """Patched: `model`, `stream_options.include_usage`, `max_tokens`, parameters."""
        without_prompt(patch)
        values: dict[str, bytes | msgspec.Raw] = dict(top_level(body))
        values["model"] = encoded(patch.upstream_model)
        if patch.include_usage:
            values["stream_options"] = with_usage(tree, values.get("stream_options"))
        fill(values, tree, patch.defaults)
        if patch.output_cap is not None:
            values[CAP_FIELD] = encoded(patch.output_cap)
        return join(values)

    def stream_reader(self) -> codec.StreamReader:
        return CompletionStreamReader()

    def read_whole(self, body: bytes) -> tuple[Event, ...]:
        """See `codec.Codec.read_whole`."""
        return read_completion_answer(body)

    def stream_writer(self, response_id: str, model: str, created: int) -> codec.StreamWriter:
        return CompletionStreamWriter(response_id, model, created)

    def write_whole(self, events: Iterable[Event], response_id: str, model: str, created: int) -> bytes:
        """See `codec.Codec.write_whole`."""
        return write_completion_answer(events, response_id, model, created)


def prompt_count(tree: dict[str, Any]) -> int:
    """How many prompts a request has: a text or one list of tokens is one, a list of either is as long as it is.

    Raises:
        CallerError: `invalid_request` if `prompt` is neither a text nor a list.
    """
    prompt = tree.get("prompt")
    if type(prompt) is str:
        return 1
    if type(prompt) is not list or not prompt:
        raise refused(
            "prompt",
            "is missing or is neither a text nor a list of texts or tokens",
            'Send "prompt": "…"; a conversation with "messages" goes to /v1/chat/completions.',
        )
    return 1 if type(prompt[0]) is int else len(prompt)


def _answers(tree: dict[str, Any], name: str) -> int:
    """`n` or `best_of`: the vendor makes, and bills, as many answers as the greater of the two."""
    answers = whole_number(tree, name, CHOICES_MAX)
    if answers == 0:
        raise refused(name, f"has to be a whole number from 1 to {CHOICES_MAX}", f"Leave {name} out for one answer.")
    return answers or 1


OPENAI_COMPLETIONS: Final[codec.Codec] = OpenAICompletions()
