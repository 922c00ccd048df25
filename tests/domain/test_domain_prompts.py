"""Prompts become segments, or say what is wrong with them."""

import pytest

from lineclear.domain.prompts import VARIABLES_MAX, prompt_segments


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("plain", ("plain",)),
        ("{{ shop }}", ("", "shop", "")),
        ("You serve {{shop}} in {{  city-name }}.", ("You serve ", "shop", " in ", "city-name", ".")),
        ('{"a": 1}', ('{"a": 1}',)),
        ("{ {x} }", ("{ {x} }",)),
    ],
)
def test_literals_and_variables_alternate(text: str, segments: tuple[str, ...]) -> None:
    assert prompt_segments(text) == segments


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ shop", "'{{' has no partner"),
        ("shop }}", "'}}' has no partner"),
        ("{{ }}", "not a variable name"),
        ("{{ Shop }}", "not a variable name"),
        ("{{ a.b }}", "not a variable name"),
        ("{{ a }}" * (VARIABLES_MAX + 1), "more than"),
    ],
)
def test_a_mistake_is_said(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        prompt_segments(text)
