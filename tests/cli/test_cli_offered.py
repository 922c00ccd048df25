"""What a shell is offered for names: those of the running server, or those it had last."""

import json
import os
import resource
import shutil
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


OFFERED_CPU_S_MAX = 0.15
"""As for `--help`: a person waits for the word."""


def completed(words: str, data: Path, **settings: str) -> tuple[list[str], str]:
    """What a shell is offered after `words`, whose last one is incomplete; and what was written beside it."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LINECLEAR_")},
        "LINECLEAR_DATA": str(data),
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "_LINECLEAR_COMPLETE": "bash_complete",
        **settings,
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


@pytest.fixture
def left(terminal: Any, tmp_path: Path) -> Path:
    """The data directory of a server with manifests that is gone."""
    assert terminal.run("secrets", "set", "acme", "--from-file", terminal.write("key", "sk-acme")).exit_code == 0
    assert terminal.run("apply", "-f", terminal.write("acme.yaml", MANIFESTS)).exit_code == 0
    assert terminal.run("keys", "create", "--app", "default", "--env", "test").exit_code == 0
    shutil.copytree(terminal.directory / "snapshot", tmp_path / "snapshot")
    (tmp_path / "admin.token").write_text("lca_x")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("lineclear routes show sup", ["support-chat"]),
        ("lineclear usage --app de", ["default"]),
        ("lineclear usage --team de", ["default"]),
        ("lineclear keys create --env te", ["test"]),
        ("lineclear models show ac", ["acme-small"]),
        ("lineclear logs --model acme-small@", ["acme-small@1"]),
        ("lineclear logs --provider ac", ["acme"]),
        ("lineclear policies show ", []),
        ("lineclear secrets rm ", []),
    ],
)
def test_the_last_names_are_offered_while_the_server_is_away(left: Path, words: str, offered: list[str]) -> None:
    assert completed(words, left) == (offered, "")


def test_the_last_keys_releases_and_rollouts_are_those_the_server_had(terminal: Any, left: Path) -> None:
    for words in ("lineclear keys revoke ", "lineclear releases show "):
        offered, said = completed(words, left)
        assert offered
        assert (offered, said) == completed(words, terminal.directory)
    assert completed("lineclear rollouts show ", left) == ([], "")


def test_a_server_that_does_not_answer_has_the_names_it_had_last(left: Path) -> None:
    (left / "up.json").write_text(json.dumps({"admin_url": "http://127.0.0.1:1"}))
    assert completed("lineclear ask sup", left) == (["support-chat"], "")
    # Another server's names stand in another directory.
    assert completed("lineclear ask sup", left, LINECLEAR_URL="http://127.0.0.1:1", LINECLEAR_TOKEN="x") == ([], "")


def test_a_server_that_says_no_is_not_gone_round(terminal: Any, left: Path) -> None:
    shutil.copy(terminal.directory / "up.json", left / "up.json")
    assert completed("lineclear ask sup", left) == ([], "")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"sections": {"routes/": "x", "apps": "../CURRENT"}}', b"\xff"]
)
def test_a_damaged_snapshot_offers_nothing_and_says_nothing(left: Path, content: bytes) -> None:
    (left / "snapshot" / "CURRENT").write_bytes(content)
    for words in ("lineclear ask s", "lineclear apps show ", "lineclear usage --team "):
        assert completed(words, left) == ([], "")


def test_names_without_a_server_cost_little(left: Path) -> None:
    costs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert completed("lineclear routes show sup", left)[0] == ["support-chat"]
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(costs) < OFFERED_CPU_S_MAX


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
