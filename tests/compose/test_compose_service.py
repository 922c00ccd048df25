"""What a service manager hears, and a supervisor that goes on in the background."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lineclear.base.log import LogChoice
from lineclear.compose.detach import LOG_BYTES_MAX, LOG_FILE, trim_log
from lineclear.compose.notify import Notifier
from lineclear.compose.up import UpConfig

FAKE = Path(__file__).parent / "fake_supervisor.py"
WAIT_S = 30.0


def config(home: Path, **changes: Any) -> UpConfig:
    plain: dict[str, Any] = {
        "data_dir": home / "d",
        "host": "127.0.0.1",
        "port": 0,
        "admin_port": 0,
        "workers": 1,
        "files": (),
        "ready_file": None,
        "behind_proxy": False,
        "log": LogChoice(),
        "drain_s": 5.0,
    }
    return UpConfig(**{**plain, **changes})


class Manager:
    """A service manager's end: a datagram socket and what came over it."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(WAIT_S)
        self.heard: list[str] = []

    def wait_for(self, is_it: Callable[[str], bool]) -> str:
        """The next message that fits; those before it are kept."""
        while True:
            message = self.socket.recv(65536).decode()
            self.heard.append(message)
            if is_it(message):
                return message


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@lineclear-test-{os.getpid()}-{tmp_path.name}"


def test_the_manager_hears_start_signs_of_life_reload_and_stop(tmp_path: Path, address: str) -> None:
    manager = Manager(address)
    notified = config(tmp_path, ready_file=tmp_path / "ready.json", notify_socket=address, watchdog_s=0.2)
    with (tmp_path / "err").open("wb") as errors:
        process = subprocess.Popen([sys.executable, str(FAKE), notified.to_json()], stderr=errors)
    try:
        manager.wait_for(lambda said: said == "READY=1")
        assert (tmp_path / "ready.json").exists()
        assert any(said.startswith("STATUS=starting") for said in manager.heard)
        for _ in range(3):
            manager.wait_for(lambda said: said == "WATCHDOG=1")
        process.send_signal(signal.SIGHUP)
        reloading = manager.wait_for(lambda said: said.startswith("RELOADING=1"))
        sent_us = int(reloading.partition("MONOTONIC_USEC=")[2])
        assert 0 <= time.monotonic_ns() // 1000 - sent_us < WAIT_S * 1e6
        manager.wait_for(lambda said: said == "READY=1")
        process.send_signal(signal.SIGTERM)
        manager.wait_for(lambda said: said == "STOPPING=1")
        assert process.wait(WAIT_S) == 0
        assert any(said.startswith("STATUS=serving at http://127.0.0.1:") for said in manager.heard)
    finally:
        process.kill()
        process.wait()
        manager.socket.close()


def wait_for_text(path: Path, text: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while text not in path.read_text():
        assert time.monotonic() < deadline, f"waited {WAIT_S:g} s for {text!r} in {path.name}"
        time.sleep(0.01)


def test_a_reload_that_a_restart_interrupts_ends_all_the_same(tmp_path: Path) -> None:
    manager = Manager(address := str(tmp_path / "notify"))
    mute = tmp_path / "d" / "control.mute"
    notified = config(tmp_path, ready_file=tmp_path / "ready.json", notify_socket=address)
    with (tmp_path / "err").open("wb") as errors:
        process = subprocess.Popen([sys.executable, str(FAKE), notified.to_json()], stderr=errors)
    try:
        manager.wait_for(lambda said: said == "READY=1")
        mute.touch()
        process.send_signal(signal.SIGHUP)
        manager.wait_for(lambda said: said.startswith("RELOADING=1"))
        wait_for_text(tmp_path / "d" / "story", "control.0 1 started")
        # That control never becomes ready; the program is replaced while the reload waits for it.
        process.send_signal(signal.SIGUSR2)
        wait_for_text(tmp_path / "err", "this is the installed supervisor now")
        mute.unlink()
        manager.wait_for(lambda said: said == "READY=1")
        assert "control.0 2 ready" in (tmp_path / "d" / "story").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    finally:
        process.kill()
        process.wait()
        manager.socket.close()


def test_a_manager_that_is_gone_or_none_at_all_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Notifier(str(tmp_path / "nobody")).tell("READY=1")
    assert "could not be told" in caplog.text
    caplog.clear()
    Notifier("").tell("READY=1")
    assert caplog.text == ""


def holder(data_dir: Path) -> int:
    return int((data_dir / "supervisor.lock").read_text().strip() or 0)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    lock = tmp_path / "d" / "supervisor.lock"
    if lock.exists() and lock.read_text().strip():
        pid = holder(tmp_path / "d")
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline and Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGTERM)
            time.sleep(0.05)


def run(one: UpConfig) -> "subprocess.CompletedProcess[str]":
    """To the end of the process at the terminal; its pipes would stay open if the other one held on to them."""
    command = [sys.executable, str(FAKE), one.to_json()]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)


def test_detached_it_returns_when_ready_and_goes_on_with_its_log_in_the_data_directory(home: Path) -> None:
    done = run(config(home, is_detached=True))
    assert (done.returncode, done.stderr) == (0, "")
    assert "Lineclear is ready." in done.stdout
    assert "lc_test_x" in done.stdout
    assert f"Its log is {home / 'd' / LOG_FILE}." in done.stdout
    pid = holder(home / "d")
    assert os.getsid(pid) == pid
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")
    lines = [json.loads(line) for line in (home / "d" / LOG_FILE).read_text().splitlines()]
    assert {"part": "gateway.0", "message": "ready"}.items() <= max(
        lines, key=lambda line: line.get("part") == "gateway.0" and line["message"] == "ready"
    ).items()
    assert (home / "d" / LOG_FILE).stat().st_mode & 0o077 == 0


def test_detached_with_a_ready_file_the_facts_are_there_when_it_returns(home: Path) -> None:
    done = run(config(home, is_detached=True, ready_file=home / "ready.json"))
    assert (done.returncode, done.stdout) == (0, "")
    assert json.loads((home / "ready.json").read_text())["pid"] == holder(home / "d")


def test_detached_a_start_that_fails_says_why_at_the_terminal(home: Path) -> None:
    refused = run(config(home, is_detached=True, host="192.0.2.1"))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "--behind-proxy" in refused.stderr
    (home / "d").mkdir()
    (home / "d" / "control.fail").write_text("a.yaml:1:1: nonsense")
    failed = run(config(home, is_detached=True))
    assert failed.returncode == 1
    assert "a.yaml:1:1: nonsense" in failed.stderr


def test_a_log_that_is_too_long_is_moved_aside_under_its_writers(tmp_path: Path) -> None:
    path = tmp_path / LOG_FILE
    with path.open("ab") as writer:
        writer.truncate(LOG_BYTES_MAX + 1)
        trim_log(tmp_path)
        assert path.stat().st_size == 0
        assert path.with_name(LOG_FILE + ".1").stat().st_size == LOG_BYTES_MAX + 1
        writer.write(b"next\n")
        writer.flush()
        trim_log(tmp_path)
    assert path.read_bytes() == b"next\n"
    trim_log(tmp_path / "elsewhere")
