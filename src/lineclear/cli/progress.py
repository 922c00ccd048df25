"""Progress of work that takes longer than a second: a bar on a terminal's stderr, one line elsewhere.

In: what is done, and how much of it there is. Out: a function that takes each step. Pipes and JSON stay clean.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from lineclear.cli.output import Output
from lineclear.cli.waiting import is_animated, sign_of_life


@contextmanager
def progress_bytes(output: Output, words: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Shows how many of `total_bytes` are done while the block runs; the function takes bytes done since."""
    if not output.is_talkative or not is_animated():
        # In a build's log one line says that it goes on; a bar would fill it.
        with sign_of_life(output, words):
            yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(words, total=total_bytes)
        yield lambda done: bar.advance(task, done)
