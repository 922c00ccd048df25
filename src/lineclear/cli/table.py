"""Command groups: one whose commands are imported only when they are called, and both telling the near word.

In: a table of name → (module:attribute, one line of help). Out: click groups whose `--help` and completion import
nothing.
"""

import difflib
import importlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import click
from click.shell_completion import CompletionItem


@dataclass(frozen=True)
class CommandRow:
    """Where a command lives."""

    target: str
    """`package.module:attribute` of a click command or group."""
    help: str
    """One line for the list of commands."""


class NounGroup(click.Group):
    """A group that tells a mistyped command the near one, and an option before a command where it belongs."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            known = self.list_commands(ctx)
            command = next((word for word in given if word in known), None)
            if command is not None and given.index(command) > 0:
                called = f"{ctx.command_path} {command}"
                raise click.UsageError(
                    f"options follow the command they belong to: {called} … {error.option_name} …", ctx
                ) from error
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            ctx.fail(unknown_words(args[0], known))
        return super().resolve_command(ctx, args)


class LazyGroup(NounGroup):
    """A group over a table of rows."""

    def __init__(self, *args: object, table: Mapping[str, CommandRow], **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]  # click's own keywords, passed on as they are
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        row = self.table.get(cmd_name)
        return None if row is None else _load(row.target)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.help) for name, row in self.table.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # click's own would import every command to ask whether it is hidden.
        found = [CompletionItem(name, help=row.help) for name, row in self.table.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)


def unknown_words(name: str, known: Collection[str]) -> str:
    """What to say to a word that is no command."""
    near = difflib.get_close_matches(name, known, n=1)
    also = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."
    return f"No such command {name!r}. {also}"


def _load(target: str) -> click.Command:
    module, _, attribute = target.partition(":")
    command = getattr(importlib.import_module(module), attribute)
    if not isinstance(command, click.Command):
        raise TypeError(f"{target} is not a click command")
    return command
