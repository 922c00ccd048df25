"""A served control plane and a way to type commands at it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lineclear.cli.main import root
from lineclear.testing.control_plane import TOKEN, ControlPlane, ServedAPI


class Terminal:
    """Types commands that find the server by their data directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, *words: str, environment: dict[str, str | None] | None = None) -> Result:
        """Run `lineclear …`, with --data added."""
        unset: dict[str, str | None] = {"LINECLEAR_URL": None, "LINECLEAR_TOKEN": None, "LINECLEAR_DATA": None}
        runner = CliRunner(env={**unset, **(environment or {})})
        return runner.invoke(root, [*words, "--data", str(self.directory)], prog_name="lineclear")

    def write(self, name: str, text: str) -> str:
        """A manifest file in the directory; its path."""
        path = self.directory / name
        path.write_text(text)
        return str(path)


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """One server for all tests of a file."""
    directory = tmp_path_factory.mktemp("data")
    plane = ControlPlane(directory).start()
    served = ServedAPI(plane.endpoints())
    (directory / "admin.token").write_text(TOKEN + "\n")
    (directory / "up.json").write_text(json.dumps({"admin_url": served.url}))
    yield Terminal(directory)
    served.close()
    plane.close()
