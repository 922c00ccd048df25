"""The fields of one document: what is unknown, missing or of the wrong type, and the noun that the rest makes.

In: a document's values. Out: a noun, and every mistake of its fields. Where a mistake stands, the noun holds a
placeholder of the right type, so that rules and references can still be asked about everything else.
"""

import copy
import dataclasses
import difflib
import json
import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lineclear.config.yaml_tree import PlainPath
from lineclear.domain.manifest import KIND_CLASSES, Kind, Manifest, Noun

FUTURE_FIELDS: Mapping[str, frozenset[str]] = {
    "Route": frozenset({"contract"}),
    "RouteEnvironment": frozenset({"cache", "review", "hedge"}),
}
"""Fields the design names whose effect is not built; they are refused as such and not as spelling mistakes."""

MENDS_MAX = 40
"""Rounds of mending; a document that is still wrong then is not asked further."""

_FILE_NAMES = {"class_": "class", "class__": "class_", "from_": "from", "from__": "from_"}
_FIELD_NAMES = {file: ours for ours, file in _FILE_NAMES.items()}
"""Words of the language that files use as names of fields; the escaped form is no field of the file."""
_DEPENDENT: Mapping[str, tuple[str, ...]] = {
    "engine": ("artifact", "sha256", "settings", "replicas", "upstream_id", "provider"),
    "provider": ("engine", "upstream_id", "artifact", "sha256", "settings", "replicas"),
    "private_network": ("base_url",),
    "name": ("class",),
    "approvals": ("approver_roles", "approver_teams"),
}
"""Fields whose rules rest on another one: where that is wrong, nothing can be said about them."""


@dataclass(frozen=True)
class FieldMistake:
    """One mistake of a document's fields."""

    path: PlainPath
    code: str
    message: str
    is_about_key: bool = False
    """Whether the field itself is wrong and not its value."""


@dataclass(frozen=True)
class CheckedFields:
    """What a document's fields make."""

    noun: Manifest | None
    """None if too much is wrong to make one."""
    mistakes: tuple[FieldMistake, ...]
    muted: frozenset[PlainPath]
    """Places where the noun holds a placeholder, or whose rules rest on one."""


def check_fields(kind: Kind, values: Mapping[str, Any], spare_name: str) -> CheckedFields:
    """The noun that `values` make, with every mistake.

    Args:
        kind: the document's kind.
        values: the document without `kind`; keys as files write them.
        spare_name: what the noun is called if its own name is missing or no text.
    """
    fields = _field_names(kind, values)
    mistakes: dict[tuple[PlainPath, str], FieldMistake] = {}
    muted: set[PlainPath] = set()
    for _ in range(MENDS_MAX):
        try:
            noun: Manifest = _adapter(kind).validate_json(json.dumps(fields))
        except ValidationError as error:
            for mistake, path in _mistakes(kind, error, fields, values):
                _tell(mistakes, mistake, muted)
                _mend(kind, fields, path, mistake, spare_name)
                if not mistake.is_about_key:
                    muted.add(mistake.path)
        else:
            return CheckedFields(noun, tuple(mistakes.values()), frozenset(muted | set(_dependents(muted))))
    return CheckedFields(None, tuple(mistakes.values()), frozenset(muted))


def is_muted(path: PlainPath, muted: Collection[PlainPath]) -> bool:
    """Whether `path` lies at or under a muted place."""
    return any(path[:length] in muted for length in range(1, len(path) + 1))


def near_words(name: str, known: Collection[str]) -> str:
    """`did you mean …?` if something like `name` is known, else nothing."""
    longer = [item for item in known if name and item.startswith(name)]
    close = difflib.get_close_matches(name, known, n=1) or longer
    return f"did you mean `{close[0]}`?" if close else ""


def file_name(name: str) -> str:
    """A field's name as files write it."""
    return _FILE_NAMES.get(name, name)


