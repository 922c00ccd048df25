"""Runtime processes that end with the test, or with the run where a test does not break them."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from lineclear.testing.hosted import HostedModel, simulated_spec, smollm2_spec


@pytest.fixture(scope="session")
def run_dir() -> Iterator[Path]:
    # Not pytest's own: Unix socket paths are short.
    with tempfile.TemporaryDirectory(prefix="lc-rt-") as folder:
        yield Path(folder)


@pytest.fixture
def start(run_dir: Path) -> Iterator[Callable[..., HostedModel]]:
    """Starts a runtime of a spec; `life` counts processes of the same name."""
    running: list[HostedModel] = []

    def start_runtime(spec: Mapping[str, object], life: int = 0) -> HostedModel:
        running.append(HostedModel(run_dir, spec, life))
        return running[-1]

    yield start_runtime
    for runtime in running:
        runtime.close()


@pytest.fixture(scope="session")
def simulated(run_dir: Path) -> Iterator[HostedModel]:
    """One ready simulated runtime for every test that does not break it."""
    runtime = HostedModel(run_dir, simulated_spec("simulated"))
    try:
        runtime.wait_for("ready")
        yield runtime
    finally:
        runtime.close()


@pytest.fixture(scope="session")
def smollm2(run_dir: Path) -> Iterator[HostedModel]:
    """One ready runtime with the real model."""
    runtime = HostedModel(run_dir, smollm2_spec("smollm2"))
    try:
        runtime.wait_for("ready")
        yield runtime
    finally:
        runtime.close()
