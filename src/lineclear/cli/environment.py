"""The settings as commands take them: a variable that cannot be used is a mistake of the call.

In: the environment, through `config`. Out: `Settings`, or a refusal in click's words.
"""

import click

from lineclear.config.settings import SettingInvalid, Settings, read_settings


def command_settings() -> Settings:
    """What the environment says.

    Raises:
        click.UsageError: a variable names a file that cannot be read.
    """
    try:
        return read_settings()
    except SettingInvalid as error:
        raise click.UsageError(str(error)) from error
