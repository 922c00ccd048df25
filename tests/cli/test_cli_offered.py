"""What a shell is offered for names: those of the running server, and nothing where there is none."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lineclear.cli.main import root
from lineclear.cli.output import ExitCode
from lineclear.domain.exchange import Operation

MANIFESTS = """
kind: Provider
name: acme
dialects: [openai]
base_url: https://api.example.com/v1
credential: secret:acme
---
kind: Model
name: acme-small
owner: default
purpose: short answers
versions: [{version: "1", provider: acme, upstream_id: small, status: approved}]
---
kind: Route
name: support-chat
team: default
environments: {test: {targets: [{model: acme-small@1}]}}
"""


def completed(words: str, data: Path) -> tuple[list[str], str]:
    """What a shell is offered after `words`, whose last one is incomplete; and what was written beside it."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LINECLEAR_")},
        "LINECLEAR_DATA": str(data),
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "_LINECLEAR_COMPLETE": "bash_complete",
    }
    command = [sys.executable, "-m", "lineclear"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line], done.stderr


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("lineclear ask sup", ["support-chat"]),
        ("lineclear routes show sup", ["support-chat"]),
        ("lineclear logs --route sup", ["support-chat"]),
        ("lineclear usage --app de", ["default"]),
        ("lineclear keys create --env te", ["test"]),
        ("lineclear apps show ", ["default"]),
        ("lineclear models show ac", ["acme-small"]),
        ("lineclear logs --model acme-small@", ["acme-small@1"]),
        ("lineclear providers test ", ["acme"]),
        ("lineclear logs --provider ac", ["acme"]),
        ("lineclear secrets rm ", ["acme"]),
        ("lineclear logs --team x", []),
        ("lineclear logs --operation comp", ["completions"]),
        ("lineclear logs --outcome ref", ["refused"]),
    ],
)
def test_names_of_the_running_server_are_offered(terminal: Any, words: str, offered: list[str]) -> None:
    path = terminal.write("acme.yaml", MANIFESTS)
    key = terminal.write("key", "sk-acme")
    assert terminal.run("secrets", "set", "acme", "--from-file", key).exit_code == 0
    assert terminal.run("apply", "-f", path).exit_code == 0
    assert completed(words, terminal.directory) == (offered, "")


def test_nothing_is_offered_and_nothing_said_where_no_server_answers(tmp_path: Path) -> None:
    assert completed("lineclear ask s", tmp_path) == ([], "")
    (tmp_path / "admin.token").write_text("lca_x")
    (tmp_path / "up.json").write_text(json.dumps({"admin_url": "http://127.0.0.1:1"}))
    assert completed("lineclear ask s", tmp_path) == ([], "")
    # One that takes the call and never answers is not waited for.
    with socket.create_server(("127.0.0.1", 0)) as mute:
        (tmp_path / "up.json").write_text(json.dumps({"admin_url": f"http://127.0.0.1:{mute.getsockname()[1]}"}))
        begun = time.monotonic()
        assert completed("lineclear ask s", tmp_path) == ([], "")
        assert time.monotonic() - begun < 5
    assert completed("lineclear logs --operation ", tmp_path)[0] == [operation.value for operation in Operation]


@pytest.mark.parametrize("words", [["up"], ["demo"], ["completion", "bash"]], ids=lambda words: words[0])
@pytest.mark.parametrize("format_", ["json", "table"])
def test_a_command_of_one_form_refuses_another(words: list[str], format_: str) -> None:
    said = CliRunner().invoke(root, [*words, "-o", format_], prog_name="lineclear")
    assert (said.exit_code, said.stdout) == (ExitCode.USAGE, "")
    assert f"`lineclear {words[0]}` has no -o; " in said.stderr


def test_an_export_has_every_form(terminal: Any) -> None:
    csv = terminal.run("export", "Team/default", "-o", "csv").stdout
    assert csv == "kind,name,managed_by\nTeam,default,bootstrap\n"
    assert terminal.run("export", "Team/default", "-o", "name").stdout == "default\n"
    fields = terminal.run("export", "Team/default", "--fields", "name,managed_by").stdout.split()
    assert fields == ["NAME", "MANAGED", "BY", "default", "bootstrap"]
