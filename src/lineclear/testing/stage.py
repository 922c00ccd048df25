"""A platform and its scripted vendor, started together: what most end-to-end tests stand on.

In: a directory, the documents to apply. Out: both processes, one-call helpers, and the joined record of a request.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lineclear.testing.load import Call, CallResult, LoadConnection
from lineclear.testing.manifests import Document, text_of
from lineclear.testing.platform import Platform
from lineclear.testing.upstream_process import UpstreamProcess


class Stage:
    """Use as a context manager. `documents` is called with the vendor's port, once it is known."""

    def __init__(
        self,
        directory: Path,
        documents: Callable[[int], Sequence[Document]],
        *,
        workers: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.upstream = UpstreamProcess(directory / "dispatches.jsonl")
        self.platform = Platform(directory, workers=workers, environment=environment)
        self._documents = documents
        self._parts = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with self._parts:
            self._parts.enter_context(self.upstream)
            manifest = self.directory / "stage.yaml"
            manifest.write_text(text_of(self._documents(self.upstream.port)))
            self.platform.manifests.append(manifest)
            self._parts.enter_context(self.platform)
            self._parts = self._parts.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._parts.__exit__(kind, error, trace)

    @property
    def key(self) -> str:
        """The default app's key of the live environment."""
        return self.platform.keys["live"]

    def call(self, call: Call, deadline_s: float = 30.0) -> CallResult:
        """One call to the data port on a connection of its own."""
        return one_call(self.platform.gateway_url, call, deadline_s)

    def call_vendor(self, call: Call, deadline_s: float = 30.0) -> CallResult:
        """The same straight to the vendor, to compare with."""
        return one_call(f"http://127.0.0.1:{self.upstream.port}", call, deadline_s)

    def dispatches_of(self, request_id: str) -> list[dict[str, Any]]:
        """What the vendor's own log holds of an exchange, attempt by attempt."""
        return [line for line in self.upstream.dispatches() if line["x_request_id"].startswith(f"{request_id}.")]

    def explain(self, request_id: str) -> dict[str, Any]:
        """What the platform says of a request, once it has ended."""
        return dict(self.platform.cli_json("explain", request_id))

    def check_ledger(self) -> dict[str, Any]:
        """`ledger check` against the vendor's own log."""
        return self.platform.check_ledger(self.upstream.log_path)


def one_call(url: str, call: Call, deadline_s: float = 30.0) -> CallResult:
    """One call on a connection of its own."""

    async def one() -> CallResult:
        connection = LoadConnection(url, deadline_s)
        try:
            return await connection.call(call)
        finally:
            await connection.close()

    return asyncio.run(one())
