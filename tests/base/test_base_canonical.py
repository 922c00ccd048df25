"""Canonical JSON against the vectors of the RFC, and that equal content has an equal digest."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineclear.base.canonical import canonical_json

BITS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555555": "333333333.3333333",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}
"""Source: RFC 8785 appendix B."""


@pytest.mark.parametrize(("bits", "text"), BITS.items())
def test_numbers_are_written_as_ecmascript_writes_them(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(value).decode() == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_back_as_it_was(value: float) -> None:
    assert float(canonical_json(value)) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, object()])
def test_what_json_cannot_say_exactly_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical_json([value])  # type: ignore[list-item]  # what the type forbids is refused at run time too


def test_keys_sort_by_utf_16_and_nothing_is_escaped_that_need_not_be() -> None:
    assert canonical_json({"\ufb33": 1, "\U0001f600": 2, "€": 3, "\n": 4, "1": 5}).decode() == (
        '{"\\n":4,"1":5,"€":3,"\U0001f600":2,"\ufb33":1}'
    )
