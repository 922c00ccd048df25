"""What parameters, retrieval settings and tools of a route may hold beyond their types.

In: one component. Out: (path, code, message) per mistake, the path beginning at the route's environment. Pure.
"""

import math
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from lineclear.base.canonical import canonical_json
from lineclear.config.yaml_tree import PlainPath
from lineclear.domain.manifest import Parameters, Tool, Tools

Mistake: TypeAlias = tuple[PlainPath, str, str]

PARAMETER_RANGES = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "frequency_penalty": (-2.0, 2.0),
    "presence_penalty": (-2.0, 2.0),
}
"""Source: OpenAI API reference, chat completions. A vendor may allow less and then says so."""
STOP_MAX = 4
"""Source: OpenAI API reference, chat completions, `stop`."""
STOP_CHARS_MAX = 256
TOKENS_MAX = 2**31 - 1
WHOLE_MAX = 2**53 - 1
"""Whole numbers that every reader of JSON keeps exactly. Source: RFC 8785 §3.2.2.3."""
EFFORT = re.compile(r"[a-z]{1,16}")
SETTING_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
SETTINGS_MAX = 64
SETTING_CHARS_MAX = 4_096
TOOLS_MAX = 128
"""Source: OpenAI API reference, chat completions, `tools`."""
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Source: OpenAI and Anthropic API references; both allow this."""
TOOL_DESCRIPTION_CHARS_MAX = 4_096
TOOL_SCHEMA_BYTES_MAX = 32 * 1024


def check_parameters(parameters: Parameters) -> Iterator[Mistake]:
    """Every mistake of a route's parameters."""
    for name, (low, high) in PARAMETER_RANGES.items():
        value = getattr(parameters, name)
        if value is not None and not low <= value <= high:
            yield ("parameters", name), "invalid_value", f"must be from {low:g} to {high:g}"
    if parameters.max_tokens is not None and not 1 <= parameters.max_tokens <= TOKENS_MAX:
        yield ("parameters", "max_tokens"), "invalid_value", f"must be from 1 to {TOKENS_MAX}"
    if parameters.seed is not None and abs(parameters.seed) > WHOLE_MAX:
        yield ("parameters", "seed"), "invalid_value", f"must be from -{WHOLE_MAX} to {WHOLE_MAX}"
    if len(parameters.stop) > STOP_MAX:
        yield ("parameters", "stop"), "invalid_value", f"must have at most {STOP_MAX} texts"
    for at, text in enumerate(parameters.stop):
        if not 1 <= len(text) <= STOP_CHARS_MAX:
            yield ("parameters", "stop", at), "invalid_value", f"must have 1 to {STOP_CHARS_MAX} characters"
    effort = parameters.reasoning_effort
    if effort is not None and not EFFORT.fullmatch(effort):
        yield ("parameters", "reasoning_effort"), "invalid_value", "must be one lower-case word, such as low or high"


def check_retrieval(settings: dict[str, Any]) -> Iterator[Mistake]:
    """Every mistake of a route's retrieval settings: texts, numbers, true or false, and one level of groups of them."""
    yield from _settings(settings, ("retrieval",), may_nest=True)


def check_tools(tools: Tools) -> Iterator[Mistake]:
    """Every mistake of a route's tools."""
    root: PlainPath = ("tools", "definitions")
    if not tools.definitions:
        yield root, "invalid_value", "at least one definition is needed"
    if len(tools.definitions) > TOOLS_MAX:
        yield root, "too_large", f"more than {TOOLS_MAX} tools"
    seen: set[str] = set()
    for at, tool in enumerate(tools.definitions):
        if tool.name in seen:
            yield (*root, at, "name"), "duplicate", f"{tool.name!r} stands twice"
        seen.add(tool.name)
        for name, message in _tool(tool):
            yield (*root, at, name), "invalid_value", message


def _tool(tool: Tool) -> Iterator[tuple[str, str]]:
    if not TOOL_NAME.fullmatch(tool.name):
        yield "name", f"{tool.name!r} is no tool's name: letters, digits, _ and -, at most 64"
    if len(tool.description) > TOOL_DESCRIPTION_CHARS_MAX:
        yield "description", f"must have at most {TOOL_DESCRIPTION_CHARS_MAX} characters"
    if tool.parameters and tool.parameters.get("type") != "object":
        yield "parameters", "must be a JSON Schema with `type: object`: arguments have names"
    try:
        size = len(canonical_json(tool.parameters))
    except (AttributeError, ValueError, TypeError, RecursionError) as error:
        yield "parameters", f"is not JSON: {error}"
    else:
        if size > TOOL_SCHEMA_BYTES_MAX:
            yield "parameters", f"must have at most {TOOL_SCHEMA_BYTES_MAX} bytes"


def _settings(settings: dict[str, Any], path: PlainPath, *, may_nest: bool) -> Iterator[Mistake]:
    if len(settings) > SETTINGS_MAX:
        yield path, "invalid_value", f"must have at most {SETTINGS_MAX} settings"
    for name, value in settings.items():
        at = (*path, name)
        if not SETTING_NAME.fullmatch(name):
            yield at, "invalid_value", f"{name!r} is not the name of a setting: a letter, then letters, digits, . _ -"
        if isinstance(value, dict) and may_nest:
            yield from _settings(value, at, may_nest=False)
        elif flaw := _flaw(value, may_nest=may_nest):
            yield at, "invalid_value", flaw


def _flaw(value: Any, *, may_nest: bool) -> str:
    match value:
        case str():
            return "" if len(value) <= SETTING_CHARS_MAX else f"must have at most {SETTING_CHARS_MAX} characters"
        case bool():
            return ""
        case int():
            return "" if abs(value) <= WHOLE_MAX else f"must be from -{WHOLE_MAX} to {WHOLE_MAX}"
        case float() if math.isfinite(value):
            return ""
        case _:
            group = " or a group of these" if may_nest else ""
            return f"must be a text, a number, true or false{group}"
