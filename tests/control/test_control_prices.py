"""The price file: untouched, exact where it knows, silent where it does not."""

import hashlib
import json

import pytest

from lineclear.control.prices.book import PRICE_FILE, committed_prices, manifest_price_version, price_of_row
from lineclear.domain.manifest import PriceRow


def test_the_committed_file_has_the_digest_that_it_names() -> None:
    content = json.loads(PRICE_FILE.read_bytes())
    body = json.dumps(content["providers"], sort_keys=True).encode()
    assert content["sha256"] == hashlib.sha256(body).hexdigest()
    assert content["version"].startswith("genai-prices/")
    assert content["date"]


@pytest.mark.parametrize(
    ("provider", "base_url", "upstream_id", "rates"),
    [
        ("acme", "https://api.openai.com/v1", "gpt-4o-mini", (150_000_000, 600_000_000)),
        ("openai", "https://proxy.example/v1", "gpt-4o-mini", (150_000_000, 600_000_000)),
        ("a", "https://api.anthropic.com", "claude-3-5-sonnet-20241022", (3_000_000_000, 15_000_000_000)),
    ],
)
def test_a_known_model_has_its_price(provider: str, base_url: str, upstream_id: str, rates: tuple[int, int]) -> None:
    price = committed_prices().price(provider, base_url, upstream_id)
    assert price is not None
    assert (price.input_per_mtok, price.output_per_mtok) == rates
    assert price.version == json.loads(PRICE_FILE.read_bytes())["version"]


@pytest.mark.parametrize(
    ("provider", "base_url", "upstream_id"),
    [
        ("openai", "https://api.openai.com/v1", "no-such-model"),
        ("acme", "https://proxy.example/v1", "gpt-4o-mini"),
        ("acme", "https://evil.example/https://api.openai.com", "gpt-4o-mini"),
    ],
)
def test_what_is_not_known_is_unpriced_and_never_free(provider: str, base_url: str, upstream_id: str) -> None:
    assert committed_prices().price(provider, base_url, upstream_id) is None


def test_every_row_of_the_file_is_a_price() -> None:
    content = json.loads(PRICE_FILE.read_bytes())
    rows = [
        row
        for entry in content["providers"].values()
        for row in (*entry["models"].values(), *entry["prefixes"].values())
    ]
    assert len(rows) > 1_000
    for row in rows:
        price = price_of_row(PriceRow(**row), "v")
        assert price.input_per_mtok >= 0
        assert "output_per_mtok" in row


def test_other_rates_have_another_version() -> None:
    one, two = PriceRow(input_per_mtok="1"), PriceRow(input_per_mtok="2")
    assert manifest_price_version(one) != manifest_price_version(two)
    assert manifest_price_version(one) == manifest_price_version(PriceRow(input_per_mtok="1"))
