"""A JSON Schema that an answer has to meet, checked in bounded time.

In: a schema, then answers' texts. Out: what is wrong with an answer. Patterns run in a linear-time engine, nothing is
fetched, and the work of one check has a limit: what is too large to be checked does not pass.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import jsonschema_rs
import msgspec

SCHEMA_BYTES_MAX: Final = 64 * 1024
SCHEMA_NODES_MAX: Final = 2_000
"""Subschemas, counted once for each way that leads to them."""
WORK_MAX: Final = 1_000_000
"""Subschemas times values of an answer; a third of a second at the slowest."""
WORDS_CHARS_MAX: Final = 200


class SchemaMistake(ValueError):
    """The schema cannot be used; the message says why."""


class AnswerSchema:
    """One compiled schema."""

    __slots__ = ("_nodes", "_validator")

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Compile a JSON Schema of draft 2020-12, or of the draft that its `$schema` names.

        Raises:
            SchemaMistake: if it is no schema, is too large, is recursive or refers to another document.
        """
        try:
            size = len(msgspec.json.encode(schema))
        except (TypeError, ValueError, RecursionError) as error:
            raise SchemaMistake(f"is not JSON: {error}") from error
        if size > SCHEMA_BYTES_MAX:
            raise SchemaMistake(f"has {size} bytes; at most {SCHEMA_BYTES_MAX} are allowed")
        self._nodes = _count_nodes(schema)
        try:
            self._validator = jsonschema_rs.validator_for(
                dict(schema), pattern_options=jsonschema_rs.RegexOptions(), offline=True
            )
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            raise SchemaMistake(str(error).partition("\n")[0][:WORDS_CHARS_MAX]) from error

    def mistake(self, text: str) -> str:
        """Where an answer breaks the schema, in words without its values; empty if it meets it."""
        if self._nodes * (text.count(",") + text.count(":") + 1) > WORK_MAX:
            return "it is too large to be checked"
        try:
            answer = msgspec.json.decode(text)
        except (ValueError, RecursionError):
            return "it is not JSON"
        # `iter_errors` would gather every error of a hopeless answer before it tells the first.
        try:
            self._validator.validate(answer)
        except jsonschema_rs.ValidationError as error:
            path = "/".join(str(part) for part in error.instance_path)
            keyword = str(error.schema_path[-1]) if error.schema_path else "false"
            return f"`{keyword}` is not met at /{path[:WORDS_CHARS_MAX]}"
        return ""


def pattern_schema(pattern: str) -> dict[str, Any]:
    """The schema of a text in which the pattern occurs; to be asked with the text as JSON."""
    return {"type": "string", "pattern": pattern}


def _count_nodes(schema: Mapping[str, Any]) -> int:
    """Subschemas with references followed.

    Raises:
        SchemaMistake: past the limit, at a reference that leads outside, nowhere or back to where it stands.
    """
    count = 0
    waiting: list[tuple[Any, frozenset[str]]] = [(schema, frozenset())]
    while waiting:
        value, passed = waiting.pop()
        count += isinstance(value, Mapping)
        if count > SCHEMA_NODES_MAX:
            raise SchemaMistake(f"has more than {SCHEMA_NODES_MAX} subschemas, references followed")
        waiting.extend((child, passed) for child in _children(value))
        for reference in _references(value):
            if reference in passed:
                raise SchemaMistake(f"refers to itself by {reference!r}; a check of it would have no bound")
            waiting.append((_resolve(schema, reference), passed | {reference}))
    return count


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for name, child in value.items():
            if name not in ("$defs", "definitions", "enum", "const", "default", "examples"):
                yield child
    elif isinstance(value, list | tuple):
        yield from value


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name in ("$ref", "$dynamicRef", "$recursiveRef"):
            reference = value.get(name)
            if isinstance(reference, str):
                if name != "$ref" or (reference != "#" and not reference.startswith("#/")):
                    raise SchemaMistake(f"`{name}: {reference}` is not supported; refer to `#/$defs/…` of the schema")
                yield reference


def _resolve(schema: Any, reference: str) -> Any:
    value = schema
    for part in reference[2:].split("/") if reference != "#" else ():
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list | tuple) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            raise SchemaMistake(f"`$ref: {reference}` leads nowhere")
    return value
