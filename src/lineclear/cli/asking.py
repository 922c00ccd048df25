"""What a command asks of the person in front of it: secret values, a yes, a name typed out.

In: words. Out: the answer. Where nobody sits at a terminal nothing is asked: the command says what to pass instead.
"""

import sys
from pathlib import Path

import click

VALUE_BYTES_MAX = 64 * 1024
"""More than any credential; a file this long is the wrong one."""


def is_someone_there() -> bool:
    """Whether questions can be answered: both ends of the conversation are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def read_secret(words: str, from_file: Path | None) -> str:
    """A secret value: from a file, from a pipe on standard input, or typed without being shown.

    Line ends after the value are left out, since files and pipes end with one.

    Raises:
        click.UsageError: if there is no value, or it cannot be text of one credential.
    """
    if from_file is not None:
        try:
            raw = from_file.read_bytes()[: VALUE_BYTES_MAX + 1]
        except OSError as error:
            raise click.UsageError(f"{from_file} cannot be read: {error.strerror}") from error
    elif sys.stdin.isatty():
        raw = str(click.prompt(words, hide_input=True, err=True)).encode()
    else:
        raw = sys.stdin.buffer.read(VALUE_BYTES_MAX + 1)
    if len(raw) > VALUE_BYTES_MAX:
        raise click.UsageError(f"the value is longer than {VALUE_BYTES_MAX} bytes; is it the right file?")
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise click.UsageError("the value is no text in UTF-8; is it the right file?") from error
    if not text:
        raise click.UsageError("no value came; type it at the prompt, pipe it in, or use --from-file FILE")
    return text


def confirm(words: str, *, is_confirmed: bool) -> None:
    """Ask for a yes.

    Raises:
        click.UsageError: if nobody is there to say it and `--yes` was not given.
        click.Abort: for a no.
    """
    if is_confirmed:
        return
    if not is_someone_there():
        raise click.UsageError(f"{words} Nobody is here to say so: add --yes, or look first with --dry-run.")
    click.confirm(words, abort=True, err=True)


def demand_typed(words: str, wanted: str) -> None:
    """Ask for a name to be typed out, before something that callers in live notice.

    Raises:
        click.Abort: if anything else was typed.
    """
    if click.prompt(f"{words} Type {wanted!r} to go on", err=True, default="", show_default=False) != wanted:
        click.echo("that is not it; nothing was changed", err=True)
        raise click.Abort
