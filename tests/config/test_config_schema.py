"""The published JSON Schema is the one of this code, takes what is right and refuses wrong types."""

import copy
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from lineclear.cli.main import root
from lineclear.config.manifest import InvalidManifest, ManifestFile, parse_manifests
from lineclear.config.manifest_schema import manifest_schema
from lineclear.domain.manifest import KIND_CLASSES

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "docs" / "manifest.schema.json"
VALIDATOR = Draft202012Validator(manifest_schema())
SHA = "a" * 64
WRONG: tuple[Any, ...] = ([[]], {"?": 1}, 0.5, True)

GOOD: list[dict[str, Any]] = [
    {"kind": "Team", "name": "support", "time_zone": "Europe/Berlin", "budget": {"usd_per_month": "500"}},
    {"kind": "App", "name": "shop", "team": "support", "routes": ["*", "openai/gpt"], "limits": {"concurrency": 1}},
    {"kind": "App", "name": "plain", "team": "support", "budget": None},
    {
        "kind": "Provider", "name": "acme", "dialects": ["openai", "anthropic"], "base_url": "https://api.example.com",
        "credential": {"test": "${A}", "live": "${B}"},
    },
    {"kind": "Provider", "name": "box", "dialects": ["openai"], "base_url": "http://10.0.0.1", "private_network": True},
    {
        "kind": "Model", "name": "small", "owner": "support", "approved_uses": ["drafting"], "data_classes": ["public"],
        "versions": [
            {"version": "2026-08", "provider": "acme", "upstream_id": "s", "price": {"input_per_mtok": "0.15"}},
            {"version": "own", "engine": "gguf", "artifact": "./m.gguf", "sha256": SHA, "settings": {"threads": 2}},
        ],
    },
    {"kind": "Prompt", "name": "voice", "text": "Hello {{ shop }}.", "mode": "replace"},
    {"kind": "Environment", "name": "stage", "class": "test", "approvals": 0},
    {
        "kind": "Route", "name": "support-chat", "team": "support", "tasks": ["drafting"],
        "environments": {"live": {
            "targets": [{"model": "small@2026-08", "weight": 90}], "fallback": [{"model": "small@own"}],
            "timeouts": {"total_s": 1.5, "connect_s": 1}, "rollout": "immediate", "prompt": None,
        }},
    },
]  # fmt: skip


def examples() -> Iterator[Any]:
    """Every document of YAML in the README and the pages that has a kind of ours."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for block in re.findall(r"```yaml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
            for document in yaml.load_all(block, Loader=yaml.BaseLoader):
                if isinstance(document, dict) and document.get("kind") in set(KIND_CLASSES):
                    block = block.replace('"…"', f'"{SHA}"')
                    yield pytest.param(block, id=f"{path.name}-{document['kind']}-{document.get('name')}")
                    break


def fits(document: Any) -> bool:
    return bool(VALIDATOR.is_valid(document))


def test_the_committed_copy_is_what_the_command_prints() -> None:
    printed = CliRunner().invoke(root, ["schema"])
    assert printed.exit_code == 0
    hint = f"run: {Path(sys.executable).name} -m lineclear schema > docs/manifest.schema.json"
    assert COMMITTED.read_text(encoding="utf-8") == printed.stdout, hint
    assert json.loads(printed.stdout) == manifest_schema()


def test_it_is_a_schema_of_the_draft_it_names() -> None:
    Draft202012Validator.check_schema(manifest_schema())


@pytest.mark.parametrize("document", GOOD, ids=[f"{item['kind']}-{item['name']}" for item in GOOD])
def test_what_is_right_fits_and_is_read(document: dict[str, Any]) -> None:
    assert list(VALIDATOR.iter_errors(document)) == []
    parse_manifests([ManifestFile("good.yaml", yaml.safe_dump(document), "/srv")]).checked()


@pytest.mark.parametrize("block", list(examples()))
def test_examples_of_the_pages_fit(block: str) -> None:
    for document in parse_manifests([ManifestFile("example.yaml", block, "/srv")]).checked():
        assert list(VALIDATOR.iter_errors(document.tree.value)) == []


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place inside a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield (*path, name)
        yield from paths_of(item, (*path, name))


def test_a_wrong_type_anywhere_fits_neither_schema_nor_reader() -> None:
    checked = 0
    for document in GOOD:
        for path in paths_of(document):
            for wrong in WRONG:
                made = copy.deepcopy(document)
                holder = made
                for part in path[:-1]:
                    holder = holder[part]  # type: ignore[index]  # paths_of walked the same way
                if type(holder[path[-1]]) is type(wrong) and not isinstance(wrong, dict | list):  # type: ignore[index]
                    continue
                if wrong == 0.5 and str(path[-1]).endswith("_s"):
                    continue
                holder[path[-1]] = wrong  # type: ignore[index]
                try:
                    parse_manifests([ManifestFile("wrong.yaml", yaml.safe_dump(made), "/srv")]).checked()
                except InvalidManifest:
                    assert not fits(made), (path, wrong)
                    checked += 1
                else:
                    assert fits(made), (path, wrong)
    assert checked > 200


@pytest.mark.parametrize("document", GOOD, ids=[f"{item['kind']}-{item['name']}" for item in GOOD])
def test_unknown_and_missing_fields_do_not_fit(document: dict[str, Any]) -> None:
    assert not fits({**document, "unknown": 1})
    assert not fits({name: value for name, value in document.items() if name != "name"})
    assert not fits({**document, "kind": "Elephant"})


def test_every_field_says_what_it_is_for_or_has_a_name_that_does() -> None:
    definitions = manifest_schema()["$defs"]
    assert definitions["App"]["properties"]["routes"]["description"].startswith("Route names it may call")
    assert all(definition["description"] for definition in definitions.values())
