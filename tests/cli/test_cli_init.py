"""`lineclear init`: what it writes is valid, applies, and is never written over anything."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from lineclear.cli.init import MANIFEST, SCHEMA, manifest_text
from lineclear.cli.main import root
from lineclear.cli.output import ExitCode
from lineclear.providers.vendors import VENDORS

NO_KEYS: dict[str, str | None] = {vendor.variable: None for vendor in VENDORS.values() if vendor.variable}


def init(*words: str, **environment: str) -> Any:
    return CliRunner(env={**NO_KEYS, **environment}).invoke(root, ["init", *words])


def test_what_it_writes_is_valid_and_applies(terminal: Any, tmp_path: Path) -> None:
    done = init(str(tmp_path / "new" / "folder"))
    assert done.exit_code == 0, done.output
    path = tmp_path / "new" / "folder" / MANIFEST
    assert f"next: lineclear plan -f {path}" in done.stdout
    assert CliRunner().invoke(root, ["validate", "-f", str(path)]).exit_code == 0
    assert terminal.run("apply", "-f", str(path)).exit_code == 0
    assert "my-app" in terminal.run("apps", "list", "-q").stdout


def test_editors_find_the_schema_beside_it(tmp_path: Path) -> None:
    init(str(tmp_path))
    first = (tmp_path / MANIFEST).read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema=./{SCHEMA}"
    schema = json.loads((tmp_path / SCHEMA).read_text())
    for document in yaml.safe_load_all((tmp_path / MANIFEST).read_text()):
        jsonschema.validate(document, schema)


def test_keys_of_the_environment_become_providers_that_name_them(terminal: Any, tmp_path: Path) -> None:
    done = init(str(tmp_path), "--from", "env", OPENAI_API_KEY="sk-1234", ANTHROPIC_API_KEY="sk-ant-5678")
    assert done.exit_code == 0, done.output
    text = (tmp_path / MANIFEST).read_text()
    assert "credential: ${OPENAI_API_KEY}" in text
    assert "credential: ${ANTHROPIC_API_KEY}" in text
    assert "sk-" not in text.replace("# ", "")
    keys = {"OPENAI_API_KEY": "sk-1234", "ANTHROPIC_API_KEY": "sk-ant-5678"}
    applied = terminal.run("apply", "-f", str(tmp_path / MANIFEST), environment=keys)
    assert applied.exit_code == 0, applied.output
    assert {"openai", "anthropic"} <= set(terminal.run("providers", "list", "-q").stdout.split())


def test_without_a_key_it_says_which_there_could_be(tmp_path: Path) -> None:
    said = init(str(tmp_path), "--from", "env")
    assert (said.exit_code, "set one of OPENAI_API_KEY, ANTHROPIC_API_KEY" in said.stderr) == (ExitCode.NOT_FOUND, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [MANIFEST, SCHEMA])
def test_nothing_is_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    said = init(str(tmp_path))
    assert (said.exit_code, "is not written over" in said.stderr) == (ExitCode.CONFLICT, True)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = init(str(tmp_path / "file" / "below"))
    assert said.exit_code == ExitCode.FAILURE
    assert "cannot be written" in said.stderr


def test_the_commented_part_is_a_manifest_too() -> None:
    text = manifest_text([])
    commented = text[text.index("# ---\n# A vendor") :]
    lines = [line.removeprefix("# ") for line in commented.splitlines()]
    documents = [item for item in yaml.safe_load_all("\n".join(lines[lines.index("kind: Provider") :])) if item]
    assert [item["kind"] for item in documents] == ["Provider", "Model", "Route"]
