"""One hosted model's way from a file to an endpoint and back: queued → verifying → loading → warming → ready.

In: a RuntimeSpec and its engine. Out: states with reasons to `report`, and the door's condition. The golden
sample gates ready. It must not know the supervisor, or how the process ends.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from lineclear.domain.errors import LineclearError
from lineclear.domain.exchange import Finished, Operation, TextDelta
from lineclear.domain.runtimes import RuntimeSettings, RuntimeState
from lineclear.domain.snapshot import RuntimeSpec
from lineclear.serving.artifact import ArtifactRefused, verify_artifact
from lineclear.serving.engine import CollectedOutlet, Engine, EngineCall, EngineRefused
from lineclear.serving.simulate import Directives
from lineclear.wire.json_guard import guard
from lineclear.wire.openai_chat import OPENAI_CHAT

log = logging.getLogger(__name__)

WARM_UP_S_MAX = 120.0
GOLDEN_TOKENS = 16
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
        self._report(state, self.reason, {"model": self._spec.model, "engine": self._spec.engine.value})

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
                sample = await self._answer_golden()
        except (ArtifactRefused, EngineRefused, LineclearError) as error:
            self.enter(RuntimeState.FAILED, str(error))
            raise RuntimeRefused(self.reason) from error
        except TimeoutError as error:
            self.enter(RuntimeState.FAILED, f"the golden sample took longer than {WARM_UP_S_MAX:.0f} s")
            raise RuntimeRefused(self.reason) from error
        return f"the golden sample was answered in {sample} characters"

    async def _verify(self) -> None:
        if self._spec.artifact is None:
            return
        if self._spec.sha256 is None:
            raise ArtifactRefused(f"{self._spec.model} names a file and no sha256; name both")
        self.enter(RuntimeState.VERIFYING, "comparing the model file's sha256")
        await asyncio.to_thread(verify_artifact, Path(self._spec.artifact), self._spec.sha256)

    async def _answer_golden(self) -> int:
        """Asks the engine as a caller would.

        Returns:
            How many characters it answered.
        """
        outlet = CollectedOutlet()
        await self._engine.answer(golden_call(self._settings.golden_prompt), outlet)
        try:
            events = OPENAI_CHAT.read_whole(outlet.body) if outlet.status == 200 and outlet.complete else ()
        except ValueError as error:
            raise EngineRefused(f"the golden sample's answer cannot be read: {error}") from error
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        if not text or not any(isinstance(event, Finished) for event in events):
            raise EngineRefused(f"the golden sample was not answered (status {outlet.status})")
        if self._settings.golden_expect not in text:
            raise EngineRefused(f"the golden sample's answer does not contain {self._settings.golden_expect!r}")
        return len(text)


def golden_call(prompt: str) -> EngineCall:
    """The warm-up's request: one user message, greedy, a few tokens."""
    body = msgspec.json.encode(
        {
            "model": "golden",
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": GOLDEN_TOKENS,
            "temperature": 0,
        }
    )
    tree = guard(body)
    return EngineCall(
        operation=Operation.CHAT,
        codec=OPENAI_CHAT,
        body=body,
        tree=tree,
        view=OPENAI_CHAT.view(tree, len(body)),
        request_id="golden",
        directives=Directives(),
    )
