"""YAML text as plain values with the position of every key and value.

In: text. Out: one `Tree` per document. Only what JSON can say comes out: dates, octals and yes/no stay text.
Duplicate keys, merge keys, own tags and endless aliases are refused. Must not know any kind.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from lineclear.domain.findings import Finding

TEXT_BYTES_MAX = 4 * 1024 * 1024
NODES_MAX = 200_000
"""Values in one file, each use of an alias counted again."""
DEPTH_MAX = 32

PlainPath: TypeAlias = tuple[str | int, ...]

# YAML 1.2 core schema, https://yaml.org/spec/1.2.2/#1032-tag-resolution, without octal, hex, inf and nan.
_NULL = re.compile(r"(?:|~|null|Null|NULL)")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


@dataclass(frozen=True)
class Position:
    """Where something stands; both from 1."""

    line: int
    column: int


class UnreadableText(Exception):
    """The text is not a manifest file's YAML; carries the finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


@dataclass(frozen=True)
class Tree:
    """One document."""

    value: Any  # Any: a JSON value, not checked yet
    values: Mapping[PlainPath, Position] = field(default_factory=dict)
    """Where each value stands, by path from the document's root `()`."""
    keys: Mapping[PlainPath, Position] = field(default_factory=dict)
    """Where each mapping key stands, by the path of its value."""

    def value_position(self, path: PlainPath) -> Position:
        """Of the value at `path`, or of the nearest thing around it."""
        return _nearest(self.values, path)

    def key_position(self, path: PlainPath) -> Position:
        """Of the key at `path`, or of the nearest value around it."""
        return self.keys.get(path) or _nearest(self.values, path)


def read_trees(file: str, text: str) -> Iterator[Tree]:
    """The documents of a YAML text in order; empty ones are left out.

    Raises:
        UnreadableText: at the first place that cannot be read.
    """
    if len(text) > TEXT_BYTES_MAX:
        raise UnreadableText(Finding("too_large", f"the file is longer than {TEXT_BYTES_MAX} bytes", file, 1, 1))
    reader = _TreeReader(file)
    try:
        for node in yaml.compose_all(text, Loader=yaml.CSafeLoader):
            if node is not None:
                tree = reader.tree(node)
                if tree.value is not None:
                    yield tree
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        words = ", ".join(part for part in (error.problem, error.context) if part)
        raise UnreadableText(Finding("syntax", f"not YAML: {words}", file, line, column)) from error
    except yaml.YAMLError as error:
        raise UnreadableText(Finding("syntax", f"not YAML: {error}", file, 1, 1)) from error


class _TreeReader:
    def __init__(self, file: str) -> None:
        self._file = file
        self._nodes = 0

    def tree(self, node: yaml.Node) -> Tree:
        values: dict[PlainPath, Position] = {}
        keys: dict[PlainPath, Position] = {}
        return Tree(self._value(node, (), values, keys), values, keys)

    def _value(
        self, node: yaml.Node, path: PlainPath, values: dict[PlainPath, Position], keys: dict[PlainPath, Position]
    ) -> Any:
        self._nodes += 1
        if self._nodes > NODES_MAX or len(path) > DEPTH_MAX:
            raise self._refusal(node, "too_large", f"more than {NODES_MAX} values or {DEPTH_MAX} levels")
        values[path] = Position(node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, values, keys)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, at), values, keys) for at, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        raise self._refusal(node, "syntax", "neither a mapping, a list nor a text")

    def _mapping(
        self,
        node: yaml.MappingNode,
        path: PlainPath,
        values: dict[PlainPath, Position],
        keys: dict[PlainPath, Position],
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._refusal(key_node, "syntax", "a key must be a plain text")
            key = key_node.value
            if key == "<<" and key_node.style not in _QUOTED:
                raise self._refusal(key_node, "syntax", "merge keys (<<) are not read; write the fields out")
            if key in result:
                raise self._refusal(key_node, "duplicate", f"{key!r} stands twice here")
            keys[(*path, key)] = Position(key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            result[key] = self._value(value_node, (*path, key), values, keys)
        return result

    def _scalar(self, node: yaml.ScalarNode) -> bool | int | float | str | None:
        text: str = node.value
        if node.style in _QUOTED:
            return text
        if node.tag not in _PLAIN_TAGS:
            raise self._refusal(node, "syntax", f"the tag {node.tag} is not read")
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text.lower() == "true"
        if _INT.fullmatch(text) and len(text) <= _INT_CHARS_MAX:
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        return text

    def _refusal(self, node: yaml.Node, code: str, message: str) -> UnreadableText:
        mark = node.start_mark
        return UnreadableText(Finding(code, message, self._file, mark.line + 1, mark.column + 1))


_INT_CHARS_MAX = 18
_QUOTED = ("'", '"', "|", ">")
_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "value")
)


def _nearest(positions: Mapping[PlainPath, Position], path: PlainPath) -> Position:
    for length in range(len(path), -1, -1):
        found = positions.get(path[:length])
        if found is not None:
            return found
    return Position(0, 0)
