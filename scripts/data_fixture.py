"""Writes a small data directory with this version of the program, for the tests of later versions to open.

In: the target folder. Out: `data/` as a stopped platform left it, and `facts.json` with what must still be true.
Run once per released version: `.venv/bin/python scripts/data_fixture.py tests/fixtures/data-<version>`.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from lineclear import __version__
from lineclear.config.settings import process_environment
from lineclear.testing import manifests
from lineclear.testing.load import Call, chat_call, messages_call
from lineclear.testing.stage import Stage, one_call

NOT_KEPT = ("run", "supervisor.lock", "control.lock", "up.json")
"""What belongs to a running platform and not to its data."""


def main() -> int:
    """Make the fixture; returns the exit code."""
    target = Path(sys.argv[1])
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="lineclear-fixture-") as name:
        directory = Path(name)
        environment = {**process_environment(), "XDG_DATA_HOME": str(directory / "xdg")}
        with Stage(directory, documents, environment=environment) as stage:
            answers = [one_call(stage.platform.gateway_url, call) for call in calls(stage.key)]
            facts = {
                "version": __version__,
                "key": stage.key,
                "requests": [answer.request_id for answer in answers],
                "usage": stage.platform.cli_json("usage", "--by", "route,outcome"),
                "ledger": stage.platform.cli_json("ledger", "check"),
            }
        for left in NOT_KEPT:
            path = stage.platform.data_dir / left
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        shutil.copytree(stage.platform.data_dir, target / "data")
    (target / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")
    return 0


def documents(port: int) -> list[manifests.Document]:
    """A vendor that will be gone, and a route with limits and a budget."""
    return [
        manifests.team(),
        manifests.provider("vendor", port, "openai", "anthropic"),
        manifests.model("small", "vendor"),
        manifests.route("chat", "small", limits={"requests_per_minute": 600}, budget={"usd_per_month": "5"}),
    ]


def calls(key: str) -> list[Call]:
    """Good answers of both dialects, a broken stream and a refusal."""
    return [
        chat_call(key, "chat", "one"),
        chat_call(key, "chat", "two", stream=True),
        messages_call(key, "chat", "three"),
        messages_call(key, "simulated", "four", stream=True),
        chat_call(key, "chat", "five [[cut-after=2]]", stream=True),
        chat_call(key, "absent", "six"),
    ]


if __name__ == "__main__":
    sys.exit(main())
