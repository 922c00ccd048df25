"""Usage between the vendors' overlapping counts and our disjoint buckets, both ways.

In: a vendor's `usage` object as parsed JSON. Out: `Usage`, or None if it states nothing believable.
Must not: estimate; a count that was not measured is the walk's decision.
Source: research/protocols.md §3.2.
"""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypeAlias

from lineclear.domain.money import NANO_PER_USD, Usage

TOKENS_MAX = 10**10
"""A count above this is not believed. Source: research/reliability-security.md row U26."""
COST_USD_MAX = 10**6
"""A stated cost of one answer above this is not believed."""

_PLAIN_COUNTS = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})
"""What hosts without caches, reasoning and audio state: nothing to take apart."""

Counts: TypeAlias = dict[str, Any]
"""A vendor's JSON object: anything may stand in it, so each value is checked where it is read."""


class _NotBelieved(ValueError):
    """A count is negative, huge or no number."""


def openai_usage(counts: object) -> Usage | None:
    """Buckets from `prompt_tokens`, `completion_tokens` and their details; cached and reasoning are parts of them."""
    if not isinstance(counts, dict):
        return None
    try:
        return _from_openai(counts)
    except _NotBelieved:
        return None


def _from_openai(counts: Counts) -> Usage | None:
    prompt = _count(counts, "prompt_tokens")
    completion = _count(counts, "completion_tokens")
    if prompt is None and completion is None:
        return None
    prompt, completion = prompt or 0, completion or 0
    if counts.keys() <= _PLAIN_COUNTS:
        return Usage(input_tokens=prompt, output_tokens=completion)
    into = _object(counts, "prompt_tokens_details")
    out = _object(counts, "completion_tokens_details")
    # DeepSeek states hits beside the details, some hosts state them without any details.
    cached = _count(into, "cached_tokens")
    if cached is None:
        cached = _count(counts, "prompt_cache_hit_tokens") or _count(counts, "cached_tokens") or 0
    cached = min(cached, prompt)
    written = min(_count(into, "cache_write_tokens") or 0, prompt - cached)
    audio_in = min(_count(into, "audio_tokens") or 0, prompt - cached - written)
    reasoning = _count(out, "reasoning_tokens") or 0
    if reasoning and _count(counts, "total_tokens") == prompt + completion + reasoning:
        # xAI counts reasoning beside the completion; the total it states says so.
        completion += reasoning
    reasoning = min(reasoning, completion)
    audio_out = min(_count(out, "audio_tokens") or 0, completion - reasoning)
    return Usage(
        input_tokens=prompt - cached - written - audio_in,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        output_tokens=completion - reasoning - audio_out,
        reasoning_tokens=reasoning,
        audio_input_tokens=audio_in,
        audio_output_tokens=audio_out,
        reported_cost_nano_usd=_reported_cost(counts),
    )


def anthropic_usage(counts: object) -> Usage | None:
    """Buckets from counts that are disjoint already on the input side; thinking is part of the output.

    `iterations` other than messages (compaction, advisor) are not in the top-level totals and are added.
    """
    if not isinstance(counts, dict):
        return None
    try:
        usage = _from_anthropic(counts)
        iterations = counts.get("iterations")
        if usage is None or not isinstance(iterations, list):
            return usage
        for item in iterations:
            if isinstance(item, dict) and item.get("type") != "message":
                usage = _sum(usage, _from_anthropic(item))
        return usage
    except _NotBelieved:
        return None


def _from_anthropic(counts: Counts) -> Usage | None:
    plain = _count(counts, "input_tokens")
    output = _count(counts, "output_tokens")
    if plain is None and output is None:
        return None
    lifetimes = _object(counts, "cache_creation")
    hour = _count(lifetimes, "ephemeral_1h_input_tokens") or 0
    written = _count(counts, "cache_creation_input_tokens")
    if written is None:
        written = hour + (_count(lifetimes, "ephemeral_5m_input_tokens") or 0)
    hour = min(hour, written)
    output = output or 0
    thinking = min(_count(_object(counts, "output_tokens_details"), "thinking_tokens") or 0, output)
    return Usage(
        input_tokens=plain or 0,
        cache_read_tokens=_count(counts, "cache_read_input_tokens") or 0,
        cache_write_tokens=written - hour,
        cache_write_1h_tokens=hour,
        output_tokens=output - thinking,
        reasoning_tokens=thinking,
        reported_cost_nano_usd=_reported_cost(counts),
    )


def openai_counts(usage: Usage) -> Counts:
    """The `usage` object of an OpenAI answer."""
    prompt, completion = usage.total_input_tokens, usage.total_output_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens + usage.cache_write_1h_tokens,
            "audio_tokens": usage.audio_input_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
        },
    }


def anthropic_counts(usage: Usage) -> Counts:
    """The `usage` object of an Anthropic answer."""
    return {
        "input_tokens": usage.input_tokens + usage.audio_input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens + usage.cache_write_1h_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
        "output_tokens": usage.total_output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }


def _sum(left: Usage, right: Usage | None) -> Usage:
    if right is None:
        return left
    return Usage(
        input_tokens=left.input_tokens + right.input_tokens,
        cache_read_tokens=left.cache_read_tokens + right.cache_read_tokens,
        cache_write_tokens=left.cache_write_tokens + right.cache_write_tokens,
        cache_write_1h_tokens=left.cache_write_1h_tokens + right.cache_write_1h_tokens,
        output_tokens=left.output_tokens + right.output_tokens,
        reasoning_tokens=left.reasoning_tokens + right.reasoning_tokens,
        reported_cost_nano_usd=left.reported_cost_nano_usd,
    )


def _count(counts: Counts, name: str) -> int | None:
    """A token count; None if it is not stated.

    Raises:
        _NotBelieved: if it is no whole number from 0 to TOKENS_MAX.
    """
    value = counts.get(name)
    if value is None or (type(value) is int and 0 <= value <= TOKENS_MAX):
        return value
    if type(value) is float and value.is_integer() and 0 <= value <= TOKENS_MAX:
        return int(value)
    raise _NotBelieved(name)


def _object(counts: Counts, name: str) -> Counts:
    value = counts.get(name)
    return value if isinstance(value, dict) else {}


def _reported_cost(counts: Counts) -> int | None:
    """`usage.cost` in USD, as OpenRouter states it; with the caller's own vendor key that vendor's cost is apart.

    Source: openrouter.ai/docs, "Usage accounting".
    """
    stated = counts.get("cost")
    if stated is None:
        return None
    cost = _usd(stated)
    if cost is None or counts.get("is_byok") is not True:
        return cost
    return cost + (_usd(_object(counts, "cost_details").get("upstream_inference_cost")) or 0)


def _usd(value: object) -> int | None:
    """A JSON number of dollars as nano-USD, rounded half up; the float's shortest text is what the vendor wrote."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= COST_USD_MAX:
        return None
    return int((Decimal(repr(value)) * NANO_PER_USD).to_integral_value(ROUND_HALF_UP))
