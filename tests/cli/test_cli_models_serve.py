"""`models serve` over what stands: what a route would lose is shown and asked about, and told apart from one's own."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lineclear.cli.output import ExitCode

ROUTE = """\
kind: Model
name: vendor
owner: default
versions: [{version: one, engine: simulated, status: approved}]
---
kind: Route
name: chat
team: default
environments:
  live: {targets: [{model: vendor@one}]}
"""
GGUF = b"GGUF" + (3).to_bytes(4, "little") + bytes(16)


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    (tmp_path / "small.gguf").write_bytes(GGUF)
    return tmp_path / "small.gguf"


def serve(terminal: Any, path: Path, name: str, *words: str) -> Any:
    return terminal.run("models", "serve", str(path), "--name", name, "--wait", "0", *words)


def targets(terminal: Any, name: str, environment: str) -> list[str]:
    listed = json.loads(terminal.run("routes", "show", name, "-o", "json").stdout)
    return [target["model"] for target in listed["manifest"]["environments"][environment]["targets"]]


def test_a_live_route_of_a_file_is_not_taken_over_unasked(terminal: Any, model_file: Path) -> None:
    assert terminal.run("apply", "-f", terminal.write("chat.yaml", ROUTE)).exit_code == 0
    words = ("--env", "live", "--status", "approved")
    refused = serve(terminal, model_file, "chat", *words)
    assert refused.exit_code == ExitCode.USAGE, refused.stderr
    assert "~ Route/chat update" in refused.stderr
    assert "no longer called in live: vendor@one" in refused.stderr
    assert "Route/chat is kept by file" in refused.stderr
    assert "--yes" in refused.stderr
    assert targets(terminal, "chat", "live") == ["vendor@one"]

    done = serve(terminal, model_file, "chat", *words, "--yes")
    assert done.exit_code == 0, done.stderr
    (target,) = targets(terminal, "chat", "live")
    assert target.startswith("chat@")


def test_a_route_made_here_takes_another_file_in_test_without_a_question_and_in_live_with_one(
    terminal: Any, model_file: Path
) -> None:
    for words, is_asked in ((("--env", "test"), False), (("--env", "live", "--status", "approved"), True)):
        name = f"own-{words[1]}"
        model_file.write_bytes(GGUF)
        first = serve(terminal, model_file, name, *words)
        assert (first.exit_code, re.search("no longer|kept by", first.stderr)) == (0, None), first.stderr
        model_file.write_bytes(GGUF + bytes(8))
        second = serve(terminal, model_file, name, *words)
        assert second.exit_code == (ExitCode.USAGE if is_asked else 0), second.stderr
        assert (f"no longer called in live: {name}@" in second.stderr) is is_asked
