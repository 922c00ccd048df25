"""What commands write in each format, to whom, in which colours, and with which exit code and next step."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

import lineclear
from lineclear.cli.connect import EXIT_BY_CODE, NEXT_BY_CODE
from lineclear.cli.main import COMMANDS, root
from lineclear.cli.output import ExitCode, Format, Output
from lineclear.cli.ps import bytes_text, span_text
from lineclear.cli.terminal import CELL_CHARS_MIN, table_lines
from lineclear.control.endpoint import HTTP_STATUS, AdminCode
from lineclear.testing.keyboard import type_at

LISTS = [
    ("keys", "list"), ("apps", "list"), ("models", "list"), ("routes", "list"), ("releases", "list"),
    ("audit", "list"), ("providers", "list"), ("secrets", "list"), ("ps",),
]  # fmt: skip
ROWS = [{"name": "a", "count": 5, "more": {"x": 1}}, {"name": "=b", "count": -2, "more": None}]


def written(format_: str, *, fields: Sequence[str] = (), capsys: Any) -> str:
    Output(Format(format_), fields).rows(ROWS, ["name", "count"], {"items": ROWS})
    return str(capsys.readouterr().out)


def typed(terminal: Any, *words: str, **environment: str) -> tuple[int, str]:
    """A command of a person at a terminal."""
    command = [sys.executable, "-m", "lineclear", *words, "--data", str(terminal.directory)]
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CI", "COLUMNS", "TERM")}
    return type_at(command, environment={**kept, "TERM": "xterm", **environment})


@pytest.mark.parametrize("words", LISTS)
@pytest.mark.parametrize("format_", [item.value for item in Format])
def test_every_list_comes_in_every_format(terminal: Any, words: tuple[str, ...], format_: str) -> None:
    said = terminal.run(*words, "-o", format_)
    assert said.exit_code == 0, said.output
    match Format(format_):
        case Format.JSON:
            assert isinstance(json.loads(said.stdout), dict)
        case Format.YAML:
            shown, again = yaml.safe_load(said.stdout), json.loads(terminal.run(*words, "-o", "json").stdout)
            if words == ("audit", "list"):
                # To read the trail is an event itself, so the second look shows one more.
                again["events"].pop()
            assert shown == again
        case Format.JSONL:
            assert all(isinstance(json.loads(line), dict) for line in said.stdout.splitlines())
        case Format.CSV:
            rows = list(csv.reader(io.StringIO(said.stdout)))
            assert len({len(row) for row in rows}) == 1
        case Format.NAME:
            quiet = terminal.run(*words, "-q").stdout
            assert quiet.startswith(said.stdout) if words == ("audit", "list") else said.stdout == quiet
        case Format.TABLE:
            assert said.stdout.splitlines()[0].isupper()


def test_formats_write_the_same_rows(capsys: Any) -> None:
    assert json.loads(written("json", capsys=capsys)) == {"items": ROWS}
    assert [json.loads(line) for line in written("jsonl", capsys=capsys).splitlines()] == ROWS
    assert yaml.safe_load(written("yaml", capsys=capsys)) == {"items": ROWS}
    assert written("name", capsys=capsys) == "a\n=b\n"
    assert written("csv", capsys=capsys) == "name,count\na,5\n'=b,-2\n"


def test_rows_that_go_by_their_id_are_named_by_it_although_they_have_a_name(capsys: Any) -> None:
    rows = [{"id": "ro_1", "name": "careful"}]
    Output(Format.NAME).rows(rows, ["id", "name"], {"items": rows})
    assert capsys.readouterr().out == "ro_1\n"


@pytest.mark.parametrize("format_", ["json", "yaml", "jsonl", "csv", "table"])
def test_fields_are_taken_in_their_order(capsys: Any, format_: str) -> None:
    shown = written(format_, fields=["count", "more"], capsys=capsys)
    assert "name" not in shown.lower()
    assert shown.lower().index("count") < shown.lower().index("more")


def test_an_unknown_field_is_told_the_near_one(terminal: Any) -> None:
    said = terminal.run("apps", "list", "--fields", "nme")
    assert (said.exit_code, "Did you mean 'name'?" in said.stderr) == (ExitCode.USAGE, True)


def test_fields_of_an_empty_list_are_not_judged(terminal: Any) -> None:
    assert terminal.run("keys", "list", "--app", "nobody", "--fields", "id,expires_at", "-o", "csv").exit_code == 0


def test_colours_are_for_people_who_want_them(terminal: Any) -> None:
    _, coloured = typed(terminal, "apps", "list")
    assert "\x1b[1mNAME" in coloured
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        _, plain = typed(terminal, "apps", "list", **environment)
        assert "\x1b" not in plain, environment
    assert "\x1b" not in terminal.run("apps", "list").output


def test_a_table_is_as_wide_as_the_terminal(terminal: Any) -> None:
    _, shown = typed(terminal, "audit", "list", COLUMNS="70", NO_COLOR="1")
    assert max(map(len, shown.splitlines())) <= 70
    whole = terminal.run("audit", "list")
    assert max(map(len, whole.stdout.splitlines())) > 70


def test_text_gives_way_before_figures_and_never_below_its_least() -> None:
    rows = [{"a": "x" * 40, "b": "y" * 50, "n": 123456}]
    narrow = table_lines(rows, ["a", "b", "n"], width_max=40)
    assert max(map(len, narrow)) == 40
    assert narrow[1].endswith("123456")
    tiny = table_lines(rows, ["a", "b", "n"], width_max=5)
    assert len(tiny[1].split()[0]) == CELL_CHARS_MIN


def test_a_table_obeys_no_cell() -> None:
    assert "\x1b" not in "".join(table_lines([{"state": "\x1b[31mred"}], ["state"]))


def test_every_code_of_the_admin_api_has_its_exit_code() -> None:
    assert set(EXIT_BY_CODE) == {str(code) for code in AdminCode}
    assert set(NEXT_BY_CODE) <= set(EXIT_BY_CODE)
    for code in AdminCode:
        match HTTP_STATUS[code]:
            case 401 | 403:
                wanted = ExitCode.NOT_AUTHORISED
            case 404:
                wanted = ExitCode.NOT_FOUND
            case 409 if code is AdminCode.GATE_NOT_PASSED:
                wanted = ExitCode.GATE_FAILED
            case 409:
                wanted = ExitCode.CONFLICT
            case 408 | 429 | 503:
                wanted = ExitCode.UNAVAILABLE
            case 400 | 413:
                wanted = ExitCode.USAGE
            case _:
                wanted = ExitCode.FAILURE
        assert EXIT_BY_CODE[code] is wanted, code


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "list", "--token", "wrong"),
        ("keys", "list", "--token", "nobody"),
        ("keys", "list", "--url", "http://127.0.0.1:9"),
        ("keys", "revoke", "nothere"),
        ("keys", "create", "--app", "nobody", "--env", "live"),
        ("keys", "create", "--app", "default", "--env", "life"),
        ("apps", "show", "defaullt"),
        ("models", "show", "nothere"),
        ("providers", "show", "nothere"),
        ("providers", "test", "nothere"),
        ("routes", "show", "nothere"),
        ("releases", "show", "nothere"),
        ("secrets", "rm", "nothere"),
        ("secrets", "set", "NOT A NAME", "--from-file", __file__),
    ],
)
def test_every_error_has_its_next_step_in_words_and_as_an_object(terminal: Any, words: tuple[str, ...]) -> None:
    said = terminal.run(*words)
    assert (said.exit_code != 0, said.stdout) == (True, "")
    assert re.search(r"^error: .+$", said.stderr, re.MULTILINE)
    assert re.search(r"^hint: .{10,}$", said.stderr, re.MULTILINE), said.stderr
    as_json = terminal.run(*words, "-o", "json")
    error = json.loads(as_json.stderr)["error"]
    assert (as_json.exit_code, as_json.stdout) == (said.exit_code, "")
    assert error["code"]
    assert error["hint"]


def test_the_near_name_is_told(terminal: Any) -> None:
    assert "did you mean `default`?" in terminal.run("apps", "show", "defaullt").stderr
    assert "did you mean `live`?" in terminal.run("keys", "create", "--app", "default", "--env", "life").stderr


@pytest.mark.parametrize(
    ("words", "near"),
    [(["aply"], "'apply'"), (["keys", "creat"], "'create'"), (["models", "lst"], "'list'"),
     (["apply", "--prnue"], "--prune"), (["providers", "tst"], "'test'")],
)  # fmt: skip
def test_mistyped_words_are_told_the_near_ones(words: list[str], near: str) -> None:
    said = CliRunner().invoke(root, words)
    assert (said.exit_code, near in said.stderr) == (ExitCode.USAGE, True), said.stderr


def test_a_wrong_call_is_an_object_where_one_was_asked_for() -> None:
    command = [sys.executable, "-m", "lineclear", "keys", "create", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["code"], "--app" in error["message"]) == (ExitCode.USAGE, "usage", True)
    assert error["hint"] == "`lineclear keys create --help` shows what it takes"


def test_watching_shows_it_again_until_interrupted(terminal: Any) -> None:
    command = [sys.executable, "-m", "lineclear", "status", "-w", "--every-s", "0.2", "-o", "jsonl"]
    process = subprocess.Popen([*command, "--data", str(terminal.directory)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    shown = [json.loads(process.stdout.readline())["revision"] for _ in range(3)]
    process.send_signal(2)
    assert (process.wait(10), len(set(shown))) == (ExitCode.INTERRUPTED, 1)
    process.stdout.close()


def test_revoking_a_live_key_asks_a_person_for_the_apps_name(terminal: Any) -> None:
    def make(environment: str) -> str:
        made = terminal.run("keys", "create", "--app", "default", "--env", environment, "-o", "json")
        return str(json.loads(made.stdout)["id"])

    command = [sys.executable, "-m", "lineclear", "keys", "revoke"]
    data = ["--data", str(terminal.directory)]
    live = make("live")
    code, shown = type_at([*command, live, *data], [("to go on: ", "no")])
    assert (code, "will be refused" in shown) == (ExitCode.INTERRUPTED, True)
    code, shown = type_at([*command, live, *data], [("to go on: ", "default")])
    assert (code, f"revoked {live}" in shown) == (0, True)
    for words in ([make("live"), "--yes"], [make("test")]):
        assert type_at([*command, *words, *data])[0] == 0


def test_apply_shows_first_what_it_would_do(terminal: Any) -> None:
    path = terminal.write("dry.yaml", "kind: Team\nname: dry\n")
    said = terminal.run("apply", "-f", path, "--dry-run")
    assert (said.exit_code, "+ Team/dry create" in said.stdout) == (ExitCode.PLAN_HAS_CHANGES, True)
    assert terminal.run("apply", "-f", path).exit_code == 0
    assert terminal.run("apply", "-f", path, "--dry-run").exit_code == 0


def completed(words: str) -> list[str]:
    """What a shell is offered after `words`, whose last one is incomplete."""
    split = words.split(" ")
    environment = {
        **os.environ,
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(split) - 1),
        "_LINECLEAR_COMPLETE": "bash_complete",
    }
    done = subprocess.run(
        [sys.executable, "-m", "lineclear"], env=environment, capture_output=True, text=True, check=True
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_a_shell_is_offered_commands_and_options() -> None:
    assert completed("lineclear ke") == ["keys"]
    assert set(COMMANDS) == set(completed("lineclear "))
    assert completed("lineclear keys re") == ["revoke"]
    assert "--prune" in completed("lineclear apply --p")
    assert completed("lineclear keys list -o js") == ["json", "jsonl"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(root, ["completion", shell])
    assert (done.exit_code, "_LINECLEAR_COMPLETE" in done.stdout) == (0, True)
    if shell == "bash":
        (tmp_path / "script").write_text(done.stdout)
        subprocess.run(["bash", "-n", str(tmp_path / "script")], check=True)


def test_version_says_what_runs() -> None:
    done = CliRunner().invoke(root, ["version", "-o", "json"])
    assert json.loads(done.stdout)["version"] == lineclear.__version__


def test_a_long_wait_shows_that_something_goes_on(tmp_path: Path) -> None:
    slow = (
        "import sys, time\nfrom lineclear.cli.output import Format, Output\n"
        "from lineclear.cli.waiting import sign_of_life\n"
        "with sign_of_life(Output(Format(sys.argv[1])), 'waiting for it'):\n    time.sleep(1.4)\n"
    )
    command = [sys.executable, "-c", slow]
    kept = {name: value for name, value in os.environ.items() if name != "CI"}
    piped = subprocess.run([*command, "table"], capture_output=True, text=True, check=True)
    assert piped.stderr == "waiting for it …\n"
    assert subprocess.run([*command, "json"], capture_output=True, text=True, check=True).stderr == ""
    assert "⠋ waiting for it, 1 s" in type_at([*command, "table"], environment=kept)[1]
    assert type_at([*command, "table"], environment={**kept, "CI": "true"})[1] == "waiting for it …\r\n"


def test_spans_and_sizes_read_well() -> None:
    assert [span_text(value) for value in (None, 41.9, 725, 11_100, 187_200)] == [None, "41s", "12m", "3h 5m", "2d 4h"]
    assert [bytes_text(value) for value in (None, 812, 43_306_188)] == [None, "812 B", "41.3 MiB"]
