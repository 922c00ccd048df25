"""Parameters of a release: what it sets in a request where the caller said nothing, and where each has its place.

In: names and values of a release. Out: the request field of each, by operation. Pure. The list is closed: a parameter
that an operation has no place for rules that operation out, so that none is left out in silence.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

from lineclear.domain.exchange import Operation

ParameterValue: TypeAlias = int | float | str | tuple[str, ...]


class Parameter(StrEnum):
    """What a release may set, by its name in manifests."""

    TEMPERATURE = "temperature"
    TOP_P = "top_p"
    MAX_TOKENS = "max_tokens"
    STOP = "stop"
    SEED = "seed"
    FREQUENCY_PENALTY = "frequency_penalty"
    PRESENCE_PENALTY = "presence_penalty"
    REASONING_EFFORT = "reasoning_effort"


_SAMPLING: Mapping[Parameter, str] = {item: item.value for item in Parameter if item is not Parameter.REASONING_EFFORT}

PARAMETER_FIELDS: Mapping[Operation, Mapping[Parameter, str]] = MappingProxyType(
    {
        Operation.CHAT: {item: item.value for item in Parameter},
        Operation.COMPLETIONS: _SAMPLING,
        Operation.MESSAGES: {
            Parameter.TEMPERATURE: "temperature",
            Parameter.TOP_P: "top_p",
            Parameter.MAX_TOKENS: "max_tokens",
            Parameter.STOP: "stop_sequences",
        },
    }
)
"""The request field of each parameter, by operation. Source: OpenAI API reference, chat completions and completions;
Anthropic API reference, messages, whose callers always send `max_tokens` themselves."""

UNAFFECTED = frozenset({Operation.COUNT_TOKENS})
"""Operations whose answer no parameter changes: there they are neither sent nor missed."""


def without_place(operation: Operation, names: Iterable[str]) -> list[str]:
    """Those of a release's parameters that an operation has no field for."""
    if operation in UNAFFECTED:
        return []
    fields = PARAMETER_FIELDS.get(operation, {})
    return [name for name in names if name not in fields]


def request_fields(operation: Operation, values: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
    """What a release sets in the body of one operation, by request field; the output cap travels beside it."""
    fields = PARAMETER_FIELDS.get(operation, {})
    return {
        fields[Parameter(name)]: value
        for name, value in values.items()
        if name in fields and name != Parameter.MAX_TOKENS
    }
