from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineclear.domain.money import Usage
from lineclear.wire.usage import TOKENS_MAX, anthropic_counts, anthropic_usage, openai_counts, openai_usage


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4}, Usage(input_tokens=9, output_tokens=4)),
        ({"prompt_tokens": 9}, Usage(input_tokens=9)),
        ({"prompt_tokens": 9.0, "completion_tokens": 4}, Usage(input_tokens=9, output_tokens=4)),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 20, "audio_tokens": 5},
                "completion_tokens_details": {
                    "reasoning_tokens": 30,
                    "audio_tokens": 4,
                    "accepted_prediction_tokens": 9,
                },
            },
            Usage(15, 60, 20, 0, 16, 30, 5, 4),
        ),
        # DeepSeek and others state cache hits outside the details.
        ({"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 5}, Usage(4, 5, output_tokens=1)),
        ({"prompt_tokens": 9, "completion_tokens": 1, "cached_tokens": 5}, Usage(4, 5, output_tokens=1)),
        # xAI counts reasoning beside the completion and says so in its total.
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 115,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            Usage(input_tokens=10, output_tokens=5, reasoning_tokens=100),
        ),
        # A part larger than the whole is cut to it.
        (
            {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}},
            Usage(0, 5, output_tokens=1),
        ),
        ({"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": None}, Usage(5, output_tokens=1)),
        # OpenRouter states what it charged.
        (
            {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.00183},
            Usage(1, output_tokens=1, reported_cost_nano_usd=1_830_000),
        ),
        ({"prompt_tokens": 1, "completion_tokens": 1, "cost": 0}, Usage(1, output_tokens=1, reported_cost_nano_usd=0)),
        (
            {"prompt_tokens": 1, "completion_tokens": 1, "cost": 4.5e-10},
            Usage(1, output_tokens=1, reported_cost_nano_usd=0),
        ),
        (
            {"prompt_tokens": 1, "completion_tokens": 1, "cost": 5e-10},
            Usage(1, output_tokens=1, reported_cost_nano_usd=1),
        ),
        (
            {
                "prompt_tokens": 1,
                "completion_tokens": 1,
                "cost": 0.001,
                "is_byok": True,
                "cost_details": {"upstream_inference_cost": 0.02},
            },
            Usage(1, output_tokens=1, reported_cost_nano_usd=21_000_000),
        ),
        ({"prompt_tokens": 1, "completion_tokens": 1, "cost": {"total": 1}}, Usage(1, output_tokens=1)),
        ({"prompt_tokens": 1, "completion_tokens": 1, "cost": -1}, Usage(1, output_tokens=1)),
        ({"prompt_tokens": 1, "completion_tokens": 1, "cost": True}, Usage(1, output_tokens=1)),
    ],
)
def test_openai_counts_become_disjoint(counts: dict[str, Any], usage: Usage) -> None:
    assert openai_usage(counts) == usage


@pytest.mark.parametrize(
    "counts",
    [
        None,
        [],
        {},
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": 10**15},
        {"prompt_tokens": "9", "completion_tokens": 1},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": 1.5, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": -1}},
    ],
)
def test_what_cannot_be_believed_is_no_usage(counts: object) -> None:
    assert openai_usage(counts) is None


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"input_tokens": 9, "output_tokens": 4}, Usage(input_tokens=9, output_tokens=4)),
        (
            {
                "input_tokens": 9,
                "cache_read_input_tokens": 7,
                "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
                "output_tokens": 8,
                "output_tokens_details": {"thinking_tokens": 5},
            },
            Usage(9, 7, 10, 20, 3, 5),
        ),
        (
            {"input_tokens": 1, "output_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 4}},
            Usage(1, 0, 0, 4, 1),
        ),
        (
            {"input_tokens": 1, "output_tokens": 1, "cache_creation": None, "cache_creation_input_tokens": 4},
            Usage(1, 0, 4, 0, 1),
        ),
        # Only the message iterations are in the top-level totals.
        (
            {
                "input_tokens": 10,
                "output_tokens": 2,
                "iterations": [
                    {"type": "compaction", "input_tokens": 100, "output_tokens": 20},
                    {"type": "message", "input_tokens": 10, "output_tokens": 2},
                ],
            },
            Usage(input_tokens=110, output_tokens=22),
        ),
    ],
)
def test_anthropic_counts_are_disjoint_already(counts: dict[str, Any], usage: Usage) -> None:
    assert anthropic_usage(counts) == usage


@pytest.mark.parametrize(
    "counts",
    [
        None,
        {},
        {"input_tokens": -1},
        {"output_tokens": TOKENS_MAX + 1},
        {"output_tokens": 1, "iterations": [{"type": "compaction", "input_tokens": -5}]},
    ],
)
def test_anthropic_counts_that_cannot_be_believed_are_no_usage(counts: object) -> None:
    assert anthropic_usage(counts) is None


COUNT = st.integers(0, 10**6)
USAGES = st.builds(Usage, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT, COUNT)


@given(USAGES)
@settings(max_examples=200, deadline=None)
def test_totals_survive_both_dialects(usage: Usage) -> None:
    openai, anthropic = openai_usage(openai_counts(usage)), anthropic_usage(anthropic_counts(usage))
    assert openai is not None
    assert anthropic is not None
    for read in (openai, anthropic):
        assert read.total_input_tokens == usage.total_input_tokens
        assert read.total_output_tokens == usage.total_output_tokens
        assert read.cache_read_tokens == usage.cache_read_tokens
        assert read.reasoning_tokens == usage.reasoning_tokens
    assert (openai.audio_input_tokens, openai.audio_output_tokens) == (
        usage.audio_input_tokens,
        usage.audio_output_tokens,
    )
    assert anthropic.cache_write_1h_tokens == usage.cache_write_1h_tokens


@given(
    st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens"]), COUNT),
    COUNT,
    COUNT,
)
@settings(max_examples=200, deadline=None)
def test_no_token_is_lost_or_counted_twice(counts: dict[str, Any], cached: int, reasoning: int) -> None:
    counts["prompt_tokens_details"] = {"cached_tokens": cached, "audio_tokens": cached // 2}
    counts["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    counts.pop("total_tokens", None)
    usage = openai_usage(counts)
    if usage is not None:
        assert usage.total_input_tokens == counts.get("prompt_tokens", 0)
        assert usage.total_output_tokens == counts.get("completion_tokens", 0)
        assert min(usage.input_tokens, usage.cache_read_tokens, usage.audio_input_tokens, usage.output_tokens) >= 0
