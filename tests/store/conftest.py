"""A database of each kind that we support, fresh for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lineclear.store.database import Database
from lineclear.testing.postgres import PostgresCluster


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        opened = Database.open(tmp_path / "a file.db")
    else:
        cluster: PostgresCluster = request.getfixturevalue("postgres")
        opened = Database.open(cluster.fresh_url())
    yield opened
    opened.close()
