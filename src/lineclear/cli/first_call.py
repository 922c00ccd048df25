"""The first call to make, for people who just added something to call."""

import json

from lineclear.domain.exchange import OPERATION_PATH, Operation
from lineclear.domain.sample_call import sample_body

WORDS = "Hello."
OUTPUT_TOKENS = 100
"""What a call has to name where its dialect wants a limit."""


def first_call(gateway_url: str, operation: Operation, route: str) -> list[str]:
    """A curl command that works as it stands, once LINECLEAR_KEY is set."""
    body = sample_body(operation, route, WORDS, OUTPUT_TOKENS if operation is Operation.MESSAGES else None)
    return [
        f"curl {gateway_url}{OPERATION_PATH[operation]} \\",
        '  -H "Authorization: Bearer $LINECLEAR_KEY" -H "Content-Type: application/json" \\',
        f"  -d '{json.dumps(body)}'",
    ]
