"""An upstream's own log of what it was sent, to hold against the ledger.

In: lines `x_request_id status input_tokens output_tokens` (`-` where the upstream does not say). Out: frozen
dispatches by exchange. Must not know the ledger.
"""

from collections.abc import Iterable
from dataclasses import dataclass

UNKNOWN = "-"


@dataclass(frozen=True)
class Dispatch:
    """One call that an upstream saw."""

    exchange: str
    attempt: int
    """From 1: the number behind the point in `x-request-id: <exchange>.<n>`."""
    status: int | None
    """HTTP status that it answered; None if it did not say or did not answer."""
    input_tokens: int | None
    output_tokens: int | None


def read_dispatches(lines: Iterable[str]) -> list[Dispatch]:
    """The dispatches in a text, in its order.

    Raises:
        ValueError: naming the line, if one has not four fields or no `<exchange>.<n>`.
    """
    found = []
    for number, line in enumerate(lines, 1):
        fields = line.split()
        exchange, point, attempt = fields[0].rpartition(".") if fields else ("", "", "")
        if len(fields) != 4 or not point or not attempt.isdigit():
            raise ValueError(f"line {number} of the dispatches is not `<exchange>.<n> status input output`: {line!r}")
        found.append(Dispatch(exchange, int(attempt), *(_number(field) for field in fields[1:])))
    return found


def _number(field: str) -> int | None:
    return None if field == UNKNOWN else int(field)
