"""Exact cost: buckets, rounding, texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineclear.domain.money import (
    TOKENS_PER_PRICE_UNIT,
    Price,
    Usage,
    cost_nano_usd,
    dearest_input_per_mtok,
    dearest_output_per_mtok,
    estimated_tokens,
    nano_usd,
    usd_text,
)

COUNT = st.integers(min_value=0, max_value=10**7)
RATE = st.integers(min_value=0, max_value=10**11)
MAYBE_RATE = st.none() | RATE
USAGES = st.builds(
    Usage,
    input_tokens=COUNT,
    cache_read_tokens=COUNT,
    cache_write_tokens=COUNT,
    cache_write_1h_tokens=COUNT,
    output_tokens=COUNT,
    reasoning_tokens=COUNT,
    audio_input_tokens=COUNT,
    audio_output_tokens=COUNT,
)
PRICES = st.builds(
    Price,
    version=st.just("p"),
    input_per_mtok=RATE,
    output_per_mtok=RATE,
    cache_read_per_mtok=MAYBE_RATE,
    cache_write_per_mtok=MAYBE_RATE,
    cache_write_1h_per_mtok=MAYBE_RATE,
    audio_input_per_mtok=MAYBE_RATE,
    audio_output_per_mtok=MAYBE_RATE,
    per_request=RATE,
)


def test_each_bucket_has_its_own_rate() -> None:
    price = Price(
        version="p",
        input_per_mtok=1_000_000,
        output_per_mtok=2_000_000,
        cache_read_per_mtok=100_000,
        cache_write_per_mtok=1_250_000,
        cache_write_1h_per_mtok=2_000_000,
        audio_input_per_mtok=9_000_000,
        audio_output_per_mtok=18_000_000,
        per_request=5,
    )
    usage = Usage(10, 20, 4, 3, 100, 50, 1, 2)
    assert cost_nano_usd(usage, price) == 10 + 2 + 5 + 6 + 300 + 9 + 36 + 5


def test_a_missing_rate_is_the_plain_one_and_zero_is_free() -> None:
    plain = Price(version="p", input_per_mtok=1_000_000, output_per_mtok=1_000_000)
    assert cost_nano_usd(Usage(cache_read_tokens=3, cache_write_1h_tokens=2, audio_output_tokens=1), plain) == 6
    free_reads = Price(version="p", input_per_mtok=1_000_000, cache_read_per_mtok=0)
    assert cost_nano_usd(Usage(cache_read_tokens=3), free_reads) == 0


@pytest.mark.parametrize(("tokens", "cost"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1), (6, 2)])
def test_the_sum_is_rounded_half_up_once(tokens: int, cost: int) -> None:
    assert cost_nano_usd(Usage(input_tokens=tokens), Price(version="p", input_per_mtok=250_000)) == cost


@given(USAGES, PRICES)
def test_the_bound_is_never_below_the_cost(usage: Usage, price: Price) -> None:
    tokens_in, tokens_out = usage.total_input_tokens, usage.total_output_tokens
    total = tokens_in * dearest_input_per_mtok(price) + tokens_out * dearest_output_per_mtok(price)
    assert cost_nano_usd(usage, price) <= -(-total // TOKENS_PER_PRICE_UNIT) + price.per_request


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_texts_have_nine_digits_and_come_back(amount: int) -> None:
    text = usd_text(amount)
    assert len(text.rpartition(".")[2]) == 9
    assert nano_usd(text) == amount


@pytest.mark.parametrize("text", ["", "a dollar", "0.0000000001", "NaN", "Infinity", "1e999999999"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"US dollars|nano-USD"):
        nano_usd(text)


def test_text_that_nobody_counted_is_four_bytes_a_token() -> None:
    assert [estimated_tokens(size) for size in (0, 1, 4, 5)] == [0, 1, 1, 2]
