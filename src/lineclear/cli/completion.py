"""`lineclear completion bash|zsh|fish`: the lines that teach a shell our commands."""

import click
from click.shell_completion import get_completion_class

from lineclear.cli.one_form import no_output_option

COMPLETE_VARIABLE = "_LINECLEAR_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@no_output_option("what it prints is a script for the shell")
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    r"""Print the completion script of a shell.

    \b
    bash  eval "$(lineclear completion bash)"                    in ~/.bashrc
    zsh   eval "$(lineclear completion zsh)"                     in ~/.zshrc, after compinit
    fish  lineclear completion fish > ~/.config/fish/completions/lineclear.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"completion of {shell} is not known")
    click.echo(found(context.find_root().command, {}, "lineclear", COMPLETE_VARIABLE).source())
