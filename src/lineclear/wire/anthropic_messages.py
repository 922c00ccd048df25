"""The Anthropic messages dialect, count_tokens included: requests, the closed list of patches, errors.

In: request bodies, answers and streams. Out: see `codec`. Must not: know providers.
Source: Anthropic API reference, "Messages"; research/protocols.md §2, §3.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from lineclear.domain.errors import LineclearError
from lineclear.domain.exchange import Dialect, Event, RequestView
from lineclear.wire import codec
from lineclear.wire.anthropic_events import MessagesStreamReader, read_message_answer, read_token_count
from lineclear.wire.anthropic_writer import MessagesStreamWriter, write_message_answer, write_token_count
from lineclear.wire.native_errors import read_native_error
from lineclear.wire.problems import anthropic_error_body
from lineclear.wire.request_fields import (
    OUTPUT_TOKENS_MAX,
    is_stream,
    model_of,
    refused,
    require_messages,
    whole_number,
)
from lineclear.wire.splice import elements, encoded, fill, join, join_elements, top_level
from lineclear.wire.sse import event_frame

CAP_FIELD = "max_tokens"
SYSTEM_ROLE = "system"


class AnthropicMessages:
    """Codec of POST /v1/messages."""

    dialect: Final = Dialect.ANTHROPIC

    def view(self, tree: dict[str, Any], body_bytes: int) -> RequestView:
        """See `codec.Codec.view`. This dialect requires `max_tokens`."""
        view = _view(tree, body_bytes)
        if view.max_output_tokens is None:
            raise refused(CAP_FIELD, "is missing", "Send max_tokens, the most that the answer may have.")
        return view

    def patch(self, body: bytes, tree: dict[str, Any], patch: codec.Patch) -> bytes:
        """Patched: `model`, `max_tokens`, `system`, parameters, tools; streams of this dialect always carry usage."""
        values = _patched(body, tree, patch)
        fill(values, tree, patch.defaults)
        if patch.output_cap is not None:
            values[CAP_FIELD] = encoded(patch.output_cap)
        return join(values)

    def stream_reader(self) -> codec.StreamReader:
        return MessagesStreamReader()

    def read_whole(self, body: bytes) -> tuple[Event, ...]:
        """See `codec.Codec.read_whole`."""
        return read_message_answer(body)

    def stream_writer(self, response_id: str, model: str, created: int) -> codec.StreamWriter:
        return MessagesStreamWriter(response_id, model, created)

    def write_whole(self, events: Iterable[Event], response_id: str, model: str, created: int) -> bytes:
        """See `codec.Codec.write_whole`; this dialect does not say when."""
        del created
        return write_message_answer(events, response_id, model)

    def error_frame(self, error: LineclearError, request_id: str) -> bytes:
        """`event: error`, which the official SDK raises; no `message_stop` follows it."""
        return event_frame("error", anthropic_error_body(error, request_id))

    def cost_comment(self, cost_text: str, basis: str) -> bytes:
        return codec.cost_comment(cost_text, basis)

    def read_error(self, body: bytes) -> tuple[str, str]:
        """See `codec.Codec.read_error`."""
        return read_native_error(body)


class AnthropicCountTokens(AnthropicMessages):
    """Codec of POST /v1/messages/count_tokens: a question about a request, never a stream."""

    def view(self, tree: dict[str, Any], body_bytes: int) -> RequestView:
        """See `codec.Codec.view`; there is no output, so the cap is 0."""
        view = _view(tree, body_bytes)
        if view.stream:
            raise refused("stream", "cannot be true here", "A token count is answered whole; leave stream out.")
        return msgspec.structs.replace(view, max_output_tokens=0)

    def patch(self, body: bytes, tree: dict[str, Any], patch: codec.Patch) -> bytes:
        """Patched: `model`, `system` and tools; this operation has no output cap."""
        return join(_patched(body, tree, patch))

    def read_whole(self, body: bytes) -> tuple[Event, ...]:
        """No usage and `Terminated`: counting uses no tokens."""
        return read_token_count(body)

    def write_whole(self, events: Iterable[Event], response_id: str, model: str, created: int) -> bytes:
        """`{"input_tokens": n}`, n being the input that the events report."""
        del response_id, model, created
        return write_token_count(events)


def _view(tree: dict[str, Any], body_bytes: int) -> RequestView:
    model = model_of(tree)
    require_messages(tree)
    return RequestView(
        model=model,
        stream=is_stream(tree),
        max_output_tokens=whole_number(tree, CAP_FIELD, OUTPUT_TOKENS_MAX),
        wants_stream_usage=True,
        choices=1,
        prompt_bytes=body_bytes,
    )


def _patched(body: bytes, tree: dict[str, Any], patch: codec.Patch) -> dict[str, bytes | msgspec.Raw]:
    values: dict[str, bytes | msgspec.Raw] = dict(top_level(body))
    values["model"] = encoded(patch.upstream_model)
    if patch.tools is not None and (patch.tools_replace or tree.get("tools") is None):
        values["tools"] = patch.tools
        if patch.tools_replace and not _is_about(tree.get("tool_choice"), patch.tools):
            del values["tool_choice"]
    if patch.prompt_text is None:
        return values
    if patch.prompt_mode == codec.REPLACE:
        values["system"] = encoded(patch.prompt_text)
        roles = [message.get("role") for message in tree["messages"]]
        if SYSTEM_ROLE in roles:
            parts = zip(elements(values["messages"]), roles, strict=True)
            values["messages"] = join_elements([part for part, role in parts if role != SYSTEM_ROLE])
    else:
        values["system"] = _prepended(tree.get("system"), values.get("system"), patch.prompt_text)
    return values


def _is_about(choice: object, tools: msgspec.Raw) -> bool:
    """Whether a `tool_choice` can stand beside these tools: it names none, or one of them."""
    if not isinstance(choice, dict) or "name" not in choice:
        return True
    return choice["name"] in [tool["name"] for tool in msgspec.json.decode(tools)]


def _prepended(system: object, raw: bytes | msgspec.Raw | None, text: str) -> bytes | msgspec.Raw:
    """Our text before the caller's, whose blocks keep their bytes and cache marks."""
    if isinstance(system, list) and raw is not None:
        ours = msgspec.Raw(b'{"type":"text","text":' + bytes(encoded(text)) + b"}")
        return join_elements([ours, *elements(raw)])
    if isinstance(system, str) and system:
        return encoded(f"{text}\n\n{system}")
    return encoded(text)


ANTHROPIC_MESSAGES: Final[codec.Codec] = AnthropicMessages()
ANTHROPIC_COUNT_TOKENS: Final[codec.Codec] = AnthropicCountTokens()
