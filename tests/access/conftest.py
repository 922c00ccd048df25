"""An admin port with two teams, and people and service accounts who sign in as they would."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lineclear.testing.access_house import AccessHouse


@pytest.fixture
def house(tmp_path: Path) -> Iterator[AccessHouse]:
    """A fresh one per test: grants are what is tested."""
    made = AccessHouse(tmp_path)
    yield made
    made.close()
