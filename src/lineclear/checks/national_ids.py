"""Numbers that countries give their people, each told from any other number by its own check digits.

In: nothing. Out: `NATIONAL_IDS`, a Detector for each. A check digit leaves one in ten to one in ninety-seven random
numbers of that length: choose the countries whose people the route serves, not all of them.
"""

from typing import Final

from lineclear.checks.check_digits import (
    digits_of,
    ean_13,
    luhn,
    mod_11_10,
    verhoeff,
    weighted_sum,
)
from lineclear.checks.finding import Detector
from lineclear.checks.shape import ALPHANUMERIC, number

_DIGITS: Final = "0123456789 -./+"
_CAPITALS: Final = ALPHANUMERIC[:36] + " -."
_DNI_LETTERS: Final = "TRWAGMYFPDXBNJZSQVHLCKE"
_ODD_VALUES: Final = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21) * 2 + (2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
        strict=True,
    )
)
_NEVER_ISSUED_SSN: Final = frozenset({"078051120", "219099999"})
"""Printed in advertisements."""


def is_us_ssn(text: str) -> bool:
    """Area not 000, 666 or 900 and above, group not 00, serial not 0000. Source: SSA, POMS RM 10201.035."""
    digits = digits_of(text)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    is_issued = area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"
    return is_issued and digits not in _NEVER_ISSUED_SSN and text[3] == text[6]


