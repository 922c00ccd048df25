"""A command group whose commands are imported only when they are called.

In: a table of name → (module:attribute, one line of help). Out: a click group whose `--help` imports nothing.
"""

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass

import click


@dataclass(frozen=True)
class CommandRow:
    """Where a command lives."""

    target: str
    """`package.module:attribute` of a click command or group."""
    help: str
    """One line for the list of commands."""


class LazyGroup(click.Group):
    """A group over a table of rows."""

    def __init__(self, *args: object, table: Mapping[str, CommandRow], **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]  # click's own keywords, passed on as they are
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        row = self.table.get(cmd_name)
        return None if row is None else _load(row.target)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.table and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.table, n=1)
            also = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{also}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.help) for name, row in self.table.items()])


def _load(target: str) -> click.Command:
    module, _, attribute = target.partition(":")
    command = getattr(importlib.import_module(module), attribute)
    if not isinstance(command, click.Command):
        raise TypeError(f"{target} is not a click command")
    return command
