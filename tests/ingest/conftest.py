"""A ledger of each kind that we support, and a spool."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lineclear.store.database import Database
from lineclear.store.ledger import Ledger
from lineclear.testing.postgres import PostgresCluster
from lineclear.testing.records import Spool


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    with PostgresCluster() as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    if request.param == "sqlite":
        opened = Ledger.open(tmp_path / "ledger")
        yield opened
        opened.close()
    else:
        cluster: PostgresCluster = request.getfixturevalue("postgres")
        database = Database.open(cluster.fresh_url())
        yield Ledger.open(database)
        database.close()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool")
    yield opened
    opened.close()