@cache
def _adapter(kind: Kind) -> TypeAdapter[Any]:
    return TypeAdapter(KIND_CLASSES[kind])


def _field_names(kind: Kind, values: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the names that our classes have for its fields; only Environment has other ones."""
    fields: dict[str, Any] = copy.deepcopy(dict(values))
    if kind is not Kind.ENVIRONMENT:
        return fields
    windows = fields.get("freeze")
    if isinstance(windows, list):
        fields["freeze"] = [_renamed(item) if isinstance(item, dict) else item for item in windows]
    return _renamed(fields)


def _renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {_FIELD_NAMES.get(name, name): value for name, value in fields.items()}


def _mistakes(kind: Kind, error: ValidationError, fields: Any, values: Any) -> Iterator[tuple[FieldMistake, PlainPath]]:
    """Each mistake with its path as files write it, and the path to mend."""
    told: dict[PlainPath, tuple[list[FieldMistake], PlainPath]] = {}
    for item in error.errors(include_url=False, include_context=True, include_input=False):
        found, missing = _known_path(fields, item["loc"])
        path = tuple(file_name(part) if isinstance(part, str) else part for part in found)
        if item["type"] == "unexpected_keyword_argument":
            mistake = _unknown_field(kind, path)
        elif item["type"] in ("missing", "missing_argument"):
            found, path = (*found, missing), (*path, file_name(missing))
            mistake = FieldMistake(path, "missing_field", f"`{path[-1]}` is missing")
        elif (kind, path) == (Kind.PROVIDER, ("credential",)) and isinstance(values.get("credential"), list):
            message = "a list of credentials is not yet supported; name one, or one per environment"
            mistake = FieldMistake(path, "not_yet_supported", message)
        else:
            mistake = FieldMistake(path, "invalid_value", _value_words(item, path, _value_at(fields, found)))
        told.setdefault(path, ([], found))[0].append(mistake)
    for path, (mistakes, found) in told.items():
        first = mistakes[0]
        words = first.message
        if len(mistakes) > 1:
            # One for each alternative; advice about a single one would not fit.
            words = " or ".join(dict.fromkeys(mistake.message.partition("; ")[0] for mistake in mistakes))
        yield FieldMistake(path, first.code, words, first.is_about_key), found


def _tell(told: dict[tuple[PlainPath, str], FieldMistake], mistake: FieldMistake, muted: set[PlainPath]) -> None:
    # What mending itself brought about, such as a field missing in a placeholder, is nobody's mistake.
    if not is_muted(mistake.path, muted):
        told.setdefault((mistake.path, mistake.code), mistake)


def _known_path(value: Any, location: tuple[str | int, ...]) -> tuple[PlainPath, str]:
    """The part of a location that stands in the document, and the first name that does not.

    Locations of unions also hold the name of the alternative, which is nowhere in the document.
    """
    path: list[str | int] = []
    for part in location:
        in_mapping = isinstance(value, dict) and part in value
        in_list = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if not (in_mapping or in_list):
            return tuple(path), str(part)
        value = value[part]
        path.append(part)
    return tuple(path), ""


def _value_at(value: Any, path: PlainPath) -> Any:
    for part in path:
        value = value[part]
    return value


def _mend(kind: Kind, fields: Any, path: PlainPath, mistake: FieldMistake, spare_name: str) -> None:
    if not path:
        return
    holder, last = _value_at(fields, path[:-1]), path[-1]
    if mistake.is_about_key:
        holder.pop(last, None)
    else:
        holder[last] = spare_name if path == ("name",) else _placeholder(_type_at(KIND_CLASSES[kind], path))


def _placeholder(kind: Any) -> Any:
    """A JSON value of the type; what it lacks itself is mended in the next round."""
    if isinstance(kind, types.UnionType):
        kind = typing.get_args(kind)[0]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind)).value
    plain = {str: "", bool: False, int: 1, float: 1.0, tuple: []}
    return plain.get(typing.get_origin(kind) or kind, {})


def _dependents(muted: Collection[PlainPath]) -> Iterator[PlainPath]:
    for path in muted:
        for name in _DEPENDENT.get(str(path[-1]), ()) if path else ():
            yield (*path[:-1], name)


def _unknown_field(kind: Kind, path: PlainPath) -> FieldMistake:
    name = str(path[-1])
    noun = _noun_of(_type_at(KIND_CLASSES[kind], path[:-1]))
    if noun is not None and name in FUTURE_FIELDS.get(noun.__name__, ()):
        return FieldMistake(path, "not_yet_supported", f"`{name}` is not yet supported", is_about_key=True)
    known = [file_name(item.name) for item in dataclasses.fields(noun)] if noun is not None else []
    words = f"`{name}` is not a field here; {near_words(name, known) or 'fields: ' + ', '.join(known)}"
    return FieldMistake(path, "unknown_field", words, is_about_key=True)


def _type_at(kind: Any, path: PlainPath) -> Any:
    """The type expression of the field at `path`."""
    for part in path:
        noun = _noun_of(kind)
        if noun is not None:
            hints = typing.get_type_hints(noun)
            kind = hints.get(str(part)) or hints.get(_FIELD_NAMES.get(str(part), ""))
        else:
            kind = _element(kind, part)
    return kind


def _element(kind: Any, part: str | int) -> Any:
    arms = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    wanted = tuple if isinstance(part, int) else dict
    holder = next((arm for arm in arms if typing.get_origin(arm) is wanted), None)
    return typing.get_args(holder)[0 if wanted is tuple else 1] if holder is not None else None


def _noun_of(kind: Any) -> Any:
    """The dataclass that a type expression is or may be, None if there is none."""
    if isinstance(kind, types.UnionType):
        kind = next((arm for arm in typing.get_args(kind) if arm is not type(None)), None)
    return kind if isinstance(kind, type) and issubclass(kind, Noun) else None


_PLAIN_WORDS = (
    ("Input should be", "must be"),
    ("a valid string", "text"),
    ("a valid array", "a list"),
    ("a valid tuple", "a list"),
    ("a valid integer", "an integer"),
    ("a valid dictionary", "a mapping"),
    ("an object", "a mapping"),
    ("a valid ", "a "),
)
_TRUTH_WORDS = {"yes": True, "on": True, "y": True, "no": False, "off": False, "n": False}
_ODD_NUMBER = re.compile(r"[-+]?(?:0[0-9]+|0[xob][0-9A-Fa-f]+|[0-9][0-9_,]*|\.inf|\.nan)", re.IGNORECASE)


def _value_words(item: Mapping[str, Any], path: PlainPath, value: Any) -> str:
    """Pydantic's words about a value as ours, with what to write instead where that is known."""
    message = str(item["msg"])
    for theirs, ours in _PLAIN_WORDS:
        message = message.replace(theirs, ours)
    return message + _advice(item, path, value)


def _advice(item: Mapping[str, Any], path: PlainPath, value: Any) -> str:
    type_ = item["type"]
    if type_ == "string_type" and value is not None and not isinstance(value, dict | list):
        is_money = path and str(path[-1]).endswith(("_mtok", "per_month", "per_request", "version"))
        return '; put it in quotes, e.g. "0.15"' if is_money else "; put it in quotes"
    if type_ == "bool_type" and isinstance(value, str) and value.lower() in _TRUTH_WORDS:
        return f"; write {'true' if _TRUTH_WORDS[value.lower()] else 'false'}, since {value!r} is a text here"
    if type_ in ("int_type", "float_type") and isinstance(value, str) and _ODD_NUMBER.fullmatch(value):
        return f"; {value!r} is a text here: write a decimal number of at most 18 digits, without a leading zero"
    if type_ == "enum" and isinstance(value, str):
        near = near_words(value, re.findall(r"'([^']+)'", str(item["ctx"]["expected"])))
        return f"; {near}" if near else ""
    return ""
