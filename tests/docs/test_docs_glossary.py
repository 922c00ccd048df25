"""The glossary's words are the words in use, and the nouns people meet first are in the glossary."""

import re
from functools import cache
from pathlib import Path

import pytest

from lineclear.domain.manifest import Kind

ROOT = Path(__file__).parents[2]
PLURAL = r"(?:s|es)?"


def words() -> list[str]:
    """Every first cell of the glossary, alternatives apart: `application (app)` is two words."""
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ([^|]+?) \|", text, re.MULTILINE)
    return [
        word.strip(" `")
        for cell in cells
        if cell != "word" and not cell.startswith("-")
        for word in re.split(r"[,()/]", cell)
        if word.strip(" `")
    ]


@cache
def code_text() -> str:
    """All code as lower-case words: CamelCase and snake_case taken apart."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src/lineclear").rglob("*.py")))
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    return re.sub(r"[_\-\s]+", " ", text).lower()


@pytest.mark.parametrize("word", words())
def test_word_is_in_use(word: str) -> None:
    plain = re.sub(r"[_\-\s]+", " ", word).lower()
    assert re.search(rf"\b{re.escape(plain)}{PLURAL}\b", code_text()), (
        f"{word!r} is in the glossary and nowhere in the code"
    )


def test_no_word_stands_twice() -> None:
    assert len(words()) == len(set(words()))


def test_kinds_of_manifests_are_words() -> None:
    known = {word.lower() for word in words()}
    assert {str(kind).lower() for kind in Kind} <= known
