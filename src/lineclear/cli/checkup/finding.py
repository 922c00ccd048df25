"""What a check finds, and what every check is given.

In: the scene. Out: findings. A check changes nothing but through `Finding.fix`, and only `--fix` calls that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from lineclear.base.clock import Clock
from lineclear.cli.held import Holder
from lineclear.client.admin import AdminClient
from lineclear.config.settings import Settings


class Level(StrEnum):
    """How bad it is. Only failures make the command exit with 1."""

    OK = "ok"
    SKIPPED = "skipped"
    """It could not be looked at, and why."""
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    level: Level
    what: str
    why: str = ""
    """What follows from it; empty where nothing does."""
    next: str = ""
    """The next command or step."""
    fix: Callable[[], None] | None = field(default=None, repr=False, compare=False)
    """Repairs it, where that is safe to do unasked."""

    def facts(self) -> dict[str, Any]:
        """As formats for programs show it."""
        return {
            "check": self.check,
            "level": self.level.value,
            "what": self.what,
            "why": self.why,
            "next": self.next,
            "can_fix": self.fix is not None,
        }


@dataclass(frozen=True)
class Scene:
    """Where the checks look."""

    data_dir: Path
    settings: Settings
    environment: Mapping[str, str]
    clock: Clock
    holder: Holder | None
    """Who runs on this data directory; None = nobody."""
    client: AdminClient | None
    """None if nothing says how to be let in."""
    status: Mapping[str, Any] | None
    """The server's own status; None if it does not answer."""
    is_online: bool
    """Providers may be called."""
    kept_away: str = ""
    """Why the server that was named is not asked; empty = it was, or none was named."""
