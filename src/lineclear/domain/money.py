"""Money: integer nano-USD, disjoint usage buckets, price rows, exact cost.

A float never touches an account. Each bucket is multiplied exactly; the sum is rounded half up once.
"""

from decimal import Decimal
from enum import StrEnum

import msgspec

NANO_PER_USD = 1_000_000_000
TOKENS_PER_PRICE_UNIT = 1_000_000
BYTES_PER_ESTIMATED_TOKEN = 4


class CostBasis(StrEnum):
    """Where a cost figure comes from. Source: design decision 53."""

    REPORTED = "reported"
    PRICED = "priced"
    ESTIMATED = "estimated"
    UNPRICED = "unpriced"


class Usage(msgspec.Struct, frozen=True, gc=False, array_like=True, forbid_unknown_fields=True):
    """Measured tokens in disjoint buckets: no token stands in two of them. All counts ≥ 0."""

    input_tokens: int = 0
    """Input neither read from nor written to a vendor's cache."""
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    """Cache writes at the vendor's default lifetime (5 minutes at Anthropic)."""
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    """Output without reasoning."""
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    reported_cost_nano_usd: int | None = None
    """A cost the vendor stated itself; None if it stated none."""

    @property
    def total_input_tokens(self) -> int:
        """Everything that went in, cached or not."""
        return (
            self.input_tokens
            + self.cache_read_tokens
            + self.cache_write_tokens
            + self.cache_write_1h_tokens
            + self.audio_input_tokens
        )

    @property
    def total_output_tokens(self) -> int:
        """Everything that came out, reasoning included."""
        return self.output_tokens + self.reasoning_tokens + self.audio_output_tokens


NO_USAGE = Usage()


class Price(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One rate row: nano-USD per million tokens of each bucket, and per request.

    None in a bucket means "as the plain input or output rate"; 0 means free.
    """

    version: str
    """Which price book and date this row came from, e.g. `manifest` or `genai-prices/0.2.3`."""
    input_per_mtok: int = 0
    output_per_mtok: int = 0
    cache_read_per_mtok: int | None = None
    cache_write_per_mtok: int | None = None
    cache_write_1h_per_mtok: int | None = None
    audio_input_per_mtok: int | None = None
    audio_output_per_mtok: int | None = None
    per_request: int = 0
    """Nano-USD for each answered request."""


def cost_nano_usd(usage: Usage, price: Price) -> int:
    """The exact cost of one answer in nano-USD, rounded half up once.

    Source: design decision 53.
    """
    rate_in = price.input_per_mtok
    rate_out = price.output_per_mtok
    total = usage.input_tokens * rate_in + (usage.output_tokens + usage.reasoning_tokens) * rate_out
    if usage.cache_read_tokens:
        total += usage.cache_read_tokens * _rate(price.cache_read_per_mtok, rate_in)
    if usage.cache_write_tokens:
        total += usage.cache_write_tokens * _rate(price.cache_write_per_mtok, rate_in)
    if usage.cache_write_1h_tokens:
        fallback = _rate(price.cache_write_per_mtok, rate_in)
        total += usage.cache_write_1h_tokens * _rate(price.cache_write_1h_per_mtok, fallback)
    if usage.audio_input_tokens:
        total += usage.audio_input_tokens * _rate(price.audio_input_per_mtok, rate_in)
    if usage.audio_output_tokens:
        total += usage.audio_output_tokens * _rate(price.audio_output_per_mtok, rate_out)
    half = TOKENS_PER_PRICE_UNIT // 2
    return (total + half) // TOKENS_PER_PRICE_UNIT + price.per_request


def dearest_input_per_mtok(price: Price) -> int:
    """The highest rate that a token going in can have."""
    return max(
        price.input_per_mtok,
        price.cache_read_per_mtok or 0,
        price.cache_write_per_mtok or 0,
        price.cache_write_1h_per_mtok or 0,
        price.audio_input_per_mtok or 0,
    )


def dearest_output_per_mtok(price: Price) -> int:
    """The highest rate that a token coming out can have."""
    return max(price.output_per_mtok, price.audio_output_per_mtok or 0)


def estimated_tokens(utf8_bytes: int) -> int:
    """Tokens assumed for text that nobody counted: ceil(bytes / 4). Source: design decision 53."""
    return -(-utf8_bytes // BYTES_PER_ESTIMATED_TOKEN)


def usd_text(nano_usd: int) -> str:
    """Nano-USD as a decimal string with always nine digits after the point, e.g. `0.000012345`."""
    if nano_usd < 0:
        return "-" + usd_text(-nano_usd)
    digits = str(nano_usd).zfill(10)
    return f"{digits[:-9]}.{digits[-9:]}"


def nano_usd(text: str) -> int:
    """A decimal USD text as integer nano-USD.

    Raises:
        ValueError: if it is not a finite decimal with at most nine digits after the point.
    """
    try:
        amount = Decimal(text) * NANO_PER_USD
    except ArithmeticError as error:
        raise ValueError(f"{text!r} is not a decimal number of US dollars") from error
    if not amount.is_finite() or amount != amount.to_integral_value():
        raise ValueError(f"{text!r} has more than nine digits after the point; nano-USD is the smallest unit")
    return int(amount)


def _rate(rate: int | None, otherwise: int) -> int:
    return otherwise if rate is None else rate
