"""A platform whose console is visited over plain HTTP."""

from collections.abc import Iterator, Mapping

import pytest

from lineclear.testing.console_visitor import Visitor
from lineclear.testing.platform import Platform


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Platform]:
    """One for all tests of a file, with `simulated` alone."""
    with Platform(tmp_path_factory.mktemp("console"), environment=child_environment) as made:
        yield made


@pytest.fixture(scope="module")
def visitor(platform: Platform) -> Visitor:
    """Signed in with the link of the ready file."""
    visitor = Visitor(str(platform.facts["console_url"]))
    visitor.sign_in()
    return visitor
