"""Each detector finds its own and leaves alone what only looks like it, in any surroundings."""

import time

import pytest

from lineclear.checks.deny_list import DenyList
from lineclear.checks.finding import Detector
from lineclear.checks.national_ids import NATIONAL_IDS
from lineclear.checks.personal_data import PERSONAL
from lineclear.checks.secret_formats import SECRETS
from lineclear.testing.corpora import (
    NATIONAL_FOUND,
    NATIONAL_LEFT,
    PERSONAL_FOUND,
    PERSONAL_LEFT,
    PROSE,
    SECRETS_FOUND,
    SECRETS_LEFT,
    pem,
)

ALL: dict[str, Detector] = {**SECRETS, **PERSONAL, **NATIONAL_IDS}
FOUND = {**SECRETS_FOUND, **PERSONAL_FOUND, **NATIONAL_FOUND}
LEFT = {**SECRETS_LEFT, **PERSONAL_LEFT, **NATIONAL_LEFT}
SURROUNDINGS = (
    ("", ""),
    ("It is ", "."),
    ("(", ")"),
    ('"', '"'),
    ("key=", ";"),
    ("\n", "\n"),
    ("→", "←"),
    ("a: ", ", b"),
)


def cases(corpus: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(name, sample) for name, samples in corpus.items() for sample in samples]


def found(detector: Detector, text: str) -> list[str]:
    return [text[one.start : one.end] for one in detector.find(text, 0, len(text))]


def test_every_detector_has_a_corpus() -> None:
    assert set(FOUND) == set(LEFT) == set(ALL)
    assert len(ALL) == len(SECRETS) + len(PERSONAL) + len(NATIONAL_IDS)


@pytest.mark.parametrize(("name", "sample"), cases(FOUND))
def test_finds_its_own_in_any_surroundings(name: str, sample: str) -> None:
    for before, behind in SURROUNDINGS:
        if name != "email" or before != "key=":  # there the local part begins with `key=`, which it may
            assert sample in found(ALL[name], f"{before}{sample}{behind}"), (before, behind)


@pytest.mark.parametrize(("name", "sample"), cases(LEFT))
def test_leaves_alone_what_only_looks_like_it(name: str, sample: str) -> None:
    assert found(ALL[name], f"It is {sample} then") == []


@pytest.mark.parametrize("name", sorted(ALL))
def test_finds_nothing_in_prose(name: str) -> None:
    assert found(ALL[name], PROSE) == []


@pytest.mark.parametrize(("name", "sample"), cases({**PERSONAL_FOUND, **NATIONAL_FOUND}))
def test_a_digit_less_or_more_is_another_number(name: str, sample: str) -> None:
    if name not in ("email", "phone"):
        assert sample not in found(ALL[name], f"A{sample}")
        assert sample not in found(ALL[name], f"{sample}7")


@pytest.mark.parametrize("name", ["payment-card", "iban", "nl-bsn", "de-tax-id", "in-aadhaar", "ch-ahv"])
def test_check_digits_tell_most_changed_digits(name: str) -> None:
    """One changed digit is always seen by these; Luhn, mod 97, mod 11 and Verhoeff promise that much."""
    sample = next(text for text in FOUND[name] if text.isalnum())
    for place in range(4 if name == "iban" else 0, len(sample)):
        for digit in "0123456789":
            if sample[place].isdigit() and digit != sample[place]:
                assert found(ALL[name], sample[:place] + digit + sample[place + 1 :]) == []


def test_a_card_is_found_before_other_digits() -> None:
    assert found(PERSONAL["payment-card"], "card 4111 1111 1111 1111 123 thanks") == ["4111 1111 1111 1111"]
    assert "DE89 3704 0044 0532 0130 00" in found(PERSONAL["iban"], "IBAN DE89 3704 0044 0532 0130 00 AT ONCE")


def test_a_private_key_without_an_end_reaches_as_far_as_one_may() -> None:
    text = pem()[:300]
    assert found(SECRETS["private-key"], text + " and more") == [text + " and more"]


@pytest.mark.parametrize(
    "piece", ["1", "A", "a", " ", "4111 ", "a.", "-----BEGIN ", "eyJ", "sk-", "+1", "a@", "DE89 ", "x1 "]
)
def test_hostile_text_takes_no_longer_than_it_is_long(piece: str) -> None:
    """Twice the text at most about twice the time: no run of characters makes any detector slow."""

    def seconds(chars: int) -> float:
        text = piece * (chars // len(piece))
        began = time.process_time()
        for detector in (*ALL.values(), DenyList("words", ["aaaaaaaaab", "1111111112", "      b"])):
            list(detector.find(text, 0, len(text)))
        return time.process_time() - began

    short, long = min(seconds(8_192) for _ in range(3)), min(seconds(32_768) for _ in range(3))
    assert long < 12 * short + 0.05
    assert long < 2.0
