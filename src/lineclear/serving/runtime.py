"""One hosted model's way from a file to an endpoint and back: queued → verifying → loading → warming → ready.

In: a RuntimeSpec and its engine. Out: states with reasons to `report`, and the door's condition. The golden
sample gates ready. It must not know the supervisor, or how the process ends.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from lineclear.domain.errors import LineclearError
from lineclear.domain.runtimes import RuntimeSettings, RuntimeState, side_files
from lineclear.domain.snapshot import RuntimeSpec
from lineclear.serving.artifact import ArtifactRefused, verify_artifact
from lineclear.serving.engine import Engine, EngineRefused
from lineclear.serving.formats import demand_format
from lineclear.serving.golden import answer_golden

log = logging.getLogger(__name__)

WARM_UP_S_MAX = 120.0
REASON_CHARS_MAX = 500

Report = Callable[[RuntimeState, str, Mapping[str, object]], None]


class RuntimeRefused(Exception):
    """The model cannot be made ready; the message is the reason."""


class Runtime:
    """The states of one runtime."""

    def __init__(self, spec: RuntimeSpec, settings: RuntimeSettings, engine: Engine, report: Report) -> None:
        self._spec = spec
        self._settings = settings
        self._engine = engine
        self._report = report
        self.state = RuntimeState.QUEUED
        self.reason = ""
        self.enter(RuntimeState.QUEUED, "process started")

    @property
    def condition(self) -> tuple[RuntimeState, str]:
        """State and reason, as the door tells them."""
        return self.state, self.reason

    def enter(self, state: RuntimeState, reason: str) -> None:
        """Takes a new state and tells it."""
        self.state, self.reason = state, reason[:REASON_CHARS_MAX]
        log.info("runtime is %s: %s", state.value, self.reason, extra={"facts": {"model": self._spec.model}})
        self._report(state, self.reason, self.facts)

    @property
    def facts(self) -> Mapping[str, object]:
        """What every status says of the model."""
        return {"model": self._spec.model, "engine": self._spec.engine.value}

    async def prepare(self) -> str:
        """Verifies, loads and warms the model, so that `ready` is the one state left to enter.

        Returns:
            The reason to give for `ready`.

        Raises:
            RuntimeRefused: one of these failed; the state is `failed` then.
        """
        try:
            await self._verify()
            self.enter(RuntimeState.LOADING, f"loading with engine {self._spec.engine.value}")
            await self._engine.load()
            self.enter(RuntimeState.WARMING, "answering the golden sample")
            async with asyncio.timeout(WARM_UP_S_MAX):
                outcome = await answer_golden(self._engine, self._settings)
        except (ArtifactRefused, EngineRefused, LineclearError) as error:
            self.enter(RuntimeState.FAILED, str(error))
            raise RuntimeRefused(self.reason) from error
        except TimeoutError as error:
            self.enter(RuntimeState.FAILED, f"the golden sample took longer than {WARM_UP_S_MAX:.0f} s")
            raise RuntimeRefused(self.reason) from error
        return outcome

    async def _verify(self) -> None:
        if self._spec.artifact is None:
            return
        if self._spec.sha256 is None:
            raise ArtifactRefused(f"{self._spec.model} names a file and no sha256; name both")
        self.enter(RuntimeState.VERIFYING, "comparing the sha256 of every file of the model")
        artifact = Path(self._spec.artifact)
        await asyncio.to_thread(verify_artifact, artifact, self._spec.sha256)
        for path, sha256 in side_files(self._spec.settings):
            await asyncio.to_thread(verify_artifact, artifact.parent / path, sha256)
        demand_format(artifact, self._spec.engine)
