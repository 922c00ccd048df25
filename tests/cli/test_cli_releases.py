"""Promote, history, diffs and prompts at a terminal: what they print, and the codes they exit with."""

import json
from typing import Any

from lineclear.cli.output import ExitCode

FILE = """
kind: Model
name: tiny
owner: default
versions: [{version: "1", engine: simulated, status: approved}]
---
kind: Prompt
name: voice
text: Answer in one sentence.
---
kind: Prompt
name: voice-2
text: Answer in two sentences.
---
kind: Route
name: chat
team: default
environments:
  test: {targets: [{model: tiny@1}], prompt: voice}
  live: {targets: [{model: tiny@1}], prompt: voice}
"""


def test_a_change_is_carried_looked_at_and_found_again(terminal: Any) -> None:
    assert terminal.run("apply", terminal.write("m.yaml", FILE)).exit_code == 0
    edited = FILE.replace("test: {targets: [{model: tiny@1}], prompt: voice}",
                          "test: {targets: [{model: tiny@1}], prompt: voice-2}")  # fmt: skip
    assert terminal.run("apply", terminal.write("m.yaml", edited)).exit_code == 0
    done = terminal.run("promote", "chat", "--from", "test", "--to", "live", "--note", "two")
    assert done.exit_code == 0, done.stderr
    assert "is in force in live as in test, by chg_" in done.stdout
    again = terminal.run("promote", "chat", "--from", "test", "--to", "live")
    assert "is in force in live already" in again.stdout
    told = json.loads(terminal.run("history", "chat", "-o", "json").stdout)
    now, before = told["stretches"]
    assert (now["note"], now["how"], before["until_at"]) == ("two", "deployment.moved", now["from_at"])
    table = terminal.run("history", "chat", "-e", "live")
    assert now["release"] in table.stdout
    assert "released" in table.stdout
    assert "deployment." not in table.stdout
    assert before["release"] in table.stdout
    shown = terminal.run("releases", "diff", before["release"], now["release"])
    assert "Answer in [-one sentence.-]{+two sentences.+}" in shown.stdout
    assert "  name: voice → voice-2" in shown.stdout
    assert terminal.run("releases", "diff", now["release"], now["release"]).stdout == "nothing differs\n"
    none = terminal.run("history", "chat", "--at", "2001-01-01")
    assert "was not deployed in live at 2001-01-01" in none.stderr


def test_prompts_are_listed_shown_and_compared(terminal: Any) -> None:
    changed = FILE.replace("Answer in one sentence.", "Answer in one long sentence.")
    assert terminal.run("apply", terminal.write("p.yaml", changed)).exit_code == 0
    found = json.loads(terminal.run("prompts", "list", "voice", "-o", "json").stdout)["versions"]
    old = next(item for item in found if not item["is_current"])
    assert "Answer in one long sentence." in terminal.run("prompts", "show", "voice").stdout
    older = terminal.run("prompts", "show", "voice", "--version", old["digest"][:8])
    assert "Answer in one sentence." in older.stdout
    differs = terminal.run("prompts", "diff", "voice", old["digest"][:8])
    assert "Answer in one {+long +}sentence." in differs.stdout
    assert terminal.run("prompts", "list", "voise").exit_code == ExitCode.NOT_FOUND
    assert terminal.run("prompts", "show", "voice", "--version", "zz").exit_code == ExitCode.USAGE
    assert terminal.run("promote", "chat", "--from", "test", "--to", "mars").exit_code == ExitCode.NOT_FOUND


def test_what_waits_for_approval_exits_with_seven(terminal: Any) -> None:
    guarded = FILE + "---\nkind: Environment\nname: stage\nclass: test\napprovals: 1\n"
    assert terminal.run("apply", terminal.write("g.yaml", guarded)).exit_code == 0
    said = terminal.run("promote", "chat", "--from", "test", "--to", "stage")
    assert said.exit_code == ExitCode.APPROVAL_PENDING, said.stderr
    assert "somebody else has to approve it: lineclear approve chg_" in said.stdout
