"""The control process as the supervisor starts it: told over a life socket, serving the listener it was given."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lineclear.base.log import LogChoice
from lineclear.base.secret import Secret
from lineclear.client.admin import AdminClient, Server, path_of
from lineclear.compose.control import StartRefused, apply_files, endpoints, hold_lock, open_core
from lineclear.compose.life import Boot
from lineclear.control.endpoint import Refused
from lineclear.domain.permissions import Permission

WAIT_S = 30.0
TOKEN = "lca_token-of-tests"
STATUS_BYTES = 65_536


def boot_of(directory: Path, listen_fds: tuple[int, ...], options: Mapping[str, object]) -> Boot:
    """What a supervisor would say."""
    return Boot(
        role="control",
        data_dir=directory,
        run_dir=directory / "run",
        node="local",
        boot_id="b",
        slot=0,
        life=0,
        listen_fds=listen_fds,
        master_key=bytes(32),
        log=LogChoice(),
        workers=1,
        options=options,
    )


class Control:
    """One control process on a directory."""

    def __init__(self, directory: Path, environment: Mapping[str, str], files: list[Path]) -> None:
        (directory / "run").mkdir(mode=0o700, exist_ok=True)
        (directory / "admin.token").write_text(TOKEN)
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._life, child = socket.socketpair()
        self._life.settimeout(WAIT_S)
        options = {"files": [str(path) for path in files], "admin_url": self.url, "gateway_url": ""}
        boot = boot_of(directory, (listener.fileno(),), options)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lineclear.compose.control", "--life-fd", str(child.fileno())],
            pass_fds=[child.fileno(), listener.fileno()],
            env=dict(environment),
            stderr=subprocess.DEVNULL,
        )
        child.close()
        listener.close()
        self._life.sendall(boot.to_line())
        self._said = b""

    def settle(self) -> dict[str, Any]:
        """Its first `ready` or `failed` status."""
        while True:
            while b"\n" not in self._said:
                part = self._life.recv(STATUS_BYTES)
                if not part:
                    raise EOFError("control ended without saying why")
                self._said += part
            line, self._said = self._said.split(b"\n", 1)
            status: dict[str, Any] = json.loads(line)
            if status["state"] in ("ready", "failed"):
                return status

    def client(self) -> AdminClient:
        return AdminClient(Server(self.url, Secret(TOKEN)))

    def end(self) -> int:
        """Close the life socket, as a supervisor that stops or dies does."""
        self._life.close()
        return self.process.wait(WAIT_S)


@pytest.fixture
def environment(child_environment: Mapping[str, str]) -> Mapping[str, str]:
    return child_environment


@pytest.fixture
def started(tmp_path: Path, environment: Mapping[str, str]) -> Iterator[list[Control]]:
    """Controls that were started; all end with the test."""
    controls: list[Control] = []
    yield controls
    for control in controls:
        if control.process.poll() is None:
            control.process.kill()
        control.end()


def start(started: list[Control], directory: Path, environment: Mapping[str, str], *files: Path) -> Control:
    started.append(Control(directory, environment, list(files)))
    return started[-1]


def test_first_start_later_start_and_end(
    started: list[Control], tmp_path: Path, environment: Mapping[str, str]
) -> None:
    first = start(started, tmp_path, environment)
    said = first.settle()
    assert said["state"] == "ready"
    assert said["facts"]["admin_url"] == first.url
    assert {name: key.split("_")[1] for name, key in said["facts"]["keys"].items()} == {"test": "test", "live": "live"}
    assert said["facts"]["revision"] == first.client().get(path_of("status"))["revision"]
    assert first.end() == 0
    second = start(started, tmp_path, environment)
    assert second.settle()["facts"]["keys"] is None
    assert second.end() == 0


def test_a_bad_file_stops_the_first_start_and_not_a_later_one(
    started: list[Control], tmp_path: Path, environment: Mapping[str, str]
) -> None:
    path = tmp_path / "team.yaml"
    path.write_text("kind: Team\nnme: sales\n")
    refused = start(started, tmp_path, environment, path)
    said = refused.settle()
    assert said["state"] == "failed"
    assert f"{path}:2:1: `nme` is not a field" in said["reason"]
    assert refused.process.wait(WAIT_S) == 1
    path.write_text("kind: Team\nname: sales\n")
    mended = start(started, tmp_path, environment, path)
    assert mended.settle()["facts"]["keys"] is not None
    assert mended.client().get(path_of("teams", "sales"))["name"] == "sales"
    mended.end()
    path.write_text("kind: Team\nname: sales\nlimits: {rpm: 1}\n")
    later = start(started, tmp_path, environment, path)
    said = later.settle()
    assert said["state"] == "ready"
    assert f"{path}:3:10" in said["reason"]
    assert later.end() == 0


def test_a_start_with_files_does_not_undo_what_was_changed_elsewhere(
    started: list[Control], tmp_path: Path, environment: Mapping[str, str]
) -> None:
    path = tmp_path / "team.yaml"
    path.write_text("kind: Team\nname: sales\nlimits: {concurrency: 5}\n")
    first = start(started, tmp_path, environment, path)
    first.settle()
    text = path.read_text().replace("5", "9")
    first.client().post(path_of("changes"), {"files": [{"name": "x", "text": text}], "managed_by": "console"})
    first.end()
    later = start(started, tmp_path, environment, path)
    assert later.settle()["state"] == "ready"
    assert later.client().get(path_of("teams", "sales"))["manifest"]["limits"]["concurrency"] == 9
    assert [item["object"] for item in later.client().get(path_of("drift"))["drift"]] == ["Team/sales"]
    assert later.end() == 0


def test_a_credential_that_cannot_be_sent_is_said_and_left_aside(
    started: list[Control], tmp_path: Path, environment: Mapping[str, str]
) -> None:
    path = tmp_path / "acme.yaml"
    path.write_text(
        "kind: Provider\nname: acme\ndialects: [openai]\nbase_url: https://a.example\ncredential: ${ACME_KEY}\n"
    )
    first = start(started, tmp_path, {**environment, "ACME_KEY": "good"}, path)
    assert (first.settle()["state"], first.end()) == ("ready", 0)
    later = start(started, tmp_path, {**environment, "ACME_KEY": "notügood"}, path)
    said = later.settle()
    assert (said["state"], "ACME_KEY" in said["reason"], "notügood" in str(said)) == ("ready", True, False)
    assert later.end() == 0


@pytest.mark.parametrize(("behind_proxy", "permission"), [(False, Permission.PUBLIC), (True, Permission.METRICS_READ)])
def test_metrics_are_open_on_loopback_and_closed_behind_a_proxy(
    tmp_path: Path, behind_proxy: bool, permission: Permission
) -> None:
    boot = boot_of(tmp_path, (), {"behind_proxy": behind_proxy})
    core = open_core(boot)
    permissions = {endpoint.path: endpoint.permission for endpoint in endpoints(core, boot)}
    core.ledger.close()
    core.database.close()
    assert permissions["/metrics"] is permission
    assert permissions["/api/v1/usage"] is Permission.LEDGER_READ


def test_control_that_is_killed_comes_back_with_everything(
    started: list[Control], tmp_path: Path, environment: Mapping[str, str]
) -> None:
    first = start(started, tmp_path, environment)
    first.settle()
    made = first.client().post(path_of("keys"), {"app": "default", "environment": "live"})
    first.process.kill()
    first.process.wait(WAIT_S)
    second = start(started, tmp_path, environment)
    assert second.settle()["state"] == "ready"
    assert made["id"] in {item["id"] for item in second.client().get(path_of("keys"))["keys"]}
    assert second.client().get(path_of("audit-events", "verdict"))["ok"]
    assert second.end() == 0


def test_only_one_control_holds_a_directory(tmp_path: Path) -> None:
    path = tmp_path / "control.lock"
    lock_fd = hold_lock(path, wait_s=0.0)
    with pytest.raises(StartRefused, match="held by another control process"):
        hold_lock(path, wait_s=0.0)
    os.close(lock_fd)
    os.close(hold_lock(path, wait_s=0.0))


def test_files_of_up_that_cannot_be_read_are_told_with_the_mistakes_of_the_others(tmp_path: Path) -> None:
    core = open_core(boot_of(tmp_path, (), {}))
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"kind: Team\nname: caf\xe9\n")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("kind: Team\nname: a\ncolour: red\n")
    with pytest.raises(Refused) as caught:
        apply_files(core, [latin, tmp_path / "gone.yaml", wrong])
    assert [(Path(one.file).name, one.line) for one in caught.value.findings] == [
        ("latin.yaml", 0),
        ("gone.yaml", 0),
        ("wrong.yaml", 3),
    ]
