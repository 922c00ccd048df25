"""Where a demo may be made: nowhere but in an empty directory, and what fails leaves nothing behind."""

import fcntl
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lineclear.base.log import LogChoice
from lineclear.compose import demo
from lineclear.compose.datadir import LOCK_FILE, UpRefused
from lineclear.compose.demo import DemoOrder, make_demo
from lineclear.compose.up import UpConfig, prepare
from lineclear.testing.clock import TestClock
from lineclear.testing.told import DAYS, SEED, UNTIL_US, Told


def make(directory: Path) -> None:
    make_demo(DemoOrder(directory, 1, SEED), TestClock(UNTIL_US), lambda _days, _requests: None)


def test_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lineclear.db").write_text("real")
    with pytest.raises(UpRefused, match=r"is not empty.*--data"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lineclear.db"]


def test_demo_is_not_made_twice(told: Told) -> None:
    with pytest.raises(UpRefused, match=r"holds a demo already; serve it with `lineclear up --data"):
        make(told.data_dir)


def test_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(UpRefused, match="no directory"):
        make(tmp_path / "data")


def test_database_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINECLEAR_DATABASE_URL", "postgresql://localhost/real")
    with pytest.raises(UpRefused, match="LINECLEAR_DATABASE_URL"):
        make(tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("was_there", [True, False])
def test_interrupted_making_leaves_nothing(tmp_path: Path, was_there: bool) -> None:
    directory = tmp_path / "data"
    if was_there:
        directory.mkdir()

    def interrupt(_days: int, _requests: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_demo(DemoOrder(directory, 3, SEED), TestClock(UNTIL_US), interrupt)
    assert directory.exists() is was_there
    assert not was_there or not any(directory.iterdir())


def test_directory_of_a_server_that_has_just_started_is_left_alone(tmp_path: Path) -> None:
    # That one holds the lock and has made nothing yet, so a look alone finds an empty directory.
    with (tmp_path / LOCK_FILE).open("w+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711\n")
        lock.flush()
        with pytest.raises(UpRefused, match="in use by process 4711"):
            make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]


def test_demo_whose_maker_was_killed_is_neither_served_nor_taken_for_a_whole_one(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    order = json.dumps({"data_dir": str(directory), "days": 30, "seed": SEED})
    command = [sys.executable, "-m", "lineclear.compose.demo", order]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout is not None
        assert "days" in json.loads(maker.stdout.readline())
        maker.send_signal(signal.SIGKILL)
    left = sorted(directory.rglob("*"))
    with pytest.raises(UpRefused, match=r"not finished.*`rm -r .*`lineclear demo --data"):
        make(directory)
    asked = UpConfig(directory, "127.0.0.1", 0, 0, 1, (), None, False, LogChoice(), 1.0)
    with pytest.raises(UpRefused, match=r"not finished.*`rm -r .*`lineclear demo --data"):
        prepare(asked)
    assert sorted(directory.rglob("*")) == left


def test_manifests_lie_in_the_directory(told: Told) -> None:
    names = {path.name for path in (told.data_dir / demo.MANIFESTS).iterdir()}
    assert names == {turn.file for turn in told.history.story.turns}
    assert len(told.reports) <= DAYS + 1
