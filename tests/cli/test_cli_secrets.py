"""`lineclear secrets` as it is typed: values come hidden, from pipes and files, and never come back."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lineclear.cli.main import root
from lineclear.cli.output import ExitCode
from lineclear.testing.keyboard import type_at

VALUE = "sk-typed-0123456789"
PROVIDER = (
    "kind: Provider\nname: {name}\ndialects: [openai]\nbase_url: https://a.example\ncredential: secret:{secret}\n"
)


def typed(terminal: Any, words: list[str], question: str, answer: str) -> tuple[int, str]:
    """A command of a person at a terminal."""
    command = [sys.executable, "-m", "lineclear", *words, "--data", str(terminal.directory)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LINECLEAR_")}
    return type_at(command, [(question, answer)], environment)


def piped(terminal: Any, *words: str, value: str = VALUE) -> Any:
    unset: dict[str, str | None] = {"LINECLEAR_URL": None, "LINECLEAR_TOKEN": None, "LINECLEAR_DATA": None}
    return CliRunner(env=unset).invoke(root, [*words, "--data", str(terminal.directory)], input=value)


def listed(terminal: Any) -> dict[str, Any]:
    found = json.loads(terminal.run("secrets", "list", "-o", "json").stdout)["secrets"]
    return {item["name"]: item for item in found}


def test_a_value_is_typed_without_being_shown(terminal: Any) -> None:
    code, shown = typed(terminal, ["secrets", "set", "typed"], "(not shown): ", VALUE)
    assert (code, VALUE in shown) == (0, False), shown
    assert "secret typed is set; manifests name it as `credential: secret:typed`" in shown
    assert listed(terminal)["typed"]["set_by"] == "tester"


def test_a_value_comes_from_a_pipe_or_a_file_and_is_used(terminal: Any, tmp_path: Path) -> None:
    assert piped(terminal, "secrets", "set", "piped", value=VALUE + "\n").exit_code == 0
    path = terminal.write("provider.yaml", PROVIDER.format(name="acme", secret="piped"))
    assert terminal.run("apply", "-f", path).exit_code == 0
    assert listed(terminal)["piped"]["used_by"] == ["acme/live", "acme/test"]
    (tmp_path / "key").write_text(VALUE + "2\r\n")
    again = terminal.run("secrets", "set", "piped", "--from-file", str(tmp_path / "key"))
    assert (again.exit_code, "in force for acme/live, acme/test" in again.stdout) == (0, True)
    assert VALUE not in again.output


def test_an_argument_is_no_place_for_a_value(terminal: Any) -> None:
    said = terminal.run("secrets", "set", "x", VALUE)
    assert said.exit_code == ExitCode.USAGE
    assert "x" not in listed(terminal)


@pytest.mark.parametrize(
    ("value", "words"), [("", "no value came"), ("a b", "holds a space"), ("x" * 70_000, "longer")]
)
def test_a_wrong_value_is_told_without_repeating_it(terminal: Any, value: str, words: str) -> None:
    said = piped(terminal, "secrets", "set", "wrong", value=value)
    assert (said.exit_code, words in said.stderr) == (ExitCode.USAGE, True)
    assert len(value) < 2 or value not in said.output


def test_a_used_one_goes_only_by_force_and_a_typed_name(terminal: Any) -> None:
    piped(terminal, "secrets", "set", "used")
    terminal.run("apply", "-f", terminal.write("used.yaml", PROVIDER.format(name="user", secret="used")))
    refused = terminal.run("secrets", "rm", "used")
    assert (refused.exit_code, "is used by user/live, user/test" in refused.stderr) == (ExitCode.CONFLICT, True)
    assert "hint: " in refused.stderr
    unattended = terminal.run("secrets", "rm", "used", "--force")
    assert (unattended.exit_code, "add --yes" in unattended.stderr) == (ExitCode.USAGE, True)
    code, shown = typed(terminal, ["secrets", "rm", "used", "--force"], "to go on: ", "nope")
    assert (code, "nothing was changed" in shown) == (ExitCode.INTERRUPTED, True)
    assert "used" in listed(terminal)
    code, shown = typed(terminal, ["secrets", "rm", "used", "--force"], "to go on: ", "used")
    assert (code, "removed secret used" in shown) == (0, True)
    assert "used" not in listed(terminal)


def test_a_missing_one_is_not_found(terminal: Any) -> None:
    piped(terminal, "secrets", "set", "openai")
    said = terminal.run("secrets", "rm", "opnai")
    assert (said.exit_code, "did you mean `openai`?" in said.stderr) == (ExitCode.NOT_FOUND, True)
