"""A control plane on a fresh directory, closed at the end."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lineclear.testing.control_plane import ControlPlane

Open = Callable[..., ControlPlane]


@pytest.fixture
def open_plane(tmp_path: Path) -> Iterator[Open]:
    """Opens control planes on one directory, one after the other."""
    opened: list[ControlPlane] = []

    def open_one(**options: object) -> ControlPlane:
        if opened:
            opened[-1].close()
        opened.append(ControlPlane(tmp_path, **options))  # type: ignore[arg-type]  # the constructor's own options
        return opened[-1]

    yield open_one
    for plane in opened:
        plane.close()


@pytest.fixture
def plane(open_plane: Open) -> ControlPlane:
    """A started one."""
    return open_plane().start()
