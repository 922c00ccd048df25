"""Sealed bytes open only where they belong, and only unaltered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineclear.base.seal import Keys, Purpose, SealBroken

KEYS = Keys(bytes(range(32)))


@given(plain=st.binary(max_size=2000), section=st.text(max_size=30), revision=st.integers(0, 2**60))
def test_what_was_sealed_opens_as_it_was(plain: bytes, section: str, revision: int) -> None:
    sealed = KEYS.seal(section, revision, plain)
    assert KEYS.unseal(section, revision, sealed) == plain
    assert plain not in sealed or len(plain) < 8


@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_one_flipped_bit_breaks_it(position: int, bit: int) -> None:
    sealed = bytearray(KEYS.seal("sealed/credentials", 7, b"sk-secret"))
    sealed[position % len(sealed)] ^= 1 << bit
    with pytest.raises(SealBroken):
        KEYS.unseal("sealed/credentials", 7, bytes(sealed))


def test_another_section_revision_or_key_does_not_open_it() -> None:
    sealed = KEYS.seal("sealed/credentials", 7, b"sk-secret")
    for keys, section, revision in (
        (KEYS, "sealed/other", 7),
        (KEYS, "sealed/credentials", 8),
        (Keys(bytes(32)), "sealed/credentials", 7),
    ):
        with pytest.raises(SealBroken):
            keys.unseal(section, revision, sealed)


@pytest.mark.parametrize("sealed", [b"", b"LCS1", b"LCS1" + bytes(20), b"LCS2" + bytes(60)])
def test_what_was_never_sealed_is_refused(sealed: bytes) -> None:
    with pytest.raises(SealBroken):
        KEYS.unseal("sealed/credentials", 7, sealed)


def test_the_same_secret_seals_differently_each_time() -> None:
    assert KEYS.seal("sealed/a", 1, b"x") != KEYS.seal("sealed/a", 1, b"x")


def test_macs_differ_by_purpose_and_match_only_their_data() -> None:
    macs = {KEYS.mac(purpose, b"data") for purpose in Purpose}
    assert len(macs) == len(Purpose)
    assert KEYS.mac_matches(Purpose.SNAPSHOT_MAC, b"data", KEYS.mac(Purpose.SNAPSHOT_MAC, b"data"))
    assert not KEYS.mac_matches(Purpose.SNAPSHOT_MAC, b"date", KEYS.mac(Purpose.SNAPSHOT_MAC, b"data"))
    assert not KEYS.mac_matches(Purpose.SNAPSHOT_MAC, b"data", "é")


def test_keys_do_not_print_and_want_32_bytes() -> None:
    assert repr(KEYS) == "Keys(***)"
    with pytest.raises(ValueError, match="32"):
        Keys(b"short")
