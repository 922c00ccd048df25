"""Two texts as passages: nothing of either is lost, and no text is so odd that comparing it takes long."""

import random

import pytest

from lineclear.control.release_diff import Edit, Passage, diff_texts


def sides(passages: tuple[Passage, ...]) -> tuple[str, str]:
    before = "".join(item.text for item in passages if item.edit is not Edit.ADDED)
    return before, "".join(item.text for item in passages if item.edit is not Edit.REMOVED)


def test_passages_make_both_texts() -> None:
    chosen = random.Random(7)
    for _ in range(2_000):
        before, after = (
            "".join(chosen.choices("ab .!?\n\t\r\u2028", k=chosen.randint(0, 40))) for _ in range(2)
        )  # fmt: skip
        assert sides(diff_texts(before, after)) == (before, after)


def test_a_word_in_a_long_line_is_found() -> None:
    sentences = [" ".join(f"word{number}-{place}" for place in range(15)) + "." for number in range(80)]
    changed = [*sentences]
    changed[3] = changed[3].replace("word3-7", "other")
    changed[77] = changed[77].replace("word77-2", "another")
    found = diff_texts(" ".join(sentences), " ".join(changed))
    assert [item.text for item in found if item.edit is Edit.ADDED] == ["other", "another"]


@pytest.mark.parametrize(
    ("before", "after"),
    [("x\n\n" * 1_000, "\ny\n\n" * 1_000), ("a b " * 900, "b c a " * 800)],
    ids=["lines", "words"],
)
def test_texts_that_repeat_themselves_are_told_as_replaced(before: str, after: str) -> None:
    # Piece by piece, these take minutes and make thousands of passages.
    found = diff_texts(before, after)
    assert len(found) <= 3
    assert sides(found) == (before, after)
