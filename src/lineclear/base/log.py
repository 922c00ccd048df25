"""One log format for every process: a JSON line, or a line for a person at a terminal, on standard error.

In: records of the standard `logging` module; facts travel as `extra={"facts": {...}}`.
Not for the hot path: a request's story is its ledger entry. Never put a secret, a prompt or an answer here.
"""

import json
import logging
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Literal

MESSAGE_CHARS_MAX = 8192
"""A longer message is cut and marked, so that one bad line cannot fill a disk."""


@dataclass(frozen=True, slots=True)
class LogChoice:
    """How a process writes its log."""

    format: Literal["json", "human"] = "json"
    level: str = "info"
    """debug | info | warning | error."""


def configure_log(role: str, choice: LogChoice, stream: IO[str] | None = None) -> None:
    """Sends every record of this process to `stream` (default: standard error) in the chosen format.

    `role` names the process, e.g. `gateway.0`. Calling it again replaces the earlier choice.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JSONLines(role) if choice.format == "json" else HumanLines(role))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(choice.level.upper())
    # A log that cannot be written (disk full, closed terminal) must not take the process with it.
    logging.raiseExceptions = False


class JSONLines(logging.Formatter):
    """One JSON object per record: `t`, `level`, `role`, `logger`, `message`, then the facts, then `error`."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "t": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "role": self._role,
            "logger": record.name,
            "message": _shorten(record.getMessage()),
        }
        for name, value in _facts(record).items():
            line.setdefault(name, value)
        if record.exc_info:
            line["error"] = _shorten(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


class HumanLines(logging.Formatter):
    """`12:00:01.123 info  gateway.0  message  name=value`, a traceback below if there is one."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        facts = "".join(f"  {name}={value}" for name, value in _facts(record).items())
        line = (
            f"{clock}.{int(record.msecs):03d} {record.levelname.lower():<7} {self._role:<12} "
            f"{_shorten(record.getMessage())}{facts}"
        )
        if record.exc_info:
            line += "\n" + _shorten(self.formatException(record.exc_info))
        return line


def _facts(record: logging.LogRecord) -> dict[str, object]:
    facts = getattr(record, "facts", None)
    return facts if isinstance(facts, dict) else {}


def _shorten(text: str) -> str:
    if len(text) <= MESSAGE_CHARS_MAX:
        return text
    return text[:MESSAGE_CHARS_MAX] + f"… ({len(text) - MESSAGE_CHARS_MAX} characters cut)"
