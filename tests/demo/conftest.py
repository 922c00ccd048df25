"""One demo directory for all tests of the room: eight days, made in this process."""

from collections.abc import Iterator

import pytest

from lineclear.testing.told import Told, tell


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    with pytest.MonkeyPatch.context() as patch:
        # Without the bundled models: this history does not ask them.
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("xdg")))
        patch.delenv("LINECLEAR_DATABASE_URL", raising=False)
        yield tell(tmp_path_factory.mktemp("demo") / "data")
