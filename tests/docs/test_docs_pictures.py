"""Pictures in the documentation: all that are made are there, shown, light and dark, small, and of today's layout."""

import re
from pathlib import Path

import pytest

from lineclear.console.assets import LAYOUT_VERSION
from lineclear.testing.pictures import LAYOUT_FILE, PAGES, SCHEMES, make_pictures, picture_names

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs/pictures"
BYTES_MAX = 160 * 1024
FILES_MAX = 6
PNG = b"\x89PNG\r\n\x1a\n"
DATA_CHUNKS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"sBIT", b"sRGB", b"gAMA", b"pHYs"})
"""Chunks of a PNG that say nothing of who made it, where and when."""


def chunks(picture: bytes) -> set[bytes]:
    """The kinds of a PNG's chunks."""
    found = set()
    place = len(PNG)
    while place < len(picture):
        found.add(picture[place + 4 : place + 8])
        place += 12 + int.from_bytes(picture[place : place + 4], "big")
    return found


def test_all_pictures_are_there_and_no_other() -> None:
    assert sorted(path.name for path in PICTURES.glob("*.png")) == sorted(picture_names())
    assert len(picture_names()) <= FILES_MAX


@pytest.mark.parametrize("name", picture_names())
def test_picture_is_small_and_names_nobody(name: str) -> None:
    picture = (PICTURES / name).read_bytes()
    assert picture.startswith(PNG)
    assert len(picture) <= BYTES_MAX
    assert chunks(picture) <= DATA_CHUNKS


def test_pictures_show_the_layout_of_today() -> None:
    made = int((PICTURES / LAYOUT_FILE).read_text())
    assert made == LAYOUT_VERSION, "the console looks different now: make pictures, and look at them"


def test_readme_shows_each_picture_in_the_scheme_of_its_reader() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r'<picture>\n  <source media="(.+?)" srcset="(.+?)">\n  <img src="(.+?)".* alt="(.+?)">', readme)
    assert {(dark, light) for _, dark, light, _ in shown} == {
        (f"docs/pictures/{page}-dark.png", f"docs/pictures/{page}-light.png") for page in PAGES
    }
    assert {media for media, *_ in shown} == {"(prefers-color-scheme: dark)"}


def test_pictures_can_be_made(tmp_path: Path) -> None:
    make_pictures(tmp_path)
    for page in PAGES:
        made = [(tmp_path / f"{page}-{scheme}.png").read_bytes() for scheme in SCHEMES]
        assert all(len(picture) <= BYTES_MAX for picture in made)
        assert made[0] != made[1]