def is_uk_nhs_number(text: str) -> bool:
    """Weights 10 to 2, modulo 11. Source: NHS Data Dictionary, NHS number."""
    digits = digits_of(text)
    check = 11 - weighted_sum(digits[:9], (10, 9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return len(set(digits)) > 1 and check % 11 == int(digits[9]) and check != 10


def is_de_tax_id(text: str) -> bool:
    """One of the first ten digits stands two or three times, MOD 11,10. Source: BZSt, Aufbau der Steuer-ID."""
    digits = digits_of(text)
    counts = sorted((digits[:10].count(digit) for digit in set(digits[:10])), reverse=True)
    return counts[0] in (2, 3) and counts[1] == 1 and mod_11_10(digits)


def is_es_dni(text: str) -> bool:
    """The letter is the number's remainder modulo 23; X, Y, Z count 0, 1, 2. Source: Real Decreto 1553/2005."""
    body = text[:-1].rstrip("-")
    value = int(body.translate({ord("X"): "0", ord("Y"): "1", ord("Z"): "2"}))
    return _DNI_LETTERS[value % 23] == text[-1]


def is_fr_nir(text: str) -> bool:
    """The key is 97 less the number's remainder; 2A and 2B of Corsica count 19 and 18. Source: Insee, NIR."""
    body = text.replace(" ", "").replace("2A", "19").replace("2B", "18")
    return 97 - int(body[:13]) % 97 == int(body[13:])


def is_nl_bsn(text: str) -> bool:
    """The eleven test, weights 9 to 2 and -1. Source: Logisch Ontwerp BSN, §1.3."""
    digits = digits_of(text)
    return len(set(digits)) > 1 and weighted_sum(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def is_in_aadhaar(text: str) -> bool:
    """Verhoeff. Source: UIDAI, Aadhaar numbering scheme."""
    digits = digits_of(text)
    return verhoeff(digits) and digits != digits[::-1]


def is_it_fiscal_code(text: str) -> bool:
    """Values of odd and even places, modulo 26. Source: Decreto Ministeriale 23 December 1976."""
    total = sum(
        _ODD_VALUES[character] if place % 2 == 0 else int(character, 36) - (10 if character.isalpha() else 0)
        for place, character in enumerate(text[:15])
    )
    return chr(ord("A") + total % 26) == text[15]


def is_pl_pesel(text: str) -> bool:
    """A date whose month tells the century, weights 1 3 7 9. Source: PESEL Act of 24 September 2010, article 15."""
    month, day = int(text[2:4]) % 20, int(text[4:6])
    is_date = 1 <= month <= 12 and 1 <= day <= 31
    return is_date and weighted_sum(text, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def is_br_cpf(text: str) -> bool:
    """Two check digits modulo 11. Source: Receita Federal, Instrução Normativa on the CPF."""
    digits = digits_of(text)
    first = weighted_sum(digits[:9], tuple(range(10, 1, -1))) * 10 % 11 % 10
    second = weighted_sum(digits[:10], tuple(range(11, 1, -1))) * 10 % 11 % 10
    return len(set(digits)) > 1 and digits[9:] == f"{first}{second}"


def is_ca_sin(text: str) -> bool:
    """Luhn; 0 and 8 are never first. Source: Service Canada, Social Insurance Number validation."""
    return text[0] not in "08" and text[3] == text[7] and luhn(digits_of(text))


def is_ch_ahv(text: str) -> bool:
    """An EAN-13 in Switzerland's own range 756. Source: ZAS/CdC, AHVN13."""
    return ean_13(digits_of(text))


def is_se_personal_number(text: str) -> bool:
    """A date and a Luhn digit over the last ten digits. Source: Skatteverket, SKV 704."""
    digits = digits_of(text)[-10:]
    month, day = int(digits[2:4]), int(digits[4:6])
    # A co-ordination number has 60 added to its day.
    return 1 <= month <= 12 and (1 <= day <= 31 or 61 <= day <= 91) and luhn(digits)


_ALL: Final[tuple[Detector, ...]] = (
    number("us-ssn", "[0-8]", r"[0-9]{2}[ -][0-9]{2}[ -][0-9]{4}", _DIGITS, 11, is_us_ssn),
    number("uk-nhs-number", "[0-9]", r"[0-9]{2}[ -]?[0-9]{3}[ -]?[0-9]{4}", _DIGITS, 12, is_uk_nhs_number),
    number("de-tax-id", "[1-9]", r"[0-9](?: ?[0-9]{3}){3}", _DIGITS, 14, is_de_tax_id),
    number("es-dni", "[0-9XYZ]", r"[0-9]{7}-?[A-Z]", _CAPITALS, 10, is_es_dni),
    number(
        "fr-nir",
        "[12378]",
        r" ?[0-9]{2} ?(?:0[1-9]|1[0-2]|[2-9][0-9]) ?(?:2[AB]|[0-9]{2}) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
        _DIGITS + "AB",
        21,
        is_fr_nir,
    ),
    number("nl-bsn", "[0-9]", r"[0-9]{3}\.?[0-9]{2}\.?[0-9]{3}", _DIGITS, 11, is_nl_bsn),
    number("in-aadhaar", "[2-9]", r"[0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}", _DIGITS, 14, is_in_aadhaar),
    number(
        "it-fiscal-code",
        "[A-Z]",
        r"[A-Z]{5}[0-9LMNPQRSTUV]{2}[ABCDEHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]",
        _CAPITALS,
        16,
        is_it_fiscal_code,
    ),
    number("pl-pesel", "[0-9]", r"[0-9]{10}", _DIGITS, 11, is_pl_pesel),
    number("br-cpf", "[0-9]", r"[0-9]{2}\.?[0-9]{3}\.?[0-9]{3}-?[0-9]{2}", _DIGITS, 14, is_br_cpf),
    number("ca-sin", "[1-79]", r"[0-9]{2}[ -][0-9]{3}[ -][0-9]{3}", _DIGITS, 11, is_ca_sin),
    number("ch-ahv", "7", r"56\.?[0-9]{4}\.?[0-9]{4}\.?[0-9]{2}", _DIGITS, 16, is_ch_ahv),
    number("se-personal-number", "[0-9]", r"[0-9]{5}(?:[0-9]{2})?[-+]?[0-9]{4}", _DIGITS, 13, is_se_personal_number),
)

NATIONAL_IDS: Final[dict[str, Detector]] = {detector.name: detector for detector in _ALL}
"""By name."""
