"""A call that was not sent yet: what its file says of it.

In: the file of a request's body, as an SDK would send it. Out: route and operation. Nothing of its content leaves the
machine.
"""

import json
from pathlib import Path
from typing import Any

import click

from lineclear.domain.exchange import Operation

BODY_BYTES_MAX = 64 * 1024 * 1024


def read_unsent(path: Path, operation: str | None) -> tuple[str, str]:
    """The route that a body names, and what it asks for.

    Raises:
        click.UsageError: it is no request body, or does not say what it asks for.
    """
    if path.stat().st_size > BODY_BYTES_MAX:
        raise click.UsageError(f"{path} is larger than {BODY_BYTES_MAX} bytes")
    try:
        body = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{path} is not JSON: {error}") from error
    if not isinstance(body, dict) or not isinstance(body.get("model"), str) or not body["model"]:
        raise click.UsageError(f"{path} is no request body: it needs `model`, which names the route")
    return body["model"], operation or _operation_of(path, body)


def _operation_of(path: Path, body: dict[str, Any]) -> str:
    # Any: JSON. What the Anthropic SDK sends looks like a chat call but for `system`, which chat has no field for.
    if "messages" in body:
        return (Operation.MESSAGES if "system" in body else Operation.CHAT).value
    if "prompt" in body:
        return Operation.COMPLETIONS.value
    if "input" in body:
        return Operation.EMBEDDINGS.value
    raise click.UsageError(f"{path} has none of messages, prompt and input; say with --operation what it asks for")
