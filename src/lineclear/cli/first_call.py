"""The first call to make, for people who just added something to call."""

import json
from typing import Any

from lineclear.domain.exchange import OPERATION_PATH, Operation

WORDS = "Hello."
OUTPUT_TOKENS = 100
"""What a call has to name where its dialect wants a limit."""


def first_call(gateway_url: str, operation: Operation, route: str) -> list[str]:
    """A curl command that works as it stands, once LINECLEAR_KEY is set."""
    body: dict[str, Any] = {"model": route}
    match operation:
        case Operation.EMBEDDINGS | Operation.CLASSIFY:
            body["input"] = WORDS
        case Operation.COMPLETIONS:
            body["prompt"] = WORDS
        case Operation.CHAT | Operation.COUNT_TOKENS:
            body["messages"] = [{"role": "user", "content": WORDS}]
        case Operation.MESSAGES:
            body |= {"max_tokens": OUTPUT_TOKENS, "messages": [{"role": "user", "content": WORDS}]}
    return [
        f"curl {gateway_url}{OPERATION_PATH[operation]} \\",
        '  -H "Authorization: Bearer $LINECLEAR_KEY" -H "Content-Type: application/json" \\',
        f"  -d '{json.dumps(body)}'",
    ]
