"""What a vendor's model costs when the manifest gives no price.

In: the committed price file, a provider's name and base URL, a vendor's model id. Out: a Price, or None = unpriced.
Must not read the network or guess between models.
"""

import json
import re
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lineclear.base.canonical import digest_hex
from lineclear.domain.manifest import PriceRow
from lineclear.domain.money import Price, nano_usd

PRICE_FILE = Path(__file__).parent / "genai-prices.json"


def manifest_price_version(row: PriceRow) -> str:
    """Names the rates of a manifest's row, so that an entry says which rates it was priced by: `manifest/` + 8 hex."""
    return f"manifest/{digest_hex(asdict(row))[:8]}"


def price_of_row(row: PriceRow, version: str) -> Price:
    """A manifest's price row in nano-USD.

    Raises:
        ValueError: if a field is not a decimal number; manifests are checked before.
    """
    return Price(
        version=version,
        input_per_mtok=nano_usd(row.input_per_mtok),
        output_per_mtok=nano_usd(row.output_per_mtok),
        cache_read_per_mtok=_optional(row.cache_read_per_mtok),
        cache_write_per_mtok=_optional(row.cache_write_per_mtok),
        cache_write_1h_per_mtok=_optional(row.cache_write_1h_per_mtok),
        audio_input_per_mtok=_optional(row.audio_input_per_mtok),
        audio_output_per_mtok=_optional(row.audio_output_per_mtok),
        per_request=nano_usd(row.per_request),
    )


def _optional(text: str | None) -> int | None:
    return None if text is None else nano_usd(text)


@dataclass(frozen=True)
class _Vendor:
    name: str
    hosts: re.Pattern[str]
    models: dict[str, dict[str, str]]
    prefixes: dict[str, dict[str, str]]


class PriceBook:
    """Vendors' prices by provider and exact model id, else by the longest prefix that the source names."""

    def __init__(self, version: str, vendors: tuple[_Vendor, ...]) -> None:
        self.version = version
        """E.g. `genai-prices/0.2.3`."""
        self._vendors = vendors

    @classmethod
    def load(cls, path: Path = PRICE_FILE) -> "PriceBook":
        """The committed price file."""
        content: dict[str, Any] = json.loads(path.read_bytes())
        vendors = tuple(
            _Vendor(name, re.compile(entry["hosts"]), entry["models"], entry["prefixes"])
            for name, entry in content["providers"].items()
        )
        return cls(content["version"], vendors)

    def knows(self, base_url: str) -> bool:
        """Whether it has prices of the vendor at this address."""
        return any(vendor.hosts.match(base_url) for vendor in self._vendors)

    def price(self, provider: str, base_url: str, upstream_id: str) -> Price | None:
        """The price of a vendor's model; the vendor is known by its host, else by the provider's own name."""
        vendor = next((vendor for vendor in self._vendors if vendor.hosts.match(base_url)), None)
        vendor = vendor or next((vendor for vendor in self._vendors if vendor.name == provider), None)
        row = _row(vendor, upstream_id) if vendor else None
        return None if row is None else price_of_row(PriceRow(**row), self.version)


def _row(vendor: _Vendor, upstream_id: str) -> dict[str, str] | None:
    exact = vendor.models.get(upstream_id)
    if exact is not None:
        return exact
    fitting = [prefix for prefix in vendor.prefixes if upstream_id.startswith(prefix)]
    return vendor.prefixes[max(fitting, key=len)] if fitting else None


@cache
def committed_prices() -> PriceBook:
    """The committed price file, read once."""
    return PriceBook.load()
