"""Guardrails on what a caller sends: checked after `admit`, before anything is reserved or sent.

In: Admitted of a route that has guardrails. Out: Admitted, with the rules that flagged it. A long text is checked in
slices with other calls in between. What cannot be read as text does not pass.
"""

import asyncio
from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import chain, repeat
from typing import Any, Final

import msgspec

from lineclear.checks.window import TEXT_CHARS, Window
from lineclear.domain.snapshot import PromptEntry
from lineclear.gateway.admit import Admitted
from lineclear.gateway.guardrails import Checks, blocked, is_block
from lineclear.gateway.parts import Parts
from lineclear.gateway.protocol_words import OWN_FIELDS, is_word_of_request
from lineclear.gateway.snapshot import Snapshot
from lineclear.gateway.turn import LONG_BYTES, demand_room
from lineclear.gateway.unescape import Unescape

SLICE_CHARS: Final = 16 * 1024
"""Checked at a stretch; the loop serves others in between."""
NOT_SAID: Final = frozenset({"model", "seed"})
"""Top-level fields that say nothing to a model."""
TOKEN_FIELDS: Final = ("prompt", "input")
"""Where OpenAI's older operations also take token ids in place of text."""

NUMBER_MIN: Final = 100_000_000
"""From here on a number may be one that names a person or an account: nine digits."""
ARGUMENTS: Final = "arguments"
"""Where OpenAI's tool calls have JSON in a string."""
SCHEMA_FIELDS: Final = frozenset(
    {"functions", "guided_json", "output_config", "output_format", "response_format", "tools"}
)
"""Top-level fields with JSON Schemas in them."""
BOUND_FIELDS: Final = frozenset(
    {
        "exclusiveMaximum", "exclusiveMinimum", "maxContains", "maxItems", "maxLength", "maxProperties", "maximum",
        "minContains", "minItems", "minLength", "minProperties", "minimum", "multipleOf",
    }
)  # fmt: skip
"""Numbers of a schema that bound others and name nobody."""
VALUE_FIELDS: Final = frozenset({"const", "default", "enum", "examples"})
"""What a schema says of values is as much its author's own as the values are."""
ITEMS_PER_TEXT: Final = 256
"""Numbers, empty texts and the like that count as one text when the loop's turn is reckoned."""


class _Place(StrEnum):
    """Whose words stand here."""

    REQUEST = "request"
    SCHEMA = "schema"
    OWN = "own"


async def guard_input(parts: Parts, snapshot: Snapshot, admitted: Admitted) -> Admitted:
    """Hold the request against the route's input rules; a long one in its turn, if its caller is within their limits.

    Raises:
        CallerError: GUARDRAIL_BLOCKED with the ids of the rules; RATE_LIMITED, BUDGET_EXCEEDED.
    """
    guardrails = admitted.route.guardrails
    checks = guardrails.input if guardrails is not None else None
    if checks is None:
        return admitted
    parsed = admitted.parsed
    filled_in = _filled_in(admitted.route.prompt, parsed.identified.head.variables)
    flags = _check_size(checks, len(parsed.body) + sum(len(text.encode()) for text in filled_in))
    if checks.detectors:
        if any(_is_token_ids(parsed.tree.get(name)) for name in TOKEN_FIELDS):
            raise blocked(checks.ids, "token ids cannot be checked", "send the text itself")
        said = {name: value for name, value in parsed.tree.items() if name not in NOT_SAID}
        texts = chain(filled_in, _texts(said))
        first: list[str] = []
        if len(parsed.body) >= LONG_BYTES or _is_long(texts, first):
            await demand_room(parts, snapshot, admitted)
            async with parts.long_checks:
                flags += await _check_texts(checks, chain(first, texts))
        else:
            flags += await _check_texts(checks, first)
    if not flags:
        return admitted
    return msgspec.structs.replace(admitted, flags=tuple(dict.fromkeys((*admitted.flags, *flags))))


