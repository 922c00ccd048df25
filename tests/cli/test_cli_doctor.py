"""`lineclear doctor`: what it finds broken, what it says to do, what it repairs, and what its bundle leaves out."""

import json
import os
import socket
import sqlite3
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lineclear.cli.checkup.bundle import REDACTED, redacted
from lineclear.cli.main import root
from lineclear.cli.output import ExitCode
from lineclear.testing.control_plane import MASTER_KEY, ControlPlane


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory of a platform that was stopped."""
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    plane = ControlPlane(directory).start()
    plane.close()
    for name, text in (("master.key", MASTER_KEY.hex()), ("admin.token", "lca_" + "t" * 20)):
        (directory / name).write_text(text + "\n")
        (directory / name).chmod(0o600)
    return directory


def doctor(directory: Path, *words: str, **environment: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Exit code, and findings by check."""
    # The last is the suite's own switch, which nothing of the product reads.
    names = ("LINECLEAR_URL", "LINECLEAR_TOKEN", "LINECLEAR_DATA", "LINECLEAR_TEST_FULL")
    unset: dict[str, str | None] = dict.fromkeys(names)
    free = {"LINECLEAR_PORT": "0", "LINECLEAR_ADMIN_PORT": "0"}
    runner = CliRunner(env={**unset, **free, **environment})
    done = runner.invoke(root, ["doctor", "--data", str(directory), "-o", "json", *words])
    found: dict[str, list[dict[str, Any]]] = {}
    for item in json.loads(done.stdout)["findings"]:
        found.setdefault(item["check"], []).append(item)
    return done.exit_code, found


def failures(found: dict[str, list[dict[str, Any]]]) -> list[str]:
    return [item["what"] for items in found.values() for item in items if item["level"] == "failure"]


