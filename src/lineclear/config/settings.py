"""The environment, read once into a frozen value; no other room reads it.

In: environment variables. Out: `Settings`, and single variables that a manifest names as `${NAME}`.
"""

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """One variable that the product reads, as docs/settings.md lists it."""

    name: str
    meaning: str
    default: str


SETTINGS = (
    Setting("LINECLEAR_URL", "Address of the admin port that the CLI talks to.", "from the data directory"),
    Setting("LINECLEAR_TOKEN", "Admin token that the CLI sends.", "from the data directory"),
    Setting("LINECLEAR_DATA", "Data directory.", "$XDG_DATA_HOME/lineclear"),
    Setting("LINECLEAR_DATABASE_URL", "Database of control, `postgresql://…`.", "SQLite in the data directory"),
    Setting("LINECLEAR_ROOT_PATH", "Path that a proxy puts in front of the admin port's paths.", "none"),
    Setting("XDG_DATA_HOME", "Where the model store and the default data directory live.", "~/.local/share"),
)


@dataclass(frozen=True)
class Settings:
    """What the environment says, with defaults filled in."""

    url: str | None
    token: str | None
    data_dir: Path
    database_url: str | None
    """None = SQLite inside the data directory."""
    root_path: str
    """Such as `/ai/gateway`, without `/` at its end; empty = none."""
    model_store: Path
    """Where `models pull` puts weights, shared by all data directories."""


def process_environment() -> Mapping[str, str]:
    """The environment of this process; the one place that touches it."""
    return os.environ


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from `environment`, or from this process's own when None."""
    variables = process_environment() if environment is None else environment
    home = variables.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
    share = Path(variables.get("XDG_DATA_HOME") or Path(home) / ".local" / "share") / "lineclear"
    data = variables.get("LINECLEAR_DATA")
    return Settings(
        url=variables.get("LINECLEAR_URL") or None,
        token=variables.get("LINECLEAR_TOKEN") or None,
        data_dir=Path(data) if data else share,
        database_url=variables.get("LINECLEAR_DATABASE_URL") or None,
        root_path=variables.get("LINECLEAR_ROOT_PATH", "").rstrip("/"),
        model_store=share / "models",
    )