def _check_size(checks: Checks, request_bytes: int) -> list[str]:
    over = [rule for rule in checks.caps if rule.max_bytes is not None and request_bytes > rule.max_bytes]
    blocking = [rule for rule in over if is_block(rule)]
    if blocking:
        least = min(rule.max_bytes or 0 for rule in blocking)
        raise blocked(
            [rule.id for rule in blocking],
            f"the request has {request_bytes} bytes and this route takes {least}",
            "send a shorter request",
        )
    return [rule.id for rule in over]


def _filled_in(prompt: PromptEntry | None, variables: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """What the caller's variables put into the prompt; those that nothing parts there are one text."""
    if prompt is None or not variables:
        return ()
    values = dict(variables)
    texts = [""]
    for place, segment in enumerate(prompt.segments):
        if place % 2:
            texts[-1] += values.get(segment, "")
        elif segment:
            texts.append("")
    return tuple(filter(None, texts))


def _is_long(texts: Iterator[str], first: list[str]) -> bool:
    """Whether to check these takes as long as a long request does; those that were looked at are in `first` then."""
    chars = 0
    for text in texts:
        first.append(text)
        chars += len(text) + TEXT_CHARS
        if chars >= LONG_BYTES:
            return True
    return False


async def _check_texts(checks: Checks, texts: Iterable[str]) -> list[str]:
    flags: list[str] = []
    since_chars = 0
    for text in texts:
        since_chars += TEXT_CHARS
        window = Window(checks.detectors)
        for at in range(0, len(text) or 1, SLICE_CHARS):
            piece = text[at : at + SLICE_CHARS]
            for finding in window.take(piece, is_last=at + SLICE_CHARS >= len(text)).findings:
                rules = checks.rules[finding.detector]
                blocking = [rule.id for rule in rules if is_block(rule)]
                if blocking:
                    raise blocked(
                        blocking,
                        f"the request holds something of kind {finding.detector!r}",
                        "take it out and send again",
                    )
                flags += [rule.id for rule in rules]
            since_chars += len(piece)
            if since_chars >= SLICE_CHARS:
                since_chars = 0
                await asyncio.sleep(0)
    return flags


def _texts(said: dict[str, Any]) -> Iterator[str]:
    """Every text of a request, long numbers among them; names of fields, words of the protocol and bounds of schemas
    left out; arguments of tool calls without JSON's escapes. An empty text now and then for what has none.
    """
    seen = 0
    waiting: list[tuple[_Place, Iterator[tuple[str, Any]]]] = [(_Place.REQUEST, iter(said.items()))]
    while waiting:
        place, items = waiting[-1]
        for name, item in items:
            seen += 1
            if not seen % ITEMS_PER_TEXT:
                yield ""
            if isinstance(item, str):
                if item and (place is _Place.OWN or not is_word_of_request(name, item)):
                    yield Unescape().take(item, is_last=True) if name == ARGUMENTS else item
            elif isinstance(item, dict):
                waiting.append((_below(place, name), iter(item.items())))
                break
            elif isinstance(item, list):
                waiting.append((_below(place, name), zip(repeat("" if name == ARGUMENTS else name), item)))
                break
            elif isinstance(item, (int, float)) and item >= NUMBER_MIN and not _is_bound(place, name):
                yield format(item, "d" if isinstance(item, int) else ".0f")
        else:
            waiting.pop()


def _is_bound(place: _Place, name: str) -> bool:
    return place is _Place.SCHEMA and name in BOUND_FIELDS


def _below(place: _Place, name: str) -> _Place:
    if place is _Place.REQUEST:
        if name in SCHEMA_FIELDS:
            return _Place.SCHEMA
        return _Place.OWN if name in OWN_FIELDS else place
    return _Place.OWN if name in VALUE_FIELDS else place


def _is_token_ids(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return any(isinstance(item, int) or (isinstance(item, list) and item) for item in value)
