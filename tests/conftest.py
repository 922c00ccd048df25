"""What tests of several rooms share: the form of the run, a clean environment for child processes, ledger and spool."""

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lineclear.store.database import Database
from lineclear.store.ledger import Ledger
from lineclear.testing.postgres import PostgresCluster
from lineclear.testing.records import Spool

FULL = os.environ.get("LINECLEAR_TEST_FULL") == "1"
"""The long forms: 200 kills, a control that is away for 60 s. `make test-full` sets it."""

# A shell that starts the run in the background has it ignore Ctrl-C, and so would every command that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def full_form() -> bool:
    """True where the long forms are asked for."""
    return FULL


@pytest.fixture(scope="session")
def store_environment() -> Mapping[str, str]:
    """This process's environment without settings of the product; the person's own model store is in reach."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LINECLEAR_")}


@pytest.fixture(scope="session")
def child_environment(
    store_environment: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, str]:
    """The same with an empty model store: only `simulated` is served, so that starts are quick."""
    return {**store_environment, "XDG_DATA_HOME": str(tmp_path_factory.mktemp("xdg"))}


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresCluster]:
    """One cluster for the run; each test takes a database of its own."""
    with PostgresCluster() as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """A fresh ledger of each kind that we support."""
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
    """A fresh spool with living writers."""
    opened = Spool(tmp_path / "spool")
    yield opened
    opened.close()
