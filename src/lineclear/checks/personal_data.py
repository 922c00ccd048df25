"""Personal data that is the same everywhere: e-mail addresses, telephone numbers, payment cards, bank accounts.

In: nothing. Out: `PERSONAL`, a Detector for each. Numbers that one country gives its people: `national_ids`.
"""

from typing import Final

from lineclear.checks.check_digits import digits_of, luhn, mod_97_10
from lineclear.checks.finding import Detector
from lineclear.checks.shape import ALPHANUMERIC, Shape

EMAIL_CHARS_MAX: Final = 254
"""Source: RFC 5321 §4.5.3.1.3, a path of 256 with its brackets."""

_IBAN_LENGTHS: Final = """
AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 DE:22 DJ:27 DK:18
DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 HN:28 HR:21 HU:28 IE:22 IL:23
IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 MK:19 MN:20 MR:27
MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 RU:33 SA:24 SC:31 SD:18 SE:24 SI:19
SK:24 SM:27 SO:23 ST:25 SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20 YE:30
"""
IBAN_CHARS: Final = {pair[:2]: int(pair[3:]) for pair in _IBAN_LENGTHS.split()}
"""Characters of an IBAN by country. Source: SWIFT IBAN Registry (ISO 13616)."""

_CARD_RANGES: Final[tuple[tuple[int, int, tuple[int, ...]], ...]] = (
    (400000, 499999, (13, 16, 19)),
    (510000, 559999, (16,)),
    (222100, 272099, (16,)),
    (340000, 349999, (15,)),
    (370000, 379999, (15,)),
    (300000, 305999, (14, 16, 17, 18, 19)),
    (360000, 369999, (14, 16, 17, 18, 19)),
    (380000, 399999, (14, 16, 17, 18, 19)),
    (352800, 358999, (16, 17, 18, 19)),
    (601100, 601199, (16, 17, 18, 19)),
    (644000, 659999, (16, 17, 18, 19)),
    (620000, 629999, (16, 17, 18, 19)),
    (500000, 509999, (12, 13, 14, 15, 16, 17, 18, 19)),
    (560000, 589999, (12, 13, 14, 15, 16, 17, 18, 19)),
)
"""First six digits from, to, and lengths: Visa, Mastercard twice, American Express twice, Diners Club thrice, JCB,
Discover twice, UnionPay, Maestro twice. Source: ISO/IEC 7812-1 and the schemes' published ranges."""


def is_card(digits: str) -> bool:
    """A scheme's range and length, and the Luhn check digit."""
    first = int(digits[:6])
    known = any(low <= first <= high and len(digits) in lengths for low, high, lengths in _CARD_RANGES)
    return known and luhn(digits)


def is_iban(text: str) -> bool:
    """A country's length, and 1 modulo 97 with the first four characters last. Source: ISO 13616-1."""
    return IBAN_CHARS.get(text[:2]) == len(text) and mod_97_10(text[4:] + text[:4])


def _card_chars(text: str) -> int:
    """How much of a run of digits is a card: all of it, or up to a separator, since other digits may follow."""
    ends = [len(text), *(place for place in range(len(text) - 1, 0, -1) if not text[place].isdigit())]
    for end in ends:
        digits = digits_of(text[:end])
        if len(digits) < 12:
            return 0
        if is_card(digits):
            return end
    return 0


def _iban_chars(text: str) -> int:
    """How much of a run of capitals, digits and spaces is an IBAN; its country says how long it is."""
    wanted = IBAN_CHARS.get(text[:2], 0)
    seen = 0
    for place, character in enumerate(text):
        seen += character != " "
        if seen == wanted:
            ends = place + 1 == len(text) or text[place + 1] == " "
            return place + 1 if ends and is_iban(text[: place + 1].replace(" ", "")) else 0
    return 0


def _email_chars(text: str) -> int:
    """At most what RFC 5321 allows, no two dots in a row, none at an end of the local part."""
    local = text.partition("@")[0]
    is_well = len(text) <= EMAIL_CHARS_MAX and ".." not in local and local[0] != "." and local[-1] != "."
    return len(text) if is_well else 0


_LOCAL = "[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

_ALL: Final[tuple[Detector, ...]] = (
    # Source: RFC 5321 §4.1.2 (dot-string), §4.5.3.1.1 (64 characters before the @); RFC 1035 §2.3.4 (63 a label).
    Shape(
        "email",
        rf"{_LOCAL}(?<!{_LOCAL}{_LOCAL}){_LOCAL}{{0,63}}@(?:{_LABEL}\.){{1,8}}[A-Za-z]{{2,24}}(?![A-Za-z0-9])",
        ALPHANUMERIC + ".!#$%&'*+/=?^_`{|}~-@",
        64 + 1 + 8 * 64 + 24,
        _email_chars,
        needs="@",
    ),
    # International form only: without the plus sign nothing tells a telephone number from any other. Source: E.164 §6.
    Shape(
        "phone",
        r"\+(?<![A-Za-z0-9]\+)[1-9](?:[ .()/-]{0,2}[0-9]){6,14}(?![0-9])",
        "0123456789+ .()/-",
        2 + 14 * 3,
        len,
        needs="+",
    ),
    Shape(
        "payment-card",
        r"[2-6](?<![A-Za-z0-9][2-6])(?<![0-9][.][2-6])(?:[ -]?[0-9]){11,18}(?![A-Za-z0-9])",
        "0123456789 -",
        1 + 18 * 2,
        _card_chars,
    ),
    Shape(
        "iban",
        r"[A-Z](?<![A-Za-z0-9][A-Z])[A-Z][0-9]{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])",
        ALPHANUMERIC[:36] + " ",
        4 + 30 * 2,
        _iban_chars,
    ),
)

PERSONAL: Final[dict[str, Detector]] = {detector.name: detector for detector in _ALL}
"""By name."""
