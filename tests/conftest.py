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
def child_environment() -> Mapping[str, str]:
    """This process's environment without settings of the product."""
    return {name: value for name, value in os.environ.items() if not name.startswith("LINECLEAR_")}
