"""Canonical events: what an answer says, whatever dialect it is spoken in.

The walk reads content, usage, stop reason and errors only through these; codecs in `wire` produce and
encode them. A whole answer is the same sequence as its stream.
"""

from enum import StrEnum
from typing import TypeAlias

import msgspec

from lineclear.domain.money import Usage


class Dialect(StrEnum):
    """How a party speaks."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


class Operation(StrEnum):
    """What a data-port call asks for."""

    CHAT = "chat"
    """OpenAI chat completions."""
    MESSAGES = "messages"
    """Anthropic messages."""
    COUNT_TOKENS = "count_tokens"
    """Anthropic messages/count_tokens."""
    COMPLETIONS = "completions"
    """OpenAI's older text completions."""
    EMBEDDINGS = "embeddings"
    """OpenAI embeddings: text in, vectors out."""
    CLASSIFY = "classify"
    """Text in, a label and class probabilities out, as vLLM and SGLang spell it."""


OPERATION_DIALECT = {
    Operation.CHAT: Dialect.OPENAI,
    Operation.MESSAGES: Dialect.ANTHROPIC,
    Operation.COUNT_TOKENS: Dialect.ANTHROPIC,
    Operation.COMPLETIONS: Dialect.OPENAI,
    Operation.EMBEDDINGS: Dialect.OPENAI,
    Operation.CLASSIFY: Dialect.OPENAI,
}
"""The dialect each operation is spoken in."""

OPERATION_PATH = {
    Operation.CHAT: "/v1/chat/completions",
    Operation.MESSAGES: "/v1/messages",
    Operation.COUNT_TOKENS: "/v1/messages/count_tokens",
    Operation.COMPLETIONS: "/v1/completions",
    Operation.EMBEDDINGS: "/v1/embeddings",
    Operation.CLASSIFY: "/v1/classify",
}
"""Where each operation is asked for: the data port's path, and that of a runtime's socket."""


class StopReason(StrEnum):
    """Why generation ended. Source: research/protocols.md §3.1."""

    END = "end"
    STOP_SEQUENCE = "stop_sequence"
    LENGTH = "length"
    CONTEXT_FULL = "context_full"
    TOOL_USE = "tool_use"
    REFUSAL = "refusal"
    PAUSE = "pause"
    MODEL_ERROR = "model_error"
    UNKNOWN = "unknown"


class Started(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The answer has a name; no content yet. Not the commit point."""

    response_id: str
    model: str
    """The model the vendor says is answering (its echo)."""


class TextDelta(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A piece of visible text, never empty."""

    text: str
    block: int = 0
    """Which content block or choice it belongs to."""


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A piece of visible reasoning, never empty."""

    text: str
    block: int = 0


class RefusalDelta(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A piece of a spoken refusal, never empty."""

    text: str
    block: int = 0


class ToolCallStarted(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The model begins to call a tool."""

    block: int
    call_id: str
    name: str


class ToolArgumentsDelta(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A fragment of a tool call's argument JSON."""

    block: int
    fragment: str


class OpaqueContent(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Content of a kind we forward and do not read (audio, signatures, citations, server tools)."""

    payload_bytes: int


class UsageReported(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Cumulative usage so far; the last one wins, they never add up."""

    usage: Usage
    only: bool = False
    """True if the frame carries nothing else (OpenAI's final usage chunk, which we may have asked for)."""


class Finished(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The model stopped, for a reason."""

    reason: StopReason
    native: str
    """The vendor's own word, kept for `explain`."""


class Failed(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The vendor reported an error inside a 200 answer or stream."""

    message: str
    native_type: str


class Malformed(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A frame that is not what the grammar allows; it is dropped and counted."""

    reason: str


class Terminated(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The dialect's own end marker (`[DONE]`, `message_stop`). An end of file without it is a cut."""


Event: TypeAlias = (
    Started
    | TextDelta
    | ReasoningDelta
    | RefusalDelta
    | ToolCallStarted
    | ToolArgumentsDelta
    | OpaqueContent
    | UsageReported
    | Finished
    | Failed
    | Malformed
    | Terminated
)


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One item of a vendor's stream: its exact bytes, blank line included, and what they mean.

    `events` is empty for a preamble, a comment or a ping.
    """

    raw: bytes
    events: tuple[Event, ...]


class RequestView(msgspec.Struct, frozen=True, gc=False):
    """What the walk needs to know of a request's body; the values themselves travel byte for byte."""

    model: str
    """The wire field `model`: the route's public name."""
    stream: bool
    max_output_tokens: int | None
    """The caller's own cap; None if not given, 0 where the operation puts out no tokens."""
    wants_stream_usage: bool
    """OpenAI `stream_options.include_usage` is true."""
    choices: int
    """How many answers are asked for (`n`, times the prompts of a completion), at least 1."""
    prompt_bytes: int
    """UTF-8 bytes of the whole body: an upper bound on input tokens of byte-level tokenizers."""
