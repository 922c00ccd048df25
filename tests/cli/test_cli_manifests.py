"""Manifest commands end to end: what they print, keep, refuse, and the codes they exit with."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lineclear.base.secret import Secret
from lineclear.cli.main import root
from lineclear.cli.manifest_files import find_files
from lineclear.cli.output import ExitCode
from lineclear.client.admin import AdminClient, AdminError, Server

TEAM = "kind: Team\nname: {name}\n"
APP = "kind: App\nname: {name}\nteam: default\nlimits: {{concurrency: {concurrency}}}\n"


def client_of(terminal: Any) -> AdminClient:
    facts = json.loads((terminal.directory / "up.json").read_text())
    return AdminClient(Server(facts["admin_url"], Secret((terminal.directory / "admin.token").read_text().strip())))


def post(terminal: Any, path: str, text: str, **more: object) -> Any:
    """A change made elsewhere than by a file, through the same port."""
    return client_of(terminal).post(f"/api/v1/{path}", {"files": [{"name": "x", "text": text}], **more})


def test_everything_wrong_here_and_at_the_server_is_told_in_one_go(terminal: Any) -> None:
    path = terminal.write("wrong.yaml", "kind: Team\nname: A\n---\nkind: App\nname: a\nteam: nobody\n---\nb: [\n")
    (terminal.directory / "binary.yaml").write_bytes(b"kind: \xff\n")
    for command in ("plan", "apply"):
        said = terminal.run(command, "-f", path, "-f", str(terminal.directory / "binary.yaml"), "-o", "json")
        assert (said.exit_code, said.stdout) == (ExitCode.FAILURE, "")
        found = json.loads(said.stderr)["error"]["findings"]
        assert [(item["code"], item["line"]) for item in found] == [
            ("unreadable", 0), ("invalid_value", 2), ("unknown_reference", 6), ("syntax", 9),
        ]  # fmt: skip


def test_validate_says_what_only_a_server_knows(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(
        "kind: Team\nname: support\n---\nkind: App\nname: a\nteam: suport\n---\n"
        "kind: Provider\nname: p\ndialects: [openai]\nbase_url: https://p.example\ncredential: ${NOT_SET_HERE}\n"
        "---\nkind: Route\nname: r\nteam: support\nenvironments: {live: {targets: [{model: m@1}]}}\n"
    )
    said = CliRunner(env={"NOT_SET_HERE": None}).invoke(root, ["validate", str(path)])
    assert said.exit_code == 0
    assert said.stderr.splitlines() == [
        f"{path}:6:7: these files define no team 'suport'; did you mean `support`?",
        f"{path}:12:13: the variable NOT_SET_HERE is not set here",
        f"{path}:17:41: these files define no model version 'm@1'",
        "these are not known here; `lineclear plan` asks the server",
    ]
    as_json = CliRunner(env={"NOT_SET_HERE": "x"}).invoke(root, ["validate", str(path), "-o", "json"])
    answer = json.loads(as_json.stdout)
    assert (answer["valid"], [item["code"] for item in answer["not_known_here"]]) == (True, ["unknown_reference"] * 2)


def test_validate_fails_with_every_mistake_as_json(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("kind: Team\nname: A\n---\nkind: Taem\nname: b\n")
    said = CliRunner().invoke(root, ["validate", str(path), "-o", "json"])
    assert (said.exit_code, said.stdout) == (ExitCode.FAILURE, "")
    found = json.loads(said.stderr)["error"]["findings"]
    assert [(item["file"], item["line"], item["column"]) for item in found] == [(str(path), 2, 7), (str(path), 4, 7)]


def test_a_plan_that_was_kept_is_carried_out(terminal: Any) -> None:
    path, kept = terminal.write("kept.yaml", TEAM.format(name="kept")), str(terminal.directory / "kept.plan")
    assert terminal.run("plan", "-f", path, "--out", kept).exit_code == ExitCode.PLAN_HAS_CHANGES
    Path(path).unlink()
    done = terminal.run("apply", kept, "-o", "json", "--note", "as looked at")
    assert (done.exit_code, json.loads(done.stdout)["state"]) == (0, "applied")
    again = terminal.run("apply", kept)
    assert (again.exit_code, "no longer holds" in again.stderr) == (ExitCode.CONFLICT, True)


def test_a_plan_that_was_kept_goes_stale_when_something_else_changes(terminal: Any) -> None:
    path, kept = terminal.write("stale.yaml", TEAM.format(name="stale")), str(terminal.directory / "stale.plan")
    terminal.run("plan", "-f", path, "--out", kept)
    terminal.run("apply", "-f", terminal.write("other.yaml", TEAM.format(name="in-between")))
    refused = terminal.run("apply", kept)
    assert (refused.exit_code, "hint: look at the plan again" in refused.stderr) == (ExitCode.CONFLICT, True)
    assert terminal.run("export", "Team/stale").exit_code == ExitCode.NOT_FOUND


def test_a_kept_plan_holds_no_secret(terminal: Any) -> None:
    text = "kind: Provider\nname: p\ndialects: [openai]\nbase_url: https://p.example\ncredential: ${KEPT_KEY}\n"
    path, kept = terminal.write("secret.yaml", text), terminal.directory / "secret.plan"
    given = {"KEPT_KEY": "sk-secret-value"}
    assert terminal.run("plan", "-f", path, "--out", str(kept), environment=given).exit_code == 3
    assert "sk-secret-value" not in kept.read_text()
    assert terminal.run("apply", str(kept), environment=given).exit_code == 0


@pytest.mark.parametrize("option", ["--prune=platform", "--take-ownership", "--plan=abc"])
def test_a_kept_plan_takes_no_other_terms(terminal: Any, option: str) -> None:
    kept = terminal.directory / "terms.plan"
    kept.write_text(json.dumps({"lineclear_plan": 1}))
    assert terminal.run("apply", str(kept), option).exit_code == ExitCode.USAGE
    kept.write_text(json.dumps({"lineclear_plan": 99}))
    assert "another version" in terminal.run("apply", str(kept)).stderr


def test_drift_is_listed_and_settled(terminal: Any) -> None:
    path = terminal.write("drift.yaml", APP.format(name="drifting", concurrency=5))
    terminal.run("apply", "-f", path)
    assert terminal.run("drift").stdout == "nothing stands otherwise than files say\n"
    post(terminal, "changes", APP.format(name="drifting", concurrency=9), managed_by="console")
    said = terminal.run("drift").stdout
    assert said.splitlines()[:2] == [
        "≠ App/drifting is managed by console and stays as it is",
        "    limits.concurrency: stands 9, file says 5",
    ]
    planned = terminal.run("plan", "-f", path)
    assert (planned.exit_code, f"lineclear apply -f {path} --take-ownership" in planned.stdout) == (0, True)
    assert json.loads(terminal.run("drift", "-o", "json").stdout)["drift"][0]["managed_by"] == "console"
    taken = terminal.run("apply", "-f", path, "--take-ownership")
    assert "    managed_by: console → file" in taken.stdout
    assert terminal.run("drift").stdout == "nothing stands otherwise than files say\n"


def test_pruning_shows_what_goes(terminal: Any) -> None:
    everything = terminal.run("export").stdout
    terminal.run("apply", "-f", terminal.write("gone.yaml", TEAM.format(name="gone")))
    path = terminal.write("all.yaml", everything)
    assert "gone" not in terminal.run("plan", "-f", path, environment={"KEPT_KEY": "sk-secret-value"}).stdout
    pruned = terminal.run("plan", "-f", path, "--prune", "platform")
    assert "- Team/gone delete" in pruned.stdout.splitlines()
    assert "1 to delete" in pruned.stdout
    assert terminal.run("apply", "-f", path, "--prune", "platform").exit_code == 0
    assert terminal.run("export", "team/gone").exit_code == ExitCode.NOT_FOUND


def test_an_export_applies_back_to_an_unchanged_plan(terminal: Any) -> None:
    text = terminal.run("export").stdout
    assert "# managed by bootstrap\nkind: Team\nname: default\n" in text
    planned = terminal.run("plan", "-f", terminal.write("export.yaml", text))
    assert (planned.exit_code, "nothing to change" in planned.stdout) == (0, True)
    two = terminal.run("export", "-f", "Team/default", "App/default", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line)["kind"] for line in two] == ["Team", "App"]


def test_what_cannot_be_exported_is_told_with_the_near_one(terminal: Any) -> None:
    said = terminal.run("export", "Team/defalt")
    assert (said.exit_code, "did you mean `default`?" in said.stderr) == (ExitCode.NOT_FOUND, True)


def test_the_schema_is_served_and_printed_the_same(terminal: Any) -> None:
    printed = json.loads(CliRunner().invoke(root, ["schema"]).stdout)
    assert client_of(terminal).get("/api/v1/manifest-schema") == printed


def test_only_known_keepers_are_taken(terminal: Any) -> None:
    wrong: tuple[dict[str, Any], ...] = ({"managed_by": "bootstrap"}, {"managed_by": "console", "prune": "platform"})
    for more in wrong:
        with pytest.raises(AdminError) as caught:
            post(terminal, "plans", TEAM.format(name="x"), **more)
        assert caught.value.status == 400


def test_a_plan_has_colours_on_a_terminal_only(terminal: Any) -> None:
    words = ["plan", "-f", terminal.write("colour.yaml", TEAM.format(name="colour")), "--data", str(terminal.directory)]
    given = {"LINECLEAR_URL": None, "LINECLEAR_TOKEN": None, "NO_COLOR": None}
    assert CliRunner(env=given).invoke(root, words, color=True).stdout.startswith("\x1b[32m+ Team/colour create\x1b[0m")
    assert CliRunner(env=given).invoke(root, words).stdout.startswith("+ Team/colour create\n")
    plain = CliRunner(env={**given, "NO_COLOR": "1"}).invoke(root, words, color=True)
    assert plain.stdout.startswith("+ Team/colour create\n")


def test_a_folder_without_manifests_is_named(terminal: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no manifest")
    said = terminal.run("plan", "-f", str(tmp_path))
    assert (said.exit_code, f"no manifest file is in {tmp_path}; they end in .yaml" in said.stderr) == (2, True)
    assert "no manifest file was named" in terminal.run("plan").stderr


def test_what_goes_while_a_folder_is_searched_is_none_of_its_files(terminal: Any, tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text(TEAM.format(name="default"))
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "gone.yaml").symlink_to(tmp_path / "nowhere")
    ends = threading.Event()

    def come_and_go() -> None:
        while not ends.is_set():
            folder = tmp_path / "passing"
            folder.mkdir()
            (folder / "a.yaml").write_text("")
            (folder / "a.yaml").unlink()
            folder.rmdir()

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        for _ in range(200):
            found = find_files([tmp_path], [])
            assert found.findings == ()
            assert str(tmp_path / "team.yaml") in [file.name for file in found.files]
    finally:
        ends.set()
        other.join()


def test_standard_input_is_a_file_too(terminal: Any) -> None:
    words = ["plan", "-f", "-", "--data", str(terminal.directory), "-o", "json"]
    said = CliRunner().invoke(root, words, input=TEAM.format(name="piped"))
    assert said.exit_code == ExitCode.PLAN_HAS_CHANGES
    assert [item["name"] for item in json.loads(said.stdout)["objects"]] == ["piped"]
    wrong = CliRunner().invoke(root, ["apply", "-", "--data", str(terminal.directory)], input="kind: Team\nname: A\n")
    assert (wrong.exit_code, "  -:2:7: " in wrong.stderr) == (ExitCode.FAILURE, True)


def test_a_file_that_is_no_utf_8_says_what_it_is(terminal: Any, tmp_path: Path) -> None:
    (tmp_path / "wide.yaml").write_text("kind: Team\n", encoding="utf-16")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    said = CliRunner().invoke(root, ["validate", "-f", str(tmp_path)])
    assert "wide.yaml: the file is no text in UTF-8: it is UTF-16; save it as UTF-8" in said.stderr
    assert "latin.yaml: the file is no text in UTF-8: byte 10 is none of it; save it as UTF-8" in said.stderr
    (tmp_path / "latin.yaml").unlink()
    (tmp_path / "wide.yaml").write_bytes(b"\xef\xbb\xbfkind: Team\r\nname: wide\r\n")
    assert CliRunner().invoke(root, ["validate", "-f", str(tmp_path)]).exit_code == 0


def test_an_empty_file_is_said_to_be_empty(terminal: Any) -> None:
    path = terminal.write("empty.yaml", "---\n# Nothing yet.\n...\n")
    server = ("--data", str(terminal.directory))
    for command, more in (("plan", server), ("apply", server), ("validate", ())):
        said = CliRunner().invoke(root, [command, "-f", path, *more])
        assert (said.exit_code, f"{path} is empty: it holds no document" in said.stderr) == (0, True), command
    full = terminal.write("full.yaml", TEAM.format(name="default"))
    assert "is empty" not in terminal.run("plan", "-f", full).stderr
