"""Escapes of JSON undone in a text that comes in pieces."""

import json
from itertools import combinations, pairwise

import pytest

from lineclear.gateway.unescape import Unescape

TEXTS = (
    'M\u00fcller "said" \\ / \n\t\r\b\f so',
    "\U0001f600\U0001f601 and \ud83d alone",
    "\ud83d\ud83d\ude00\ude00",
    "\\u0067 is no escape here, \\\\",
    "plain",
    "",
)


def parts_of(text: str, cuts: tuple[int, ...]) -> str:
    unescape = Unescape()
    edges = (0, *cuts, len(text))
    said = [unescape.take(text[start:end]) for start, end in pairwise(edges)]
    return "".join(said) + unescape.take("", is_last=True)


@pytest.mark.parametrize("text", TEXTS)
def test_wherever_it_is_cut_a_text_reads_as_json_does(text: str) -> None:
    escaped = json.dumps(text)[1:-1]
    for cuts in combinations(range(len(escaped) + 1), 2):
        assert parts_of(escaped, cuts) == json.loads(f'"{escaped}"')


@pytest.mark.parametrize("text", [r"C:\golf \uzz \u12", "\\", r"\u", r"\ud83d", r"\ud83d\u00", r"\ud83d\n"])
def test_what_is_no_whole_escape_stays(text: str) -> None:
    whole = Unescape().take(text, is_last=True)
    for cuts in combinations(range(len(text) + 1), 2):
        assert parts_of(text, cuts) == whole
    assert Unescape().take(r"\g\uzz\u12", is_last=True) == r"\g\uzz\u12"


def test_only_an_escape_that_is_not_whole_waits() -> None:
    unescape = Unescape()
    for piece, said, waiting in ((r"a\u00", "a", r"\u00"), ("67b", "gb", ""), ("c" * 9 + "\\", "c" * 9, "\\")):
        assert (unescape.take(piece), unescape.waiting) == (said, waiting)
    assert unescape.take("\\", is_last=False) == "\\"
