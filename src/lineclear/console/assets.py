"""The console's static files: read once, named by their content, cached for a year.

In: the folder `static`. Out: bytes and addresses such as `console.1a2b3c4d5e6f.css`. Nothing is fetched from
anywhere else, ever.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

STATIC = Path(__file__).parent / "static"
DIGITS = 12
LAYOUT_VERSION = 5
"""Counted up when pages come to look different: `make pictures` is due then."""
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Asset:
    """One file."""

    name: str
    """With the digest inside."""
    media_type: str
    content: bytes


def read_assets(folder: Path = STATIC) -> Mapping[str, Asset]:
    """Every file of the folder, by its plain name."""
    return {path.name: _asset(path) for path in sorted(folder.iterdir()) if path.suffix in MEDIA_TYPES}


def _asset(path: Path) -> Asset:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:DIGITS]
    return Asset(f"{path.stem}.{digest}{path.suffix}", MEDIA_TYPES[path.suffix], content)
