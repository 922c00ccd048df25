"""Text in pieces: the same findings as the whole text, with a bounded part held back."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lineclear.checks.deny_list import DenyList
from lineclear.checks.finding import Detector, Finding
from lineclear.checks.national_ids import NATIONAL_IDS
from lineclear.checks.personal_data import PERSONAL
from lineclear.checks.secret_formats import PEM_CHARS_MAX, SECRETS
from lineclear.checks.window import Span, Window, label, masked, merge
from lineclear.testing.corpora import NATIONAL_FOUND, PERSONAL_FOUND, PROSE, SECRETS_FOUND, SECRETS_LEFT, pem

DENY = DenyList("deny", ["project falcon", "falcon", "con artist", "a b c"])
DETECTORS: tuple[Detector, ...] = (*SECRETS.values(), *PERSONAL.values(), *NATIONAL_IDS.values(), DENY)
SAMPLES = [
    sample
    for corpus in (SECRETS_FOUND, PERSONAL_FOUND, NATIONAL_FOUND, SECRETS_LEFT)
    for samples in corpus.values()
    for sample in samples
]
FRAGMENTS = [
    *SAMPLES,
    "project  falcon",
    "falcon artist",
    "a \u200b b c",
    pem()[:200],
    "-----BEGIN ",
    "4111 1111 ",
    "+",
    "@",
    ".",
]
TEXTS = st.lists(
    st.one_of(st.sampled_from(FRAGMENTS), st.text("ab1 .-@+4A\n", max_size=8), st.just(" ")), max_size=6
).map("".join)
CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def pieces(text: str, cuts: Sequence[int]) -> list[str]:
    """The text cut into pieces of these lengths, over and over."""
    cut, at, place = [], 0, 0
    while at < len(text):
        cut.append(text[at : at + cuts[place % len(cuts)]])
        at += cuts[place % len(cuts)]
        place += 1
    return cut


def in_pieces(detectors: Sequence[Detector], parts: Sequence[str]) -> tuple[list[Finding], int]:
    """All findings, and the most characters that were held back."""
    window, fed, held_max = Window(detectors), 0, 0
    found: list[Finding] = []
    for part in parts:
        taken = window.take(part)
        fed += len(part)
        held_max = max(held_max, fed - taken.settled_chars)
        found += taken.findings
    last = window.take("", is_last=True)
    assert last.settled_chars == fed
    return [*found, *last.findings], held_max


def at_once(detectors: Sequence[Detector], text: str) -> list[Finding]:
    return list(Window(detectors).take(text, is_last=True).findings)


@settings(max_examples=400, deadline=None)
@given(TEXTS, CUTS)
@example("card 4111 1111 1111 1111 123", [1])
@example(pem() + " and " + pem()[:100], [7])
@example("-----BEGIN " * 8 + pem(), [3])
def test_pieces_give_the_findings_of_the_whole(text: str, cuts: list[int]) -> None:
    assert in_pieces(DETECTORS, pieces(text, cuts))[0] == at_once(DETECTORS, text)


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_finding_across_any_cut_is_found(sample: str) -> None:
    text = f"It is {sample}, he said. {PROSE}"
    whole = at_once(DETECTORS, text)
    for cut in range(6, 7 + len(sample), max(1, len(sample) // 60)):
        assert in_pieces(DETECTORS, [text[:cut], text[cut:]])[0] == whole


@settings(max_examples=200, deadline=None)
@given(TEXTS, CUTS)
def test_pieces_masked_make_the_whole_masked(text: str, cuts: list[int]) -> None:
    spans = merge((), at_once(DETECTORS, text))
    whole = masked(text, 0, spans)
    at, joined = 0, ""
    for piece in pieces(text, cuts):
        joined += masked(piece, at, spans)
        at += len(piece)
    assert joined == whole
    assert all(left.end <= right.start for left, right in itertools.pairwise(spans))


def test_masks_what_overlaps_as_one() -> None:
    spans = merge((), [Finding(3, 6, "a"), Finding(5, 9, "b"), Finding(9, 10, "c")])
    assert spans == (Span(3, 9, "a"), Span(9, 10, "c"))
    assert masked("0123456789!", 0, spans) == f"012{label('a')}{label('c')}!"


@pytest.mark.parametrize("piece", ["word ", "1", "a", "-----BEGIN ", "eyJ.", "project ", "a ", "+1 ", "\u200b", "A1 "])
def test_what_is_held_back_is_bounded(piece: str) -> None:
    _, held_max = in_pieces(DETECTORS, [piece] * (10_000 // len(piece)))
    assert held_max <= PEM_CHARS_MAX + len(piece)


def test_prose_is_held_back_by_a_word_or_two() -> None:
    _, held_max = in_pieces(tuple(SECRETS.values()), pieces(PROSE, [4]))
    assert held_max < 48
