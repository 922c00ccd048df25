"""Where a demo may be made: nowhere but in an empty directory, and what fails leaves nothing behind."""

from pathlib import Path

import pytest

from lineclear.compose import demo
from lineclear.compose.datadir import UpRefused
from lineclear.compose.demo import DemoOrder, make_demo
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


def test_manifests_lie_in_the_directory(told: Told) -> None:
    names = {path.name for path in (told.data_dir / demo.MANIFESTS).iterdir()}
    assert names == {turn.file for turn in told.history.story.turns}
    assert len(told.reports) <= DAYS + 1
