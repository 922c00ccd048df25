"""How a wrong call is told: in words, or as the object that the call asked for. Loaded only when there is one."""

import re
from collections.abc import Sequence

import click

from lineclear.cli.output import Format, write_error

_ASKED = re.compile(r"(?:^|\s)(?:-o|--output)[ =]?(json|jsonl|yaml)(?:\s|$)")


def show_error(error: click.ClickException, words: Sequence[str]) -> None:
    """Tell what was wrong with the call itself, in the format that the call asked for.

    The options may be what could not be read, so the format is looked for in the words as they were typed.
    """
    asked = asked_format(words)
    context = error.ctx if isinstance(error, click.UsageError) else None
    if asked is Format.TABLE:
        error.show()
    else:
        hint = f"`{context.command_path} --help` shows what it takes" if context else ""
        write_error(asked, error.format_message(), hint=hint, kind="usage")


def asked_format(words: Sequence[str]) -> Format:
    """The format for programs that the words ask for; a table if none."""
    asked = _ASKED.search(" ".join(words))
    return Format.TABLE if asked is None else Format(asked.group(1))
