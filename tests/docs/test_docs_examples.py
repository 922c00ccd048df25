"""The README's calls work as they stand, against a platform started as the README says; the model is the quick one."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from lineclear.cli.output import ExitCode
from lineclear.testing.platform import Platform

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
CALLS = [
    (language, code) for language, code in re.findall(r"```(sh|python)\n(.*?)```", README, re.DOTALL) if ":4100" in code
]
MANIFEST = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)[0]


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Platform]:
    with Platform(tmp_path_factory.mktemp("readme"), environment=child_environment) as platform:
        yield platform


def run(arguments: list[str], more: Mapping[str, str], exit_code: int = 0) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        arguments, env={**os.environ, "PATH": path, **more}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == exit_code, done.stderr
    return done.stdout


def test_there_is_a_call_in_curl_and_with_both_official_clients() -> None:
    assert [language for language, _ in CALLS] == ["sh", "python", "python"]
    assert "from openai" in CALLS[1][1]
    assert "from anthropic" in CALLS[2][1]


@pytest.mark.parametrize(("language", "code"), CALLS, ids=["curl", "openai", "anthropic"])
def test_first_call_is_answered(platform: Platform, language: str, code: str) -> None:
    code = code.replace("http://127.0.0.1:4100", platform.facts["gateway_url"]).replace("smollm2", "simulated")
    code = re.sub(r"^export KEY=.*$", "", code, flags=re.MULTILINE)
    command = ["sh", "-c", code] if language == "sh" else [sys.executable, "-c", code]
    assert "This answer is simulated" in run(command, {"KEY": platform.keys["test"]})


def test_manifest_is_accepted(platform: Platform, tmp_path: Path) -> None:
    assert {document["kind"] for document in yaml.safe_load_all(MANIFEST)} >= {"Provider", "Model", "Route"}
    path = tmp_path / "support.yaml"
    path.write_text(MANIFEST)
    data = str(platform.data_dir)
    for command in (["validate"], ["plan", "--data", data], ["apply", "--data", data]):
        arguments = [sys.executable, "-m", "lineclear", command[0], "-f", str(path), *command[1:]]
        run(arguments, {"ACME_API_KEY": "not-a-real-key"}, ExitCode.PLAN_HAS_CHANGES if "plan" in command else 0)
