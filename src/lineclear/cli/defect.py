"""How a failure that no command foresaw is told: in one line with the next command, never as a traceback unasked.

In: an exception that reached the edge, and the words as they were typed. Out: text on stderr. Loaded only when there is
one. Must not show a token, whatever the exception holds.
"""

import re
import traceback
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import click

import lineclear
from lineclear.cli.output import ExitCode, write_error
from lineclear.cli.wrong_call import asked_format
from lineclear.config.settings import process_environment

DEBUG = "LINECLEAR_DEBUG"
_TOKEN_NAMES = ("LINECLEAR_TOKEN", "LINECLEAR_DATABASE_URL")
_OUR_TOKENS = re.compile(r"\blc[a-z]*_[A-Za-z0-9_-]{8,}")
"""Admin tokens and API keys as we make them."""
HIDDEN = "***"
_HOUSE = Path(lineclear.__file__).parent


def show_defect(error: Exception, words: Sequence[str]) -> ExitCode:
    """Tell it, and where it began if LINECLEAR_DEBUG asks for that; the code to exit with."""
    environment = process_environment()
    is_debug = environment.get(DEBUG, "") not in ("", "0")
    if is_debug:
        text = "".join(traceback.format_exception(error))
        click.echo(_without_secrets(text, words, environment), err=True, nl=False)
    if isinstance(error, OSError) and error.strerror:
        named = f": {error.filename}" if error.filename is not None else ""
        message, hint = f"{error.strerror}{named}", "may this user read and write it, and is there room?"
    else:
        message = f"{type(error).__name__} at {_place(error)}: {error}"
        hint = "this is a defect; `lineclear doctor --bundle FILE` gathers what a report needs"
    if not is_debug:
        hint += f" ({DEBUG}=1 shows where it began)"
    write_error(asked_format(words), _without_secrets(message, words, environment), hint=hint, kind="defect")
    return ExitCode.FAILURE


def _place(error: Exception) -> str:
    """The innermost line of ours."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(_HOUSE)
    ]
    return f"{Path(frames[-1].filename).relative_to(_HOUSE)}:{frames[-1].lineno}" if frames else "an unknown place"


def _hidden(words: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """What was given as a secret, on the command line or in the environment."""
    typed = [after for word, after in pairwise(words) if word == "--token"]
    joined = [word.partition("=")[2] for word in words if word.startswith("--token=")]
    return [text for text in (*typed, *joined, *(environment.get(name, "") for name in _TOKEN_NAMES)) if text]


def _without_secrets(text: str, words: Sequence[str], environment: Mapping[str, str]) -> str:
    for secret in _hidden(words, environment):
        # As it is, and as Python writes it in a message.
        for form in (secret, repr(secret)[1:-1], repr(secret.encode("utf-8", "surrogateescape"))[2:-1]):
            text = text.replace(form, HIDDEN)
    return _OUR_TOKENS.sub(HIDDEN, text)
