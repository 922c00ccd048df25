"""Prompts as segments: literal, variable, literal, …, so that filling one in never scans its text.

The only syntax is `{{ name }}`; there is no logic and no escaping inside a value.
"""

import re
from collections.abc import Sequence

_VARIABLE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_NAME = re.compile(r"[a-z0-9-]{1,64}")
VARIABLES_MAX = 64


def prompt_segments(text: str) -> tuple[str, ...]:
    """Literals at even places, variable names at odd places, always starting and ending with a literal.

    Raises:
        ValueError: if a `{{` or `}}` has no partner, a name is not `[a-z0-9-]`, or there are more than
            VARIABLES_MAX variables.
    """
    parts = _VARIABLE.split(text)
    for literal in parts[0::2]:
        for mark in ("{{", "}}"):
            if mark in literal:
                raise ValueError(f"{mark!r} has no partner; a variable is written {{{{ name }}}}")
    for name in parts[1::2]:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a variable name: lower-case letters, digits and - only")
    if len(parts) // 2 > VARIABLES_MAX:
        raise ValueError(f"more than {VARIABLES_MAX} variables")
    return tuple(parts)


def prompt_text(segments: Sequence[str]) -> str:
    """The text of a prompt, each variable written as `{{ name }}`."""
    return "".join(part if place % 2 == 0 else f"{{{{ {part} }}}}" for place, part in enumerate(segments))


def prompt_variables(segments: Sequence[str]) -> list[str]:
    """The variables of a prompt, each once, in the order in which they come."""
    return list(dict.fromkeys(segments[1::2]))
