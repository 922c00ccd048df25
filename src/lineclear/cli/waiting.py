"""A sign of life while a command waits for longer than a second.

In: words for what is waited for. Out: a line that moves on a terminal's stderr, one plain line where there is none or
where CI is set; nothing if the wait is short, and nothing in formats for programs.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

from lineclear.cli.output import Output
from lineclear.config.settings import process_environment

QUIET_S = 1.0
"""Shorter waits need no sign."""
STEP_S = 0.1
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


def is_animated() -> bool:
    """Whether a line may be written over again: a terminal with a person, not a build's log."""
    return sys.stderr.isatty() and not process_environment().get("CI")


@contextmanager
def sign_of_life(output: Output, words: str) -> Iterator[None]:
    """Show that something is going on for as long as the block runs."""
    if not output.is_talkative:
        yield
        return
    is_over = threading.Event()
    thread = threading.Thread(target=_show, args=(words, is_over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _show(words: str, is_over: threading.Event) -> None:
    if is_over.wait(QUIET_S):
        return
    if not is_animated():
        click.echo(f"{words} …", err=True)
        return
    step = 0
    while not is_over.wait(STEP_S):
        elapsed_s = QUIET_S + step * STEP_S
        sys.stderr.write(f"\r{FRAMES[step % len(FRAMES)]} {words}, {elapsed_s:.0f} s\x1b[K")
        sys.stderr.flush()
        step += 1
    sys.stderr.write("\r\x1b[K")
    sys.stderr.flush()
