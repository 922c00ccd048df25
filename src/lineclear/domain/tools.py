"""Tools of a release: what a model may call, as it is pinned, and the request field that says so in each operation.

In: definitions in neither dialect's words. Out: the JSON value of the request field `tools`. Pure.
Source: OpenAI API reference, chat completions, `tools`; Anthropic API reference, messages, `tools`.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec

from lineclear.domain.exchange import Operation

# Any, in this file: JSON Schema.


class ToolsMode(StrEnum):
    """What becomes of a release's tools."""

    DEFAULT = "default"
    """They are sent where the caller sends none."""
    REPLACE = "replace"
    """They are sent, whatever the caller sends."""
    CONFIG = "config"
    """The app fetches them with its configuration; no request gets them."""


WITH_TOOLS: Final = frozenset({Operation.CHAT, Operation.MESSAGES, Operation.COUNT_TOKENS})
"""Operations that have a place for tools."""


class ToolEntry(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """One tool."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}  # msgspec copies it for each struct
    """JSON Schema of its arguments; empty = it takes none."""


class ToolsEntry(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The tools of one release."""

    digest: str
    mode: ToolsMode
    definitions: tuple[ToolEntry, ...]

    @property
    def are_sent(self) -> bool:
        """Whether requests get them."""
        return self.mode is not ToolsMode.CONFIG


def tools_field(operation: Operation, definitions: Iterable[ToolEntry]) -> list[dict[str, Any]]:
    """The value of the request field `tools`, in the words of the operation's dialect."""
    return [_chat(tool) if operation is Operation.CHAT else _messages(tool) for tool in definitions]


def _chat(tool: ToolEntry) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": _schema(tool)}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _messages(tool: ToolEntry) -> dict[str, Any]:
    made: dict[str, Any] = {"name": tool.name, "input_schema": _schema(tool)}
    if tool.description:
        made["description"] = tool.description
    return made


def _schema(tool: ToolEntry) -> dict[str, Any]:
    return tool.parameters or {"type": "object", "properties": {}}
