"""An answer of any operation as the text that answers are compared by. Pure.

Text is text; a tool call is one line with its name and canonical arguments; a class is its label; vectors are JSON.
"""

from typing import Any

import msgspec

from lineclear.base.canonical import canonical_json
from lineclear.domain.exchange import (
    Dialect,
    Event,
    Failed,
    Operation,
    RefusalDelta,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStarted,
)
from lineclear.wire.codecs import CODECS

_ITEMS = {Operation.EMBEDDINGS: "embedding", Operation.CLASSIFY: "label"}


def answer_text(operation: Operation, body: bytes) -> str:
    """The text of a whole answer.

    Raises:
        ValueError: the body is none.
    """
    try:
        if operation is Operation.COUNT_TOKENS:
            return str(_decoded(body)["input_tokens"])
        if operation in _ITEMS:
            items = [item[_ITEMS[operation]] for item in _decoded(body)["data"]]
            return "\n".join(item if isinstance(item, str) else msgspec.json.encode(item).decode() for item in items)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no answer to {operation.value}: {error!r}") from error
    codec = CODECS[operation]
    # The choices of one answer are answers of their own; Anthropic's blocks are pieces of one text.
    return ("\n" if codec.dialect is Dialect.OPENAI else "").join(_blocks(codec.read_whole(body)))


def error_of(body: bytes) -> tuple[str, str]:
    """Code and message of an error's body, in either dialect; its beginning where it is none."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        value = None
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict):
        return "unreadable", body[:300].decode("utf-8", "replace")
    return str(error.get("code") or error.get("type") or "unknown"), str(error.get("message") or "")


def _blocks(events: tuple[Event, ...]) -> list[str]:
    texts: dict[int, str] = {}
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for event in events:
        match event:
            case TextDelta() | RefusalDelta():
                texts[event.block] = texts.get(event.block, "") + event.text
            case ToolCallStarted():
                names[event.block] = event.name
            case ToolArgumentsDelta():
                arguments[event.block] = arguments.get(event.block, "") + event.fragment
            case Failed():
                raise ValueError(f"the vendor failed inside its answer: {event.native_type}")
            case _:
                pass
    calls = [f"{name}({_canonical(arguments.get(block, ''))})" for block, name in names.items()]
    return [*texts.values(), *(f"\n{call}" if texts else call for call in calls)]


def _canonical(arguments: str) -> str:
    try:
        return canonical_json(msgspec.json.decode(arguments)).decode()
    except (msgspec.DecodeError, TypeError, RecursionError):
        return arguments


def _decoded(body: bytes) -> Any:  # Any: a JSON object
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - a value, not a type, that came from outside
    return value
