"""Arithmetic of check digits and checksums: each tells a real number from one that merely looks like it.

In: digits or characters without separators. Out: whether they agree. Pure.
"""

import zlib
from typing import Final

BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_VERHOEFF_D: Final = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 2, 3, 4, 0, 6, 7, 8, 9, 5),
    (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
    (3, 4, 0, 1, 2, 8, 9, 5, 6, 7),
    (4, 0, 1, 2, 3, 9, 5, 6, 7, 8),
    (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
    (6, 5, 9, 8, 7, 1, 0, 4, 3, 2),
    (7, 6, 5, 9, 8, 2, 1, 0, 4, 3),
    (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)
_VERHOEFF_P: Final = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 5, 7, 6, 2, 8, 3, 0, 9, 4),
    (5, 8, 0, 3, 7, 9, 6, 1, 4, 2),
    (8, 9, 1, 6, 0, 4, 3, 5, 2, 7),
    (9, 4, 5, 3, 1, 2, 6, 8, 7, 0),
    (4, 2, 8, 6, 5, 7, 3, 9, 0, 1),
    (2, 7, 9, 3, 8, 0, 6, 4, 1, 5),
    (7, 0, 4, 6, 9, 1, 3, 2, 5, 8),
)


def digits_of(text: str) -> str:
    """The decimal digits of a text, separators left out."""
    return "".join(character for character in text if "0" <= character <= "9")


def weighted_sum(digits: str, weights: tuple[int, ...]) -> int:
    """Each digit times its weight, added up; as many digits as weights."""
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))


def luhn(digits: str) -> bool:
    """The last digit is the Luhn check digit of those before. Source: ISO/IEC 7812-1, annex B."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) << (place & 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def mod_97_10(text: str) -> bool:
    """A text of digits and capital letters (A = 10 … Z = 35) leaves 1 modulo 97. Source: ISO/IEC 7064, MOD 97-10."""
    return int("".join(str(int(character, 36)) for character in text)) % 97 == 1


def mod_11_10(digits: str) -> bool:
    """The last digit is the hybrid check digit of those before. Source: ISO/IEC 7064, MOD 11,10."""
    product = 10
    for digit in digits[:-1]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[-1])


def verhoeff(digits: str) -> bool:
    """The last digit is the Verhoeff check digit of those before. Source: J. Verhoeff, Error Detecting Decimal Codes,
    Mathematical Centre Tract 29, 1969.
    """  # fmt: skip
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = _VERHOEFF_D[check][_VERHOEFF_P[place % 8][int(digit)]]
    return check == 0


def ean_13(digits: str) -> bool:
    """Thirteen digits with alternating weights 1 and 3 add up to a multiple of ten. Source: GS1 General Specifications,
    section 7.9.
    """  # fmt: skip
    return weighted_sum(digits, (1, 3) * 6 + (1,)) % 10 == 0


def crc32_base62(text: str, check: str) -> bool:
    """`check` is the CRC-32 of the text in six base-62 digits. Source: GitHub's blog, 2021-04-05, token formats."""
    value = 0
    for character in check:
        value = value * 62 + BASE62.index(character)
    return zlib.crc32(text.encode()) == value
