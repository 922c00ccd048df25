"""The grammar of `x-lineclear-simulate`: what a simulated answer should look like and how it should fail.

In: the header's text. Out: frozen directives. Documented in docs/simulated.md, which a test holds equal to
`DIRECTIVES`. It must not act on them.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from lineclear.domain.errors import CallerError, ErrorCode

TOKENS_MAX = 16_384
DELAY_MS_MAX = 600_000
RETRY_AFTER_S_MAX = 86_400
NUMBER_DIGITS_MAX = 7
HEADER_CHARS_MAX = 512


class FaultKind(StrEnum):
    """How an answer goes wrong after its first N pieces of text."""

    CUT = "cut-after"
    """The connection breaks."""
    ERROR = "error-after"
    """An error in the dialect's own form: inside the stream, or 500 for a whole answer."""
    END = "end-after"
    """The transfer ends in good order, but the answer is not complete: no terminator, half a JSON text."""
    HANG = "hang-after"
    """Nothing comes any more, and the connection stays open."""


class Directives(msgspec.Struct, frozen=True):
    """What one request asks the simulated engine to do."""

    tokens: int | None = None
    """Length of the answer; None = by the request's digest."""
    delay_ms: int = 0
    """Before the head."""
    event_delay_ms: int = 0
    """Before each piece of text; a whole answer waits for the sum."""
    status: int | None = None
    """An error answer with this HTTP status instead of an answer."""
    retry_after: int | None = None
    """Seconds, in the head of the error answer."""
    fault: FaultKind | None = None
    fault_after: int = 0
    """Pieces of text that come before the fault; more than the answer has = no fault."""
    hang: bool = False
    """No byte comes."""
    stall: bool = False
    """The engine completes no step any more, for any request, until its process is replaced."""
    usage: bool = True
    """False = the answer does not say how many tokens it used."""


class Directive(msgspec.Struct, frozen=True):
    """One word of the grammar."""

    field: str
    bounds: tuple[int, int] | None = None
    """Least and greatest number after `=`; None = the word stands alone."""


DIRECTIVES: Mapping[str, Directive] = {
    "tokens": Directive("tokens", (1, TOKENS_MAX)),
    "delay-ms": Directive("delay_ms", (0, DELAY_MS_MAX)),
    "event-delay-ms": Directive("event_delay_ms", (0, DELAY_MS_MAX)),
    "status": Directive("status", (400, 599)),
    "retry-after": Directive("retry_after", (0, RETRY_AFTER_S_MAX)),
    **{kind.value: Directive("fault_after", (0, TOKENS_MAX)) for kind in FaultKind},
    "hang": Directive("hang"),
    "stall": Directive("stall"),
    "usage": Directive("usage"),
}
"""`usage` takes the one value `none`."""


def read_directives(text: str) -> Directives:
    """Parses the header `x-lineclear-simulate`; an empty text asks for nothing.

    Raises:
        CallerError: `invalid_header`, naming the word at fault.
    """
    if len(text) > HEADER_CHARS_MAX:
        raise _refusal(f"it is longer than {HEADER_CHARS_MAX} characters")
    fields: dict[str, int | bool | FaultKind] = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = word.partition("=")
        directive = DIRECTIVES.get(name)
        if directive is None:
            raise _refusal(f"{name!r} is not a directive")
        if directive.field in fields:
            raise _refusal(f"{name!r} stands twice, or beside another word of which there may be only one")
        fields[directive.field] = _read_value(name, value, directive)
        if directive.field == "fault_after":
            fields["fault"] = FaultKind(name)
    if "retry_after" in fields and "status" not in fields:
        raise _refusal("'retry-after' needs 'status'")
    return msgspec.convert(fields, Directives)


def _read_value(name: str, value: str, directive: Directive) -> int | bool:
    if name == "usage":
        if value != "none":
            raise _refusal("'usage' takes the value 'none'")
        return False
    if directive.bounds is None:
        if value:
            raise _refusal(f"{name!r} takes no value")
        return True
    low, high = directive.bounds
    if not (value.isascii() and value.isdigit() and len(value) <= NUMBER_DIGITS_MAX and low <= int(value) <= high):
        raise _refusal(f"{name!r} takes a whole number from {low} to {high}, not {value!r}")
    return int(value)


def _refusal(reason: str) -> CallerError:
    return CallerError(
        ErrorCode.INVALID_HEADER,
        f"the header x-lineclear-simulate cannot be used: {reason}",
        hint="directives, separated by commas: " + ", ".join(DIRECTIVES),
        param="x-lineclear-simulate",
    )
