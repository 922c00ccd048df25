"""A control plane with its admin API on a real loopback port."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lineclear.testing.control_plane import ControlPlane, ServedAPI


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One for all tests of a file."""
    directory: Path = tmp_path_factory.mktemp("plane")
    made = ControlPlane(directory).start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def served(plane: ControlPlane) -> Iterator[ServedAPI]:
    """Its admin port."""
    made = ServedAPI(plane.endpoints())
    yield made
    made.close()
