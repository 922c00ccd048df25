"""Nouns as the text of a manifest file: what `lineclear export` writes and `lineclear apply` reads back unchanged.

In: nouns. Out: values and YAML without defaults. Comments of an earlier file are not known here; secrets never stand
in a noun.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

import yaml

from lineclear.config.manifest_fields import file_name
from lineclear.domain.manifest import Manifest, kind_of

WIDTH_CHARS = 120


def manifest_values(manifest: Manifest) -> dict[str, Any]:
    """The document of a noun, `kind` first; fields that hold their default are left out."""
    return {"kind": kind_of(manifest).value, **_fields(manifest)}


def manifest_text(manifests: Iterable[Manifest]) -> str:
    """One document per noun, divided by `---`."""
    return "---\n".join(values_text(manifest_values(manifest)) for manifest in manifests)


def values_text(values: Mapping[str, Any]) -> str:
    """One document of plain values as YAML."""
    return str(yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH_CHARS))


def _fields(noun: Any) -> dict[str, Any]:
    fields = dataclasses.fields(noun)
    given = {field.name: getattr(noun, field.name) for field in fields if getattr(noun, field.name) != _default(field)}
    return {file_name(name): _plain(value) for name, value in given.items()}


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return _fields(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


class _Dumper(yaml.SafeDumper):
    """Writes a value twice instead of an anchor, and a text of several lines as a block."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # the base class's signature
        return True


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text and text.strip() == text.rstrip("\n") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text_node)