def test_a_directory_that_is_well_has_no_failure(data: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*") if path.is_file()}
    code, found = doctor(data)
    assert (code, failures(found)) == (0, [])
    assert {"versions", "settings", "clock", "disk", "ports", "models", "directory", "secrets", "locks", "database",
            "master key", "spool", "control", "providers"} <= set(found)  # fmt: skip
    assert "opens and stands at control_" in found["database"][0]["what"]
    assert "opens the snapshot, revision" in found["master key"][0]["what"]
    after = {path: path.stat().st_mtime_ns for path in data.rglob("*") if path.is_file()}
    assert before == {path: at for path, at in after.items() if path in before}


def test_no_directory_yet_is_no_failure(tmp_path: Path) -> None:
    code, found = doctor(tmp_path / "none")
    assert (code, failures(found)) == (0, [])


def test_every_failure_says_why_and_what_next(data: Path) -> None:
    (data / "master.key").write_text("nonsense")
    (data / "lineclear.db").write_bytes(b"this is no database at all" * 100)
    data.chmod(0o755)
    code, found = doctor(data)
    assert code == ExitCode.FAILURE
    bad = [item for items in found.values() for item in items if item["level"] == "failure"]
    assert {item["check"] for item in bad} == {"master key", "database", "directory"}
    assert all(item["why"] and item["next"] for item in bad)


def test_permissions_are_repaired_on_request(data: Path) -> None:
    data.chmod(0o755)
    (data / "admin.token").chmod(0o644)
    code, found = doctor(data)
    assert (code, [item["can_fix"] for item in found["directory"]]) == (ExitCode.FAILURE, [True])
    code, found = doctor(data, "--fix")
    assert (code, failures(found)) == (0, [])
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert stat.S_IMODE((data / "admin.token").stat().st_mode) == 0o600


def test_a_master_key_of_another_directory_is_found_out(data: Path) -> None:
    (data / "master.key").write_text("ab" * 32)
    code, found = doctor(data)
    assert code == ExitCode.FAILURE
    assert "another master key" in found["snapshot"][0]["what"]


def test_a_missing_master_key_is_told_before_a_start_makes_a_new_one(data: Path) -> None:
    (data / "master.key").unlink()
    code, found = doctor(data)
    assert (code, "is missing" in found["master key"][0]["what"]) == (ExitCode.FAILURE, True)


def test_a_database_of_a_newer_program_and_an_older_one(data: Path) -> None:
    def stand_at(revision: str) -> None:
        with sqlite3.connect(data / "lineclear.db") as connection:
            connection.execute("UPDATE control_version SET version_num = ?", (revision,))
        connection.close()

    stand_at("control_9999")
    code, found = doctor(data)
    assert (code, "does not know" in found["database"][0]["what"]) == (ExitCode.FAILURE, True)
    stand_at("control_0001")
    code, found = doctor(data)
    assert (code, found["database"][0]["level"]) == (0, "warning")
    assert "the next start brings it up to date" in found["database"][0]["why"]


def test_a_busy_port_is_told_with_its_number(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        code, found = doctor(data, LINECLEAR_PORT=port)
    assert code == ExitCode.FAILURE
    assert f"data port {port} cannot be taken: Address already in use" in failures(found)


def test_the_callers_key_of_the_guides_is_no_mistake(data: Path) -> None:
    code, found = doctor(data, LINECLEAR_KEY="lc_test_x")
    assert (code, found["settings"][0]["level"]) == (0, "ok")


def test_a_variable_that_nothing_reads_is_told(data: Path) -> None:
    code, found = doctor(data, LINECLEAR_TOKN="x")
    assert (code, found["settings"][0]["level"]) == (0, "warning")
    assert found["settings"][0]["next"].startswith("is LINECLEAR_TOKEN meant?")


def test_people_read_why_and_what_next_below_each_finding(data: Path) -> None:
    data.chmod(0o755)
    done = CliRunner(env={"LINECLEAR_PORT": "0", "LINECLEAR_ADMIN_PORT": "0"}).invoke(
        root, ["doctor", "--data", str(data)]
    )
    assert done.exit_code == ExitCode.FAILURE
    lines = done.stdout.splitlines()
    at = lines.index(f"✗ directory: {data} can be read by others (mode 755)")
    assert lines[at + 1 : at + 3] == [
        "    why:  it holds credentials, or what opens them",
        f"    next: chmod 700 {data}",
    ]
    assert " 1 failure" in done.stderr


def test_a_running_server_is_looked_at_too(terminal: Any) -> None:
    facts = json.loads((terminal.directory / "up.json").read_text())
    words = ["--url", facts["admin_url"], "--token", "token-of-tests"]
    _, found = doctor(terminal.directory, *words)
    assert found["control"][0]["level"] == "ok"
    assert facts["admin_url"] in found["control"][0]["what"]
    (terminal.directory / "run").mkdir(exist_ok=True)
    state = terminal.directory / "run" / "state.json"
    part = {"name": "gateway.0", "state": "down", "failures": 3, "last_end": "exit code 1", "reason": ""}
    state.write_text(json.dumps({"parts": [part]}))
    code, found = doctor(terminal.directory, *words)
    state.unlink()
    assert (code, "gateway.0 is down: exit code 1" in failures(found)) == (ExitCode.FAILURE, True)


def test_a_bundle_holds_what_a_report_needs_and_no_secret(terminal: Any, tmp_path: Path) -> None:
    facts = json.loads((terminal.directory / "up.json").read_text())
    file = tmp_path / "report.tar.gz"
    secret = "lca_" + "s" * 30
    words = ["--url", facts["admin_url"], "--token", "token-of-tests", "--bundle", str(file)]
    doctor(terminal.directory, *words, LINECLEAR_DATABASE_URL="", LINECLEAR_ROOT_PATH=f"/x/{secret}")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with tarfile.open(file) as archive:
        found = {Path(member.name).name: archive.extractfile(member).read().decode() for member in archive}  # type: ignore[union-attr]  # each is a file
    assert {"findings.json", "settings.json", "files.json", "status.json", "providers.json"} <= set(found)
    everything = "".join(found.values())
    assert secret not in everything
    assert (terminal.directory / "admin.token").read_text().strip() not in everything
    assert json.loads(found["status.json"])["version"]
    again = CliRunner().invoke(root, ["doctor", "--data", str(terminal.directory), *words])
    assert (again.exit_code, "cannot be written" in again.stderr) == (ExitCode.FAILURE, True)


@pytest.mark.parametrize(
    "text",
    [
        "sk-proj-0123456789",
        "lc_live_abcdefgh_xyz",
        "postgresql://me:hunter2@db/x",
        "Bearer abc.def",
        "lca_0123456789ab",
    ],
)
def test_what_looks_like_a_key_is_not_told(text: str) -> None:
    assert text not in json.dumps(redacted({"reason": f"it said {text} there"}))
    assert redacted({"admin_token": "x", "keys": 3, "name": "fine"}) == {
        "admin_token": REDACTED, "keys": 3, "name": "fine",
    }  # fmt: skip


def test_a_directory_of_somebody_else_is_told(data: Path) -> None:
    # Only root can give a directory away; for anybody else the root of the file system is somebody else's.
    other = data if os.geteuid() == 0 else Path("/")
    if other == data:
        os.chown(data, 12345, -1)
    code, found = doctor(other)
    assert (code, "belongs to user id" in found["directory"][0]["what"]) == (ExitCode.FAILURE, True)
