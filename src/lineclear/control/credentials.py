"""Which value of a variable may be sent as a credential: it becomes part of a header line, byte for byte.

In: a value. Out: the flaw in words, never the value or a part of it. Pure.
"""

from lineclear.base.secret import Secret

FIRST_VISIBLE, LAST_VISIBLE = 0x21, 0x7E
"""A header field's value may hold these freely, RFC 9110 §5.5; we take no spaces, because no vendor's key has one."""


def flaw_of(value: Secret) -> str:
    """What keeps a value from being sent, to be read after "its value"; empty if nothing does."""
    text = value.reveal()
    wrong = [character for character in text if not FIRST_VISIBLE <= ord(character) <= LAST_VISIBLE]
    if not text:
        return "is empty"
    if not wrong:
        return ""
    if wrong[0] in "\r\n":
        return "holds a line break"
    if wrong[0].isspace():
        return "holds a space"
    return "holds a control character" if wrong[0].isascii() else "holds a character that is not ASCII"
