"""YAML text as plain values with the position of every key and value.

In: text. Out: one `Tree` per document, and every mistake of the text. Only what JSON can say comes out: dates, octals
and yes/no stay text. Duplicate keys, merge keys, own tags and endless aliases are refused; what follows a mistake is
read on, after a broken document from the next `---`. Must not know any kind.
"""

import math
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

# YAML 1.2 core schema, https://yaml.org/spec/1.2.2/#1032-tag-resolution, without octal, hex, inf, nan and without
# leading zeros, which YAML 1.1 reads as octal and YAML 1.2 as decimal: such a number stays text.
_NULL = re.compile(r"(?:|~|null|Null|NULL)")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


@dataclass(frozen=True)
class Position:
    """Where something stands; both from 1."""

    line: int
    column: int


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


@dataclass(frozen=True)
class Trees:
    """What one text holds."""

    trees: tuple[Tree, ...]
    """The documents in order; empty ones are left out."""
    findings: tuple[Finding, ...]
    """Mistakes of the text itself. A document with one stands in `trees` as far as it could be read."""


def read_trees(file: str, text: str) -> Trees:
    """The documents of a YAML text and everything that is wrong with the text."""
    text = text.removeprefix("\ufeff")
    if len(text) > TEXT_BYTES_MAX:
        return Trees((), (Finding("too_large", f"the file is longer than {TEXT_BYTES_MAX} bytes", file, 1, 1),))
    unprintable = _UNPRINTABLE.search(text)
    if unprintable is not None:
        line, column = _place(text, unprintable.start())
        message = f"the character {unprintable.group()!a} cannot stand in YAML; write it as an escape in double quotes"
        return Trees((), (Finding("syntax", message, file, line, column),))
    whole = _TreeReader(file)
    try:
        trees = tuple(whole.trees(text, 0))
    except _BrokenText as broken:
        if broken.finding.code == "too_large":
            return Trees((), (broken.finding,))
        return _read_apart(file, text)
    return Trees(trees, tuple(whole.findings))


def _read_apart(file: str, text: str) -> Trees:
    """Document by document, so that a broken one hides nothing of the others."""
    # A marker in the first column ends a document even inside a quoted text or a block,
    # https://yaml.org/spec/1.2.2/#914-explicit-documents (c-forbidden).
    starts = sorted({0, *(match.start() for match in _DOCUMENT_START.finditer(text))})
    reader = _TreeReader(file)
    trees: list[Tree] = []
    line = 0
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        part = text[start:end]
        try:
            trees += reader.trees(part, line)
        except _BrokenText as broken:
            reader.findings.append(broken.finding)
        line += part.count("\n")
    return Trees(tuple(trees), tuple(reader.findings))


class _BrokenText(Exception):
    """The rest of this text cannot be read; carries the finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


class _TreeReader:
    def __init__(self, file: str) -> None:
        self.findings: list[Finding] = []
        self._file = file
        self._nodes = 0
        self._line = 0

    def trees(self, text: str, line: int) -> Iterator[Tree]:
        """The documents of `text`, which stands `line` lines below the file's beginning.

        Raises:
            _BrokenText: at the first place that cannot be read.
        """
        self._line = line
        try:
            for node in yaml.compose_all(text, Loader=yaml.CSafeLoader):
                if node is not None:
                    tree = self._tree(node)
                    if tree.value is not None:
                        yield tree
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            at = Position(mark.line + 1 + line, mark.column + 1) if mark else Position(line + 1, 1)
            raise self._broken("syntax", _syntax_words(error), at) from error
        except (yaml.YAMLError, RecursionError) as error:
            raise self._broken("syntax", f"not YAML: {error}", Position(line + 1, 1)) from error

    def _tree(self, node: yaml.Node) -> Tree:
        values: dict[PlainPath, Position] = {}
        keys: dict[PlainPath, Position] = {}
        return Tree(self._value(node, (), values, keys), values, keys)

    def _value(
        self, node: yaml.Node, path: PlainPath, values: dict[PlainPath, Position], keys: dict[PlainPath, Position]
    ) -> Any:
        self._nodes += 1
        if self._nodes > NODES_MAX or len(path) > DEPTH_MAX:
            message = f"more than {NODES_MAX} values or {DEPTH_MAX} levels"
            raise self._broken("too_large", message, self._position(node))
        values[path] = self._position(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, values, keys)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, at), values, keys) for at, item in enumerate(node.value)]
        return self._scalar(node) if isinstance(node, yaml.ScalarNode) else None

    def _mapping(
        self,
        node: yaml.MappingNode,
        path: PlainPath,
        values: dict[PlainPath, Position],
        keys: dict[PlainPath, Position],
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            problem = self._key_problem(key_node, result)
            if problem is not None:
                self._find(*problem, key_node)
                self._value(value_node, path, {}, {})
                continue
            key = key_node.value
            keys[(*path, key)] = self._position(key_node)
            result[key] = self._value(value_node, (*path, key), values, keys)
        return result

    def _key_problem(self, key_node: yaml.Node, known: Mapping[str, Any]) -> tuple[str, str] | None:
        if not isinstance(key_node, yaml.ScalarNode):
            return "syntax", "a key must be a plain text"
        if key_node.value == "<<" and key_node.style not in _QUOTED:
            return "syntax", "merge keys (<<) are not read; write the fields out"
        return ("duplicate", f"{key_node.value!r} stands twice here") if key_node.value in known else None

    def _scalar(self, node: yaml.ScalarNode) -> bool | int | float | str | None:
        text: str = node.value
        if node.style in _QUOTED and node.tag in _TEXT_TAGS:
            return text
        if node.tag not in _PLAIN_TAGS:
            self._find("syntax", f"the tag {node.tag} is not read; write the value without it", node)
            return text
        return _plain_value(text)

    def _position(self, node: yaml.Node) -> Position:
        return Position(node.start_mark.line + 1 + self._line, node.start_mark.column + 1)

    def _find(self, code: str, message: str, node: yaml.Node) -> None:
        at = self._position(node)
        self.findings.append(Finding(code, message, self._file, at.line, at.column))

    def _broken(self, code: str, message: str, at: Position) -> _BrokenText:
        return _BrokenText(Finding(code, message, self._file, at.line, at.column))


def _plain_value(text: str) -> bool | int | float | str | None:
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text) if len(text) <= _INT_CHARS_MAX else text
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def _syntax_words(error: yaml.MarkedYAMLError) -> str:
    words = ", ".join(part for part in (error.problem, error.context) if part)
    return f"not YAML: {words}" + next((also for part, also in _SYNTAX_HINTS.items() if part in words), "")


def _place(text: str, at: int) -> tuple[int, int]:
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


_INT_CHARS_MAX = 18
_UNPRINTABLE = yaml.reader.Reader.NON_PRINTABLE
_DOCUMENT_START = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_SYNTAX_HINTS = {
    "cannot start any token": "; indent with spaces, and put a text that begins so in quotes",
    "undefined alias": "; an anchor holds for its own document only",
    "mapping values are not allowed": "; a text with a colon needs quotes",
    "did not find expected ',' or": "; inside { } and [ ] a text such as ${VARIABLE} needs quotes",
    "did not find expected key": "; look at the indentation, and at quotes and brackets above",
}
_QUOTED = ("'", '"', "|", ">")
_TEXT_TAGS = frozenset({"tag:yaml.org,2002:str", "!"})
_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "value")
)


def _nearest(positions: Mapping[PlainPath, Position], path: PlainPath) -> Position:
    for length in range(len(path), -1, -1):
        found = positions.get(path[:length])
        if found is not None:
            return found
    return Position(0, 0)
