"""`lineclear version`: which program this is, and what it stands on."""

import platform

import click

import lineclear
from lineclear.cli.connect import local_command
from lineclear.cli.output import Output


@click.command()
@local_command
def version(output: Output) -> None:
    """Print the versions of Lineclear, Python and the system."""
    facts = {
        "version": lineclear.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    output.value(facts, [f"lineclear {facts['version']} on {facts['python']}, {facts['system']}"])
