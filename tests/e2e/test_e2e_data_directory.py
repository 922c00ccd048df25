"""Data directories that earlier versions left behind open with this one, and nothing in them has changed."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lineclear.testing.load import chat_call
from lineclear.testing.platform import Platform
from lineclear.testing.stage import one_call

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures").glob("data-*"))


def opened(fixture: Path, directory: Path, environment: Mapping[str, str]) -> Platform:
    """A platform on a copy of the fixture, with the modes that a checkout does not keep."""
    platform = Platform(directory, environment=environment)
    shutil.copytree(fixture / "data", platform.data_dir)
    for path in [platform.data_dir, *platform.data_dir.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    return platform


def sums(usage: dict[str, Any]) -> list[dict[str, Any]]:
    return list(usage["rows"])


def test_there_is_a_fixture() -> None:
    assert FIXTURES


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.name)
def test_a_data_directory_opens_and_says_what_it_said(
    fixture: Path, tmp_path: Path, child_environment: Mapping[str, str]
) -> None:
    facts = json.loads((fixture / "facts.json").read_text())
    with opened(fixture, tmp_path, child_environment) as platform:
        assert platform.facts["keys"] is None
        usage = platform.cli_json("usage", "--by", "route,outcome", "--since", facts["usage"]["since"])
        assert sums(usage) == facts["usage"]["rows"]
        assert platform.cli_json("ledger", "check") == facts["ledger"]
        for request_id in facts["requests"]:
            assert platform.cli_json("explain", request_id)["id"] == request_id
        answer = one_call(platform.gateway_url, chat_call(facts["key"], "simulated", "still here"))
        assert answer.status == 200
        assert platform.cli_json("ledger", "check")["intents"] == facts["ledger"]["intents"] + 1
        verdict = platform.cli("audit", "verify")
        assert verdict.returncode == 0, verdict.stderr
