"""The real supervisor, as a process of its own, over the small roles of fake_roles.py."""

import importlib.util
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lineclear.base.log import LogChoice
from lineclear.compose.child import HANDED_NAMES, HANDED_PREFIXES, start_ticks
from lineclear.compose.up import UpConfig

HERE = Path(__file__).parent
WAIT_S = 30.0


def wait_until(is_so: Callable[[], Any], what: str, limit_s: float = WAIT_S) -> Any:
    """Asks until the answer is true, and returns it; a limit fails the test with what was waited for."""
    deadline = time.monotonic() + limit_s
    while not (answer := is_so()):
        assert time.monotonic() < deadline, f"waited {limit_s:g} s for {what}"
        time.sleep(0.01)
    return answer


@dataclass
class Running:
    """A supervisor process and its data directory."""

    process: subprocess.Popen[bytes]
    data_dir: Path
    ready_file: Path

    def ready(self) -> dict[str, Any]:
        wait_until(lambda: self.ready_file.exists() or self.process.poll() is not None, "the ready file")
        assert self.process.poll() is None, self.errors()
        return dict(json.loads(self.ready_file.read_text()))

    def state(self) -> dict[str, Any]:
        return dict(json.loads((self.data_dir / "run" / "state.json").read_text()))

    def parts(self, name: str) -> list[dict[str, Any]]:
        return [dict(part) for part in self.state()["parts"] if part["name"] == name]

    def part(self, name: str) -> dict[str, Any]:
        (part,) = self.parts(name)
        return part

    def story(self) -> list[str]:
        return (self.data_dir / "story").read_text().splitlines()

    def errors(self) -> str:
        return (self.data_dir.parent / "stderr").read_text()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)

    def ask(self, line: bytes = b"who\n") -> tuple[int, int]:
        """The life and pid of the gateway that answers a new connection."""
        port = int(self.ready()["gateway_url"].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as connection:
            connection.sendall(line)
            life, pid = connection.makefile().readline().split()
            return int(life), int(pid)


class Launcher:
    """Starts supervisors and ends them all."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data_dir = home / "d"
        self.started: list[Running] = []

    def config(self, **changes: Any) -> UpConfig:
        plain: dict[str, Any] = {
            "data_dir": self.data_dir,
            "host": "127.0.0.1",
            "port": 0,
            "admin_port": 0,
            "workers": 1,
            "files": (),
            "ready_file": self.home / "ready.json",
            "behind_proxy": False,
            "log": LogChoice("json", "debug"),
            "drain_s": 5.0,
        }
        return UpConfig(**{**plain, **changes})

    def start(self, variables: Mapping[str, str] | None = None, **changes: Any) -> Running:
        config = self.config(**changes)
        self.data_dir.mkdir(exist_ok=True)
        with (self.home / "stderr").open("ab") as errors, (self.home / "stdout").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, str(HERE / "fake_supervisor.py"), config.to_json()],
                stderr=errors,
                stdout=output,
                env={**os.environ, **(variables or {})},
            )
        running = Running(process, self.data_dir, config.ready_file or self.home / "none")
        self.started.append(running)
        return running

    def end_all(self) -> None:
        for running in self.started:
            children = [part["pid"] for part in running.state()["parts"]] if self.has_state() else []
            running.process.kill()
            running.process.wait()
            for pid in filter(None, children):
                try:
                    os.killpg(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def has_state(self) -> bool:
        return (self.data_dir / "run" / "state.json").exists()


@pytest.fixture
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    # A short path: the run directory stays inside the data directory.
    home = tmp_path_factory.getbasetemp().parent / f"s{os.urandom(3).hex()}"
    home.mkdir()
    launcher = Launcher(home)
    yield launcher
    launcher.end_all()


@pytest.fixture(scope="session")
def fake_roles() -> ModuleType:
    """The fakes' module, for its `publish`."""
    spec = importlib.util.spec_from_file_location("fake_roles", HERE / "fake_roles.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_first_start_brings_up_all_parts_and_writes_private_facts(launcher: Launcher) -> None:
    running = launcher.start(workers=2)
    facts = running.ready()
    data_dir = running.data_dir
    assert facts["keys"] == {"test": "lc_test_x", "live": "lc_live_x"}
    assert facts["degraded"] == []
    assert facts["console_url"] is None
    assert facts["pid"] == running.process.pid
    assert facts["admin_token"] == (data_dir / "admin.token").read_text().strip()
    assert facts["admin_url"].startswith("http://127.0.0.1:")
    for path in (running.ready_file, data_dir / "admin.token", data_dir / "master.key", data_dir / "up.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    names = {part["name"] for part in running.state()["parts"]}
    assert names == {"control", "accountant", "gateway.0", "gateway.1", "runtime.simulated"}
    up = json.loads((data_dir / "up.json").read_text())
    assert (up["pid"], up["admin_url"]) == (facts["pid"], facts["admin_url"])


def test_only_control_is_given_what_the_environment_keeps_secret(launcher: Launcher) -> None:
    secret = {"ACME_KEY": "sk-1", "LINECLEAR_DATABASE_URL": "postgresql://u:p@h/d", "LINECLEAR_TOKEN": "t"}
    plain = {"LC_TIME": "C", "TZ": "UTC", "TMPDIR": "/tmp", "SSL_CERT_FILE": "/etc/ca.pem", "PYTHONUTF8": "1"}
    running = launcher.start({**secret, **plain})
    running.ready()
    given = {role: given_to(running, role) for role in ("control", "accountant", "gateway", "runtime")}
    assert given["control"].items() >= {**secret, **plain}.items()
    for role in ("accountant", "gateway", "runtime"):
        assert given[role].items() >= {**plain, "PATH": os.environ["PATH"]}.items()
        allowed = given[role].keys() - HANDED_NAMES
        assert all(name.startswith(HANDED_PREFIXES) for name in allowed), allowed
        assert not given[role].keys() & secret.keys()


def given_to(running: Running, role: str) -> dict[str, str]:
    return dict(json.loads((running.data_dir / f"{role}.variables").read_text()))


def test_second_start_keeps_token_and_key_and_shows_no_keys(launcher: Launcher) -> None:
    first = launcher.start()
    token = first.ready()["admin_token"]
    master_key = (first.data_dir / "master.key").read_text()
    assert first.stop() == 0
    second = launcher.start()
    assert second.ready()["admin_token"] == token
    assert second.ready()["keys"] is None
    assert (second.data_dir / "master.key").read_text() == master_key


def test_stop_drains_gateways_first_and_control_last_and_leaves_no_sign(launcher: Launcher) -> None:
    running = launcher.start()
    running.ready()
    pids = [part["pid"] for part in running.state()["parts"]]
    assert running.stop() == 0
    left = [line.split()[0] for line in running.story() if line.endswith("left")]
    assert left == ["gateway.0", "runtime.0", "accountant.0", "control.0"]
    assert not (running.data_dir / "up.json").exists()
    assert not running.ready_file.exists()
    for pid in pids:
        assert start_ticks(pid) is None


def test_without_ready_file_the_facts_are_printed_for_a_person(launcher: Launcher) -> None:
    running = launcher.start(ready_file=None)
    output = wait_until((launcher.home / "stdout").read_text, "the printed facts")
    assert "Lineclear is ready" in output
    assert "lc_test_x" in output
    assert (running.data_dir / "admin.token").read_text().strip() not in output


@pytest.mark.parametrize("name", ["gateway.0", "control", "accountant", "runtime.simulated"])
def test_killed_part_comes_back_with_a_new_life(launcher: Launcher, name: str) -> None:
    running = launcher.start()
    running.ready()
    before = running.part(name)
    os.kill(before["pid"], signal.SIGKILL)
    wait_until(lambda: running.part(name)["state"] == "ready" and running.part(name)["pid"] != before["pid"], name)
    assert running.part(name)["life"] == before["life"] + 1
    assert '"killed by SIGKILL"' in running.errors()


def test_connection_made_while_its_worker_is_dead_is_answered_by_the_next(launcher: Launcher) -> None:
    running = launcher.start()
    _, pid = running.ask()
    os.kill(pid, signal.SIGKILL)
    assert running.ask()[0] == 1


def test_part_that_keeps_failing_is_listed_as_degraded(launcher: Launcher) -> None:
    launcher.start().ready()
    launcher.started[0].stop()
    (launcher.data_dir / "control.fail").write_text("no database")
    running = launcher.start()
    facts = running.ready()
    assert facts["degraded"] == ["control"]
    assert facts["admin_url"] is None
    assert facts["keys"] is None
    assert running.part("control")["failures"] >= 3
    assert running.ask()[0] == 0


def test_first_start_that_control_refuses_says_why_and_ends(launcher: Launcher) -> None:
    launcher.data_dir.mkdir()
    (launcher.data_dir / "control.fail").write_text("shop.yaml:3:5: unknown field 'modle'")
    running = launcher.start()
    assert running.process.wait(WAIT_S) == 1
    last = running.errors().splitlines()[-1]
    assert last == "lineclear: control could not start: shop.yaml:3:5: unknown field 'modle'"


def test_held_data_directory_names_the_holder(launcher: Launcher) -> None:
    first = launcher.start()
    first.ready()
    second = launcher.start(ready_file=None)
    assert second.process.wait(WAIT_S) == 1
    assert f"in use by process {first.process.pid}" in second.errors()
    assert first.ask()[0] == 0


def test_busy_port_is_an_error_also_when_its_holder_shares_ports(launcher: Launcher) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        running = launcher.start(port=port)
        assert running.process.wait(WAIT_S) == 1
    assert f"port {port} on 127.0.0.1 is taken" in running.errors()
    assert "--port" in running.errors()


def test_host_that_others_can_reach_needs_a_proxy(launcher: Launcher) -> None:
    running = launcher.start(host="0.0.0.0")
    assert running.process.wait(WAIT_S) == 1
    assert "--behind-proxy" in running.errors()


def test_runtimes_follow_the_snapshot(launcher: Launcher, fake_roles: ModuleType) -> None:
    running = launcher.start()
    running.ready()
    before = running.part("runtime.simulated")
    spec: dict[str, object] = {"name": "simulated", "model": "simulated@2"}
    fake_roles.publish(running.data_dir, 2, [spec, {"name": "small", "model": "small@1"}])
    wait_until(lambda: [part["state"] for part in running.parts("runtime.small")] == ["ready"], "the new runtime")
    wait_until(
        lambda: [part["life"] for part in running.parts("runtime.simulated")] == [before["life"] + 1],
        "the changed runtime's successor",
    )
    # A lower revision changes nothing; the next higher one does.
    fake_roles.publish(running.data_dir, 1, [])
    fake_roles.publish(running.data_dir, 3, [spec])
    wait_until(lambda: not running.parts("runtime.small"), "the removed runtime to leave")
    assert running.part("runtime.simulated")["state"] == "ready"


def test_rolling_restart_replaces_every_process_and_loses_no_connection(launcher: Launcher) -> None:
    running = launcher.start(workers=2)
    running.ready()
    before = {part["name"]: part["pid"] for part in running.state()["parts"]}
    stop = threading.Event()
    answers: list[tuple[int, int]] = []
    failures: list[BaseException] = []

    def call() -> None:
        while not stop.is_set():
            try:
                answers.append(running.ask(b"slow\n" if len(answers) % 50 == 0 else b"who\n"))
            except (OSError, ValueError) as error:
                failures.append(error)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    running.process.send_signal(signal.SIGUSR2)
    try:
        wait_until(lambda: running.state()["restart"]["done"] == 1, "the rolling restart")
        wait_until(lambda: any(life == 1 for life, _ in list(answers)), "an answer of a process that was started anew")
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert failures == []
    assert {life for life, _ in answers} == {0, 1}
    after = {part["name"]: part["pid"] for part in running.state()["parts"] if part["state"] == "ready"}
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    assert running.state()["restart"]["error"] == ""
    assert running.state()["supervisor"] == running.process.pid
    assert "this is the installed supervisor now" in running.errors()
    assert running.stop() == 0


def test_successor_that_does_not_start_leaves_the_old_process_in_place(launcher: Launcher) -> None:
    running = launcher.start()
    running.ready()
    before = running.part("gateway.0")
    (running.data_dir / "gateway.fail").write_text("bad build")
    running.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: running.state()["restart"]["done"] == 1, "the rolling restart to give up")
    assert "bad build" in running.state()["restart"]["error"]
    assert running.ask() == (before["life"], before["pid"])


def test_children_of_a_killed_supervisor_leave_and_the_next_start_waits_for_them(launcher: Launcher) -> None:
    first = launcher.start()
    pids = [first.part(name)["pid"] for name in ("control", "accountant", "gateway.0") if first.ready()]
    first.process.kill()
    first.process.wait()
    second = launcher.start()
    wait_until(lambda: not second.ready_file.exists() or second.ready()["pid"] == second.process.pid, "the old facts")
    assert second.ready()["pid"] == second.process.pid
    for pid in pids:
        assert start_ticks(pid) is None


def test_second_stop_signal_kills_what_does_not_leave(launcher: Launcher) -> None:
    running = launcher.start(drain_s=60.0)
    running.ready()
    pid = running.part("gateway.0")["pid"]
    os.kill(pid, signal.SIGSTOP)
    running.process.send_signal(signal.SIGTERM)
    wait_until(lambda: running.state()["stopping"], "the first signal to be taken")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(WAIT_S) == 1
    assert start_ticks(pid) is None


def test_long_data_path_gets_a_short_private_run_directory(launcher: Launcher) -> None:
    launcher.data_dir = launcher.home / ("long-" * 12)
    running = launcher.start()
    running.ready()
    run_dir = Path((running.data_dir / "run.path").read_text().strip())
    assert len(str(run_dir)) <= 49
    assert stat.S_IMODE(run_dir.stat().st_mode) == 0o700
    assert (run_dir / "state.json").exists()
    assert running.stop() == 0


def lineclear(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lineclear", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)


def test_command_restart_waits_until_every_process_is_new(launcher: Launcher) -> None:
    running = launcher.start()
    running.ready()
    before = {part["pid"] for part in running.state()["parts"]}
    done = lineclear("restart", "--data", str(running.data_dir))
    assert (done.returncode, "every process is new" in done.stderr) == (0, True), done.stderr
    assert not before & {part["pid"] for part in running.state()["parts"] if part["state"] == "ready"}


def test_command_restart_says_what_was_not_replaced(launcher: Launcher) -> None:
    running = launcher.start()
    running.ready()
    (running.data_dir / "gateway.fail").write_text("bad build")
    done = lineclear("restart", "--data", str(running.data_dir))
    assert done.returncode == 1
    assert "successor of gateway.0 did not become ready" in done.stderr
    assert "bad build" in done.stderr


def test_command_down_waits_until_the_directory_is_free(launcher: Launcher) -> None:
    running = launcher.start()
    running.ready()
    done = lineclear("down", "--data", str(running.data_dir))
    assert done.returncode == 0, done.stderr
    assert running.process.wait(WAIT_S) == 0
    again = lineclear("down", "--data", str(running.data_dir))
    assert (again.returncode, "nothing runs" in again.stderr) == (0, True)


def test_command_down_now_cuts_what_does_not_leave(launcher: Launcher) -> None:
    running = launcher.start(drain_s=60.0)
    running.ready()
    os.kill(running.part("gateway.0")["pid"], signal.SIGSTOP)
    done = lineclear("down", "--now", "--data", str(running.data_dir))
    assert done.returncode == 0, done.stderr
    assert running.process.wait(WAIT_S) == 1


def test_hangup_gives_control_its_files_again_and_nobody_else_notices(launcher: Launcher) -> None:
    running = launcher.start()
    running.ready()
    gateway = running.part("gateway.0")["pid"]
    running.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: [(part["life"], part["state"]) for part in running.parts("control")] == [(1, "ready")], "a new control"
    )
    assert running.part("gateway.0")["pid"] == gateway
    story = [line for line in running.story() if line.startswith("control.0")]
    assert story == [
        "control.0 0 started",
        "control.0 0 ready",
        "control.0 0 left",
        "control.0 1 started",
        "control.0 1 ready",
    ]


def test_restart_asked_during_a_restart_is_done_after_it(launcher: Launcher) -> None:
    running = launcher.start()
    running.ready()
    running.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: running.state()["restart"]["asked"] == 1, "the first restart to begin")
    wait_until(lambda: len(running.parts("gateway.0")) == 2, "the first successor")
    running.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: running.state()["restart"]["done"] == 2, "both restarts")
    assert running.part("gateway.0")["life"] == 2
    assert running.state()["restart"] == {"asked": 2, "done": 2, "error": ""}


def test_hangup_during_a_restart_is_done_after_it_and_leaves_one_control(launcher: Launcher) -> None:
    running = launcher.start()
    running.ready()
    running.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: len(running.parts("control")) == 2, "the successor of control")
    for _ in range(3):
        running.process.send_signal(signal.SIGHUP)
    wait_until(lambda: running.state()["restart"]["done"] == 1, "the restart")
    # A control that was begun before the signal may have read older files.
    wait_until(lambda: "control.0 2 ready" in running.story(), "a control that began after the signal")
    wait_until(lambda: [part["state"] for part in running.parts("control")] == ["ready"], "one control alone")
    begun = {line.split()[1] for line in running.story() if line.startswith("control.0") and "started" in line}
    left = {line.split()[1] for line in running.story() if line.startswith("control.0") and "left" in line}
    assert begun - left == {str(running.part("control")["life"])}
    assert running.state()["restart"]["error"] == ""
    assert running.stop() == 0
