"""What embeddings and classification share: a list of inputs goes in, an item for each comes out, never a stream.

In: request bodies and whole answers of these operations. Out: see `codec`; for runtimes, the inputs themselves.
Vectors and probabilities are no canonical events: the walk bills and records, it does not read them.
"""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import msgspec

from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.domain.exchange import Event, RequestView, Started, Terminated, UsageReported
from lineclear.domain.money import Usage
from lineclear.wire import codec
from lineclear.wire.native_errors import UNREADABLE, failure, native_name
from lineclear.wire.openai_dialect import OpenAIDialect, without_prompt
from lineclear.wire.request_fields import is_stream, model_of, refused
from lineclear.wire.splice import encoded, join, top_level
from lineclear.wire.usage import openai_usage

INPUTS_MAX = 2048
"""Inputs of one request to a runtime. Source: OpenAI API reference, embeddings, `input`."""

Input: TypeAlias = "str | tuple[int, ...]"
"""A text, or the tokens of one."""

_INPUT_HINT = 'Send "input": "…" or a list of texts; a list of whole numbers is one text in tokens.'


class _Answer(msgspec.Struct, gc=False):
    id: Any = None
    model: Any = None
    data: list[dict[str, msgspec.Raw]] | None = None
    usage: Any = None
    error: Any = None


_DECODE = msgspec.json.Decoder(_Answer).decode


class OpenAIInputs(OpenAIDialect):
    """Base of the codecs of POST /v1/embeddings and /v1/classify."""

    item_field: str
    """What each item of an answer has to carry."""

    def view(self, tree: dict[str, Any], body_bytes: int) -> RequestView:
        """See `codec.Codec.view`; what stands inside `input` is the target's to judge. No tokens come out."""
        model = model_of(tree)
        self.check(tree)
        if is_stream(tree):
            raise refused("stream", "cannot be true here", "These answers are sent whole; leave stream out.")
        return RequestView(
            model=model,
            stream=False,
            max_output_tokens=0,
            wants_stream_usage=True,
            choices=1,
            prompt_bytes=body_bytes,
        )

    @abstractmethod
    def check(self, tree: dict[str, Any]) -> None:
        """Refuses what is clearly no request of the operation.

        Raises:
            CallerError: `invalid_request`, naming the field.
        """

    def patch(self, body: bytes, tree: dict[str, Any], patch: codec.Patch) -> bytes:
        """Patched: `model`. The encoding asked for goes on as it is: the target answers in it."""
        del tree
        without_prompt(patch)
        values: dict[str, bytes | msgspec.Raw] = dict(top_level(body))
        values["model"] = encoded(patch.upstream_model)
        return join(values)

    def read_whole(self, body: bytes) -> tuple[Event, ...]:
        """Name, usage and `Terminated`; the items are looked at, not read."""
        try:
            answer = _DECODE(body)
        except UNREADABLE as error:
            raise ValueError(f"not a list of items: {error}") from error
        if answer.error:
            return (failure(answer.error),)
        if not answer.data or not all(self.item_field in item for item in answer.data):
            raise ValueError(f"not a list of items with {self.item_field!r}")
        started = Started(native_name(answer.id), native_name(answer.model))
        usage = _input_usage(answer.usage)
        return (started, Terminated()) if usage is None else (started, UsageReported(usage), Terminated())

    def stream_reader(self) -> codec.StreamReader:
        """There are no streams: `view` refuses them."""
        raise _no_stream()

    def stream_writer(self, response_id: str, model: str, created: int) -> codec.StreamWriter:
        """There are no streams."""
        del response_id, model, created
        raise _no_stream()

    def write_whole(self, events: Iterable[Event], response_id: str, model: str, created: int) -> bytes:
        """Items are no events; engines write answers with this operation's own function."""
        del events, response_id, model, created
        raise _no_stream()


def _no_stream() -> PlatformFault:
    return PlatformFault(ErrorCode.INTERNAL_ERROR, "embeddings and classes are neither streamed nor made of events")


def _input_usage(counts: object) -> Usage | None:
    """Input tokens alone; some vendors state only a total, which is the same here. Source: Voyage AI's recordings."""
    if isinstance(counts, dict) and counts.get("prompt_tokens") is None and "total_tokens" in counts:
        counts = {**counts, "prompt_tokens": counts["total_tokens"]}
    usage = openai_usage(counts)
    if usage is None or not usage.total_output_tokens:
        return usage
    return msgspec.structs.replace(usage, output_tokens=0, reasoning_tokens=0, audio_output_tokens=0)


def require_input(tree: dict[str, Any]) -> None:
    """`input` has to be a text or a list that is not empty.

    Raises:
        CallerError: `invalid_request` for `input`.
    """
    given = tree.get("input")
    if type(given) is not str and (type(given) is not list or not given):
        raise refused("input", "is missing or is neither a text nor a list", _INPUT_HINT)


def read_inputs(tree: dict[str, Any]) -> tuple[Input, ...]:
    """The inputs of a request, for a runtime: every one a text that is not empty, or tokens.

    Raises:
        CallerError: `invalid_request` for `input` or one of its elements.
    """
    require_input(tree)
    given = tree["input"]
    if type(given) is str:
        return (_text("input", given),)
    if type(given[0]) is int:
        return (_tokens("input", given),)
    if len(given) > INPUTS_MAX:
        raise refused("input", f"has {len(given)} elements and may have {INPUTS_MAX}", "Send several requests.")
    return tuple(
        _text(f"input.{index}", item) if type(item) is str else _tokens(f"input.{index}", item)
        for index, item in enumerate(given)
    )


def _text(param: str, text: str) -> str:
    if not text:
        raise refused(param, "is an empty text", _INPUT_HINT)
    return text


def _tokens(param: str, tokens: object) -> tuple[int, ...]:
    if type(tokens) is float or (type(tokens) is list and any(type(token) in (float, list) for token in tokens)):
        raise refused(param, "is a tensor, and this model reads texts", _INPUT_HINT)
    if type(tokens) is not list or not tokens or not all(type(token) is int and token >= 0 for token in tokens):
        raise refused(param, "is neither a text nor a list of tokens", _INPUT_HINT)
    return tuple(tokens)


def input_usage(prompt_tokens: int) -> dict[str, int]:
    """The `usage` object of an answer that puts out no tokens."""
    return {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}


ENCODE: Final = msgspec.json.Encoder().encode
