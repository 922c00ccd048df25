"""Commands whose answer has one form only: they say so to whoever asks for another one, and exit 2."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
"""Any: click commands take whatever they take."""


def no_output_option(instead: str) -> Callable[[F], F]:
    """Give a command an `-o` that refuses and says what to take `instead`. Put it right above the function."""

    def refuse(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise click.UsageError(f"`{context.command_path}` has no -o; {instead}", context)

    return click.option("-o", "--output", hidden=True, expose_value=False, callback=refuse)
