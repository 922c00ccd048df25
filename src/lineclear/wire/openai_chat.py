"""The OpenAI chat completions dialect: what a request asks for, its closed list of patches, its errors.

In: request bodies, answers and streams of OpenAI and its many relatives. Out: see `codec`. Must not: know
providers. Source: OpenAI API reference, chat completions; research/protocols.md §2, §3.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from lineclear.domain.exchange import Event, RequestView
from lineclear.wire import codec
from lineclear.wire.openai_dialect import OpenAIDialect, wants_usage, with_usage
from lineclear.wire.openai_events import ChatStreamReader, read_chat_answer
from lineclear.wire.openai_writer import ChatStreamWriter, write_chat_answer
from lineclear.wire.request_fields import (
    CHOICES_MAX,
    OUTPUT_TOKENS_MAX,
    is_stream,
    model_of,
    refused,
    require_messages,
    whole_number,
)
from lineclear.wire.splice import elements, encoded, fill, join, join_elements, top_level

CAP_FIELD = "max_completion_tokens"
LEGACY_CAP_FIELD = "max_tokens"
SYSTEM_ROLES = frozenset({"system", "developer"})

_CAP = (CAP_FIELD,)
_LEGACY_CAP = (LEGACY_CAP_FIELD,)
_BOTH_CAPS = (CAP_FIELD, LEGACY_CAP_FIELD)


class OpenAIChat(OpenAIDialect):
    """Codec of POST /v1/chat/completions."""

    def view(self, tree: dict[str, Any], body_bytes: int) -> RequestView:
        """See `codec.Codec.view`."""
        model = model_of(tree)
        require_messages(tree)
        cap = whole_number(tree, CAP_FIELD, OUTPUT_TOKENS_MAX)
        legacy_cap = whole_number(tree, LEGACY_CAP_FIELD, OUTPUT_TOKENS_MAX)
        choices = whole_number(tree, "n", CHOICES_MAX)
        if choices == 0:
            raise refused("n", f"has to be a whole number from 1 to {CHOICES_MAX}", "Leave n out for one answer.")
        return RequestView(
            model=model,
            stream=is_stream(tree),
            max_output_tokens=cap if cap is not None else legacy_cap,
            wants_stream_usage=wants_usage(tree),
            choices=choices or 1,
            prompt_bytes=body_bytes,
        )

    def patch(self, body: bytes, tree: dict[str, Any], patch: codec.Patch) -> bytes:
        """Patched: `model`, `stream_options.include_usage`, the output cap, system messages, parameters, tools."""
        values: dict[str, bytes | msgspec.Raw] = dict(top_level(body))
        values["model"] = encoded(patch.upstream_model)
        if patch.include_usage:
            values["stream_options"] = with_usage(tree, values.get("stream_options"))
        fill(values, tree, patch.defaults)
        if patch.tools is not None:
            _put_tools(values, tree, patch.tools, is_replacing=patch.tools_replace)
        if patch.output_cap is not None:
            for name in _cap_fields(tree):
                values[name] = encoded(patch.output_cap)
        if patch.prompt_text is not None:
            values["messages"] = _with_prompt(tree, values["messages"], patch.prompt_text, patch.prompt_mode)
        return join(values)

    def stream_reader(self) -> codec.StreamReader:
        return ChatStreamReader()

    def read_whole(self, body: bytes) -> tuple[Event, ...]:
        """See `codec.Codec.read_whole`."""
        return read_chat_answer(body)

    def stream_writer(self, response_id: str, model: str, created: int) -> codec.StreamWriter:
        return ChatStreamWriter(response_id, model, created)

    def write_whole(self, events: Iterable[Event], response_id: str, model: str, created: int) -> bytes:
        """See `codec.Codec.write_whole`."""
        return write_chat_answer(events, response_id, model, created)


def _put_tools(
    values: dict[str, bytes | msgspec.Raw], tree: dict[str, Any], tools: msgspec.Raw, *, is_replacing: bool
) -> None:
    """The release's tools; `functions` and `function_call` are the older names of the same."""
    if is_replacing:
        values.pop("functions", None)
        values.pop("function_call", None)
        values["tools"] = tools
        if not _is_about(tree.get("tool_choice"), tools):
            values.pop("tool_choice", None)
    elif tree.get("tools") is None and tree.get("functions") is None:
        values["tools"] = tools


def _is_about(choice: object, tools: msgspec.Raw) -> bool:
    """Whether a `tool_choice` can stand beside these tools: it names none, or none but them."""
    if not isinstance(choice, dict):
        return True
    allowed = choice.get("allowed_tools")
    listed = allowed.get("tools") if isinstance(allowed, dict) else None
    named = listed if isinstance(listed, list) else [choice]
    ours = msgspec.json.decode(tools)
    kinds = [(tool["type"], tool["function"]["name"]) for tool in ours]
    return all(_named(one) in kinds for one in named)


def _named(choice: object) -> tuple[object, object]:
    """Type and name of the tool that a choice is about."""
    if not isinstance(choice, dict):
        return None, None
    function = choice.get("function")
    return choice.get("type"), function.get("name") if isinstance(function, dict) else None


def _cap_fields(tree: dict[str, Any]) -> tuple[str, ...]:
    """The fields that carry the caller's cap; the one to add if there is none.

    That is the older name: every relative of OpenAI obeys or refuses it, while the newer one is ignored in
    silence by some, which would unbind a budget.
    """
    if tree.get(CAP_FIELD) is None:
        return _LEGACY_CAP
    return _CAP if tree.get(LEGACY_CAP_FIELD) is None else _BOTH_CAPS


def _with_prompt(tree: dict[str, Any], messages: bytes | msgspec.Raw, text: str, mode: str) -> bytes:
    """The prompt as a first system message; `replace` leaves out every system message of the caller."""
    parts = elements(messages)
    if mode == codec.REPLACE:
        roles = [message.get("role") for message in tree["messages"]]
        parts = [part for part, role in zip(parts, roles, strict=True) if role not in SYSTEM_ROLES]
    ours = msgspec.Raw(b'{"role":"system","content":' + bytes(encoded(text)) + b"}")
    return join_elements([ours, *parts])


OPENAI_CHAT: Final[codec.Codec] = OpenAIChat()
