"""Third-party files are what their table says, and nothing of them reaches the product."""

import hashlib
import re
from pathlib import Path

VENDOR = Path(__file__).parent / "vendor"
STATIC = Path(__file__).parents[2] / "src/lineclear/console/static"


def test_files_have_the_digests_of_the_table() -> None:
    rows = re.findall(r"^\| `([^`]+)` .*`([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.MULTILINE)
    assert rows
    for name, digest in rows:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
    assert {name for name, _ in rows} == {path.name for path in VENDOR.glob("*.js")}


def test_product_has_only_files_of_its_own() -> None:
    assert {path.name for path in STATIC.iterdir()} == {"tokens.css", "console.css", "console.js", "mark.svg"}
    for path in STATIC.iterdir():
        text = path.read_text()
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text), path
