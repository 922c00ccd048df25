"""A first call: what the smallest request of each operation holds, and which operation a newcomer asks for first.

In: an operation, a route, words. Out: a body as JSON values. Pure, so that the console, the command line and the test
message show and send the same call.
"""

from collections.abc import Collection
from typing import Any

from lineclear.domain.exchange import Operation

PREFERRED = (
    Operation.CHAT, Operation.MESSAGES, Operation.COMPLETIONS, Operation.EMBEDDINGS, Operation.CLASSIFY,
    Operation.COUNT_TOKENS,
)  # fmt: skip
"""What shows most of a model comes first."""


def sample_operation(askable: Collection[Operation]) -> Operation:
    """The one to try first; a chat where nothing is known, since the answer then says what is wrong."""
    return next((operation for operation in PREFERRED if operation in askable), Operation.CHAT)


def sample_body(operation: Operation, route: str, words: str, output_tokens: int | None = None) -> dict[str, Any]:
    """The smallest body that works; `output_tokens` limits the answer where there is one. Any: JSON values."""
    body: dict[str, Any] = {"model": route}
    match operation:
        case Operation.EMBEDDINGS | Operation.CLASSIFY:
            return {**body, "input": words}
        case Operation.COMPLETIONS:
            body["prompt"] = words
        case Operation.CHAT | Operation.MESSAGES | Operation.COUNT_TOKENS:
            body["messages"] = [{"role": "user", "content": words}]
    if output_tokens is not None and operation is not Operation.COUNT_TOKENS:
        body["max_tokens"] = output_tokens
    return body
