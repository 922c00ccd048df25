"""Denied phrases: found however they are written, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineclear.checks.deny_list import GAP_CHARS_MAX, DenyList, even


def found(text: str, *phrases: str, whole_words: bool = True) -> list[str]:
    detector = DenyList("deny", phrases, whole_words=whole_words)
    return [text[one.start : one.end] for one in detector.find(text, 0, len(text))]


@pytest.mark.parametrize(
    "text",
    [
        "about project falcon here",
        "about PROJECT Falcon!",
        "project \n\t falcon",
        "pro\u200bject fal\u00adcon",
        "“Project\u00a0Falcon”",
        "(project falcon)",
    ],
)
def test_finds_a_phrase_however_it_is_written(text: str) -> None:
    assert len(found(text, "Project  Falcon")) == 1


@pytest.mark.parametrize(
    "text", ["projectfalcon", "subproject falcon", "project falconry", "project, falcon", "falcon project"]
)
def test_leaves_other_words_alone(text: str) -> None:
    assert found(text, "project falcon") == []


def test_parts_of_words_count_if_asked_for() -> None:
    assert found("subproject falconry", "project falcon", whole_words=False) == ["project falcon"]


def test_finds_phrases_in_each_other() -> None:
    assert found("he said she", "he", "she", "he said") == ["he", "he said", "she"]
    assert found("ushers", "he", "she", "his", "hers", whole_words=False) == ["she", "he", "hers"]


def test_scripts_without_spaces_have_no_word_edges() -> None:
    assert found("这是机密文件吗", "机密文件") == ["机密文件"]


def test_letters_with_two_forms_are_one() -> None:
    assert found("ΟΔΟΣ και ΟΔΟΣΑ", "οδοσ") == ["ΟΔΟΣ"]
    assert found("İstanbul", "istanbul") == ["İstanbul"]


def test_a_wide_gap_separates() -> None:
    assert found("a" + " " * GAP_CHARS_MAX + "b", "a b") != []
    assert found("a" + " " * (GAP_CHARS_MAX + 1) + "b", "a b") == []
    assert found("a" + "\u200b" * 5_000 + "b", "ab") == []


@given(
    st.lists(st.text("abc ", min_size=1, max_size=5).filter(lambda text: bool(even(text))), min_size=1, max_size=6),
    st.text("abc ", max_size=60),
)
def test_finds_what_a_plain_search_finds(phrases: list[str], text: str) -> None:
    """The automaton against the obvious: every place of every phrase, in text that is already even."""
    text = even(text)
    expected = {
        (start, start + len(phrase))
        for phrase in map(even, phrases)
        for start in range(len(text))
        if text.startswith(phrase, start)
    }
    detector = DenyList("deny", phrases, whole_words=False)
    assert {(one.start, one.end) for one in detector.find(text, 0, len(text))} == expected
