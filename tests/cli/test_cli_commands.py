"""Commands against a real admin port: what they print, in which format, with which exit code."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lineclear.cli.keys import id_of
from lineclear.cli.main import COMMANDS, root
from lineclear.cli.output import ExitCode, table_lines

HELP_CPU_S_MAX = 0.15
"""Source: research/ux-ecosystem.md §3, the budget of `--help`."""
HEAVY = ("pydantic", "sqlalchemy", "fastapi", "rich", "yaml", "http.client", "asyncio")

PROVIDER = (
    "kind: Provider\nname: {name}\ndialects: [openai]\nbase_url: https://a.example\ncredential: ${{CLI_TEST_KEY}}\n"
)


def answer(text: str) -> Any:
    return json.loads(text)


def test_a_key_is_made_listed_and_revoked(terminal: Any) -> None:
    made = terminal.run("keys", "create", "--app", "default", "--env", "live", "-o", "json")
    assert made.exit_code == 0
    key = answer(made.stdout)
    assert list(key) == ["id", "key", "app", "environment", "expires_at"]
    listed = answer(terminal.run("keys", "list", "-o", "json").stdout)["keys"]
    assert [item["state"] for item in listed if item["id"] == key["id"]] == ["active"]
    assert key["key"] not in terminal.run("keys", "list", "-o", "json").output
    assert terminal.run("keys", "revoke", key["key"], "--reason", "leaked").exit_code == 0
    lines = terminal.run("keys", "list", "-o", "jsonl").stdout.splitlines()
    assert [answer(line)["state"] for line in lines if key["id"] in line] == ["revoked"]


def test_a_key_for_a_person_is_shown_whole(terminal: Any) -> None:
    shown = terminal.run("keys", "create", "--app", "default", "-e", "test")
    assert re.search(r"^key: lc_test_[a-z2-7]{12}_[A-Za-z0-9_-]{43}[0-9a-f]{8}$", shown.stdout, re.MULTILINE)
    assert "not shown again" in shown.stderr


def test_the_id_is_found_in_a_whole_key() -> None:
    assert id_of("lc_live_abcdefghij23_se_cret") == "abcdefghij23"
    assert id_of("abcdefghij23") == "abcdefghij23"


def test_plan_then_apply_then_nothing_to_do(terminal: Any) -> None:
    path = terminal.write("team.yaml", "kind: Team\nname: sales\n")
    plan = terminal.run("plan", "-f", path)
    assert (plan.exit_code, plan.stdout.splitlines()[0]) == (ExitCode.PLAN_HAS_CHANGES, "+ Team/sales create")
    done = terminal.run("apply", "-f", path, "-o", "json", "--note", "why")
    assert (done.exit_code, answer(done.stdout)["state"]) == (0, "applied")
    again = terminal.run("apply", path)
    assert (again.exit_code, "nothing to change" in again.stdout) == (0, True)
    assert terminal.run("plan", "-f", path).exit_code == 0


def test_an_update_shows_before_and_after(terminal: Any) -> None:
    path = terminal.write("app.yaml", "kind: App\nname: shop\nteam: default\nlimits: {concurrency: 5}\n")
    terminal.run("apply", "-f", path)
    terminal.write("app.yaml", "kind: App\nname: shop\nteam: default\nlimits: {concurrency: 7}\n")
    assert "    limits.concurrency: 5 → 7 requests at the same time" in terminal.run("plan", "-f", path).stdout


def test_a_directory_is_applied_whole(terminal: Any) -> None:
    folder = terminal.directory / "many"
    folder.mkdir()
    (folder / "a.yaml").write_text("kind: App\nname: bundle\nteam: bundlers\n")
    (folder / "b.yml").write_text("kind: Team\nname: bundlers\n")
    (folder / "notes.txt").write_text("not a manifest")
    assert terminal.run("apply", "-f", str(folder)).exit_code == 0


def test_mistakes_are_told_with_their_places(terminal: Any) -> None:
    path = terminal.write("bad.yaml", "kind: Team\nnme: x\n")
    for command in ("apply", "plan"):
        said = terminal.run(command, "-f", path)
        assert said.exit_code == ExitCode.FAILURE
        assert f"  {path}:2:1: `nme` is not a field here; did you mean `name`?" in said.stderr
        assert said.stdout == ""
    as_json = answer(terminal.run("apply", "-f", path, "-o", "json").stderr)["error"]
    assert (as_json["code"], as_json["findings"][1]["line"]) == ("invalid_manifest", 2)


def test_what_only_the_server_knows_is_told_the_same_way(terminal: Any) -> None:
    path = terminal.write("dangling.yaml", "kind: App\nname: x\nteam: nobody\n")
    said = terminal.run("apply", "-f", path)
    assert (said.exit_code, f"{path}:3:7: there is no team 'nobody'" in said.stderr) == (ExitCode.FAILURE, True)


def test_validate_needs_no_server(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text("kind: Team\nname: x\n")
    fine = CliRunner().invoke(root, ["validate", str(path), "-o", "json"])
    assert (fine.exit_code, answer(fine.stdout)["valid"]) == (0, True)
    path.write_text("kind: Team\nname: x\noops: 1\n")
    assert CliRunner().invoke(root, ["validate", "-f", str(path)]).exit_code == ExitCode.FAILURE


def test_credentials_come_from_the_shell_that_applies(terminal: Any) -> None:
    path = terminal.write("p.yaml", PROVIDER.format(name="acme"))
    without = terminal.run("apply", "-f", path, environment={"CLI_TEST_KEY": None})
    assert (without.exit_code, "CLI_TEST_KEY is set neither" in without.stderr) == (ExitCode.FAILURE, True)
    done = terminal.run("apply", "-f", path, environment={"CLI_TEST_KEY": "sk-from-shell"})
    assert (done.exit_code, "credential CLI_TEST_KEY: new value" in done.stdout) == (0, True)
    assert "sk-from-shell" not in done.output


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("keys", "create", "--app", "nobody", "--env", "live"), ExitCode.NOT_FOUND),
        (("keys", "revoke", "nothere"), ExitCode.NOT_FOUND),
        (("models", "show", "nothere"), ExitCode.NOT_FOUND),
        (("routes", "show", "nothere"), ExitCode.NOT_FOUND),
        (("releases", "show", "nothere"), ExitCode.NOT_FOUND),
        (("keys", "create"), ExitCode.USAGE),
        (("apply",), ExitCode.USAGE),
        (("aply",), ExitCode.USAGE),
        (("apply", "-f", "/nowhere.yaml"), ExitCode.USAGE),
        (("keys", "list", "--token", "wrong"), ExitCode.NOT_AUTHORISED),
        (("keys", "list", "--url", "http://127.0.0.1:9", "--token", "t"), ExitCode.UNAVAILABLE),
    ],
)
def test_exit_codes_tell_kinds_of_failure_apart(terminal: Any, words: tuple[str, ...], code: ExitCode) -> None:
    assert terminal.run(*words).exit_code == code


def test_a_stale_plan_is_a_conflict(terminal: Any) -> None:
    path = terminal.write("stale.yaml", "kind: Team\nname: stale\n")
    assert terminal.run("apply", "-f", path, "--plan", "0" * 64).exit_code == ExitCode.CONFLICT


@pytest.mark.parametrize(
    "words",
    [
        ("status",), ("keys", "list"), ("apps", "list"), ("apps", "show", "default"), ("models", "list"),
        ("routes", "list"), ("releases", "list"), ("audit", "list"), ("audit", "verify"),
    ],
)  # fmt: skip
def test_what_is_read_is_there_for_people_and_for_programs(terminal: Any, words: tuple[str, ...]) -> None:
    assert terminal.run(*words).exit_code == 0
    as_json = terminal.run(*words, "-o", "json")
    assert as_json.exit_code == 0
    assert isinstance(answer(as_json.stdout), dict)


def test_status_tells_a_reason_to_its_end(terminal: Any) -> None:
    reason = f"exit code 1: the checkpoint /{'d/' * 40}checkpoint is damaged \x1b[2J; move it away"
    parts = [{"name": "accountant", "state": "down", "pid": None, "reason": reason}, {"name": "control", "reason": ""}]
    state = terminal.directory / "run" / "state.json"
    state.write_text(json.dumps({"parts": parts}))
    shown = terminal.run("status").stdout
    state.unlink()
    assert "d/checkpoint is damaged" in shown
    assert shown.splitlines()[-1].startswith("accountant: exit code 1: ")
    assert shown.endswith("; move it away\n")
    assert "\x1b" not in shown


def test_the_environment_can_name_the_server(terminal: Any) -> None:
    facts = answer((terminal.directory / "up.json").read_text())
    given = {"LINECLEAR_URL": facts["admin_url"], "LINECLEAR_TOKEN": "token-of-tests", "LINECLEAR_DATA": "/nowhere"}
    assert CliRunner(env=given).invoke(root, ["keys", "list"]).exit_code == 0
    without = CliRunner(env={**given, "LINECLEAR_TOKEN": None}).invoke(root, ["keys", "list"])
    assert (without.exit_code, "no admin token" in without.stderr) == (ExitCode.NOT_AUTHORISED, True)


def test_a_wrong_token_is_told_by_the_option_that_gave_it(terminal: Any) -> None:
    wrong = terminal.run("status", "--token", "wrong")
    assert (wrong.exit_code, "pass --token or LINECLEAR_TOKEN" in wrong.stderr) == (ExitCode.NOT_AUTHORISED, True)
    assert "Bearer" not in wrong.stderr


def test_a_mistyped_command_is_told_the_near_one(terminal: Any) -> None:
    assert "Did you mean 'apply'?" in terminal.run("aply").stderr


def test_every_command_of_the_table_can_be_loaded() -> None:
    for name in COMMANDS:
        shown = CliRunner().invoke(root, [name, "--help"])
        assert (shown.exit_code, shown.output.startswith("Usage: ")) == (0, True), name


def test_help_is_cheap_and_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom click.testing import CliRunner\nfrom lineclear.cli.main import root\n"
        f"assert CliRunner().invoke(root, ['--help']).exit_code == 0\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
    costs = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "lineclear", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(costs) < HELP_CPU_S_MAX


def test_tables_line_up_and_neither_cut_nor_obey_what_they_show() -> None:
    rows = [{"name": "a", "count": 5, "tags": ["x", "y"]}, {"name": "東京\x1b[31m", "count": 1200, "tags": None}]
    assert table_lines(rows, ["name", "count", "tags"]) == [
        "NAME       COUNT  TAGS",
        "a              5  x,y",
        "東京�[31m   1200  -",
    ]
    assert table_lines([{"name": "x" * 100}], ["name"])[1] == "x" * 59 + "…"
