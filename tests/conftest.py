"""What tests of several rooms share: the form of the run, and a clean environment for child processes."""

import os
from collections.abc import Mapping

import pytest

FULL = os.environ.get("LINECLEAR_TEST_FULL") == "1"
"""The long forms: 200 kills, a control that is away for 60 s. `make test-full` sets it."""


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
