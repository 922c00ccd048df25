"""Cards at a terminal: out as a README and as a bill, in as manifests that apply."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lineclear.base.clock import SystemClock
from lineclear.cli.main import root
from lineclear.cli.output import ExitCode
from lineclear.control.lifecycle import cards_http
from lineclear.testing.control_plane import TOKEN, ControlPlane, ServedAPI

FILE = """
kind: Provider
name: far
dialects: [openai]
base_url: https://far.example
---
kind: Model
name: tiny
owner: default
purpose: Short answers.
licence: MIT
versions: [{version: "1", provider: far, upstream_id: t, status: approved, capabilities: [tools]}]
"""


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory, terminal: Any) -> Iterator[Any]:
    directory: Path = tmp_path_factory.mktemp("cards")
    plane = ControlPlane(directory).start()
    served = ServedAPI((*plane.endpoints(), *cards_http.endpoints(plane.database, SystemClock())))
    (directory / "admin.token").write_text(TOKEN + "\n")
    (directory / "up.json").write_text(json.dumps({"admin_url": served.url}))
    typed = type(terminal)(directory)
    assert typed.run("apply", typed.write("m.yaml", FILE)).exit_code == 0
    yield typed
    served.close()
    plane.close()


def run(*words: str) -> Result:
    """A command that asks no server, and so has no --data."""
    return CliRunner().invoke(root, [*words], prog_name="lineclear")


@pytest.mark.parametrize("format_", ["card", "bom"])
def test_a_model_goes_out_and_comes_in_under_another_name(cards: Any, format_: str) -> None:
    out = cards.run("models", format_, "tiny")
    assert out.exit_code == 0, out.stderr
    file = cards.write(f"{format_}.txt", out.stdout)
    made = run("models", "import", file, "--owner", "default", "--name", f"again-{format_}")
    assert made.exit_code == 0, made.stderr
    assert "status: test" in made.stdout or "status" not in made.stdout
    assert "lineclear apply -f" in made.stderr
    applied = cards.run("apply", cards.write(f"{format_}.yaml", made.stdout))
    assert applied.exit_code == 0, applied.stderr
    shown = json.loads(cards.run("models", "show", f"again-{format_}", "-o", "json").stdout)["manifest"]
    assert (shown["purpose"], shown["licence"], shown["versions"][0]["capabilities"]) == (
        "Short answers.", "MIT", ["tools"],
    )  # fmt: skip
    assert shown["versions"][0]["status"] == "test"


def test_all_models_are_one_bill(cards: Any) -> None:
    bill = json.loads(cards.run("models", "bom", "-o", "json").stdout)
    assert {one["name"] for one in bill["components"]} >= {"tiny"}
    assert cards.run("models", "bom", "tinny").exit_code == ExitCode.NOT_FOUND
    assert cards.run("models", "card", "tinny").exit_code == ExitCode.NOT_FOUND


def test_what_cannot_be_imported_is_told(cards: Any) -> None:
    none = run("models", "import", cards.write("x.md", "# nothing"), "--owner", "default")
    assert (none.exit_code, "does not begin with metadata" in none.stderr) == (1, True)
    foreign = cards.write("y.md", "---\nlicense: mit\n---\n# Model Card for y\n\nA line.\n")
    unserved = run("models", "import", foreign, "--owner", "default")
    assert (unserved.exit_code, "either `provider`" in unserved.stderr) == (1, True)
    weights = cards.write("y.gguf", "weights")
    served = run("models", "import", foreign, "--owner", "default", "--artifact", weights)
    assert (served.exit_code, "engine: gguf" in served.stdout) == (0, True), served.stderr
    assert hashlib.sha256(b"weights").hexdigest() in served.stdout
    bill = cards.run("models", "bom").stdout
    many = json.loads(bill)
    many["components"] *= 2
    two = run("models", "import", cards.write("z.json", json.dumps(many)), "--owner", "default", "--name", "q")
    assert two.exit_code == ExitCode.USAGE
