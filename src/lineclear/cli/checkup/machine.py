"""The machine: versions, settings, clock, disk, ports, model files."""

import difflib
import errno
import os
import platform
import shutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import lineclear
from lineclear.cli.checkup.finding import Finding, Level, Scene
from lineclear.config.settings import SETTINGS
from lineclear.serving.bundled import BUNDLED_MODELS, ENGINE_PACKAGES, find_artifact, is_installed

RELEASED = datetime(2026, 11, 1, tzinfo=UTC)
"""This program did not exist before; a clock that shows an earlier time is wrong."""
CLOCK_SLACK_S = 300
DISK_FREE_WARNING_BYTES = 2 * 1024**3
DISK_FREE_FAILURE_BYTES = 256 * 1024**2
"""Below it a day's ledger of a busy gateway does not fit any more."""
CALLERS_KEY = "LINECLEAR_KEY"
"""What README and guides call the caller's own key in a terminal; programs read it there, the platform does not."""
_PREFIX = "LINECLEAR_"
_FILE_SUFFIX = "_FILE"


def versions(_scene: Scene) -> Iterator[Finding]:
    """Which program on which Python; the interpreter itself was refused by the installer if it is too old."""
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("uvloop", "sqlalchemy", "pydantic"))
    yield Finding(
        "versions",
        Level.OK,
        f"lineclear {lineclear.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.release()}, {packages}",
    )


def settings(scene: Scene) -> Iterator[Finding]:
    """Variables that look like ours and are not, and halves of pairs."""
    known = {setting.name for setting in SETTINGS}
    known.add(CALLERS_KEY)
    known |= {setting.name + _FILE_SUFFIX for setting in SETTINGS if setting.is_secret}
    count = 0
    for name in sorted(scene.environment):
        if not name.startswith(_PREFIX):
            continue
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            step = f"is {near[0]} meant? " if near else ""
            words = f"the variable {name} is set, and nothing reads it"
            yield Finding("settings", Level.WARNING, words, "it has no effect", f"{step}docs/settings.md lists all")
            count += 1
    if scene.settings.url and not scene.settings.token:
        yield Finding(
            "settings", Level.WARNING, "LINECLEAR_URL is set and LINECLEAR_TOKEN is not",
            "the token of the data directory goes to no other server", "set LINECLEAR_TOKEN too",
        )  # fmt: skip
        count += 1
    if not count:
        yield Finding("settings", Level.OK, "every LINECLEAR_ variable that is set is one that is read")


def clock(scene: Scene) -> Iterator[Finding]:
    """Whether the wall clock can be right: not before this program, and not before what it has written."""
    now_s = scene.clock.unix_us() / 1e6
    newest_s = max((path.stat().st_mtime for path in _written(scene)), default=0.0)
    shown = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    why = "keys expire, budgets begin and the ledger is sorted by this clock"
    if now_s < RELEASED.timestamp():
        yield Finding(
            "clock", Level.FAILURE, f"the clock shows {shown}, which is past", why, "timedatectl set-ntp true"
        )
    elif newest_s > now_s + CLOCK_SLACK_S:
        words = f"the clock shows {shown}, and files of the data directory are {newest_s - now_s:.0f} s newer"
        yield Finding("clock", Level.WARNING, words, why, "timedatectl set-ntp true")
    else:
        yield Finding("clock", Level.OK, f"the clock shows {shown}")


def disk(scene: Scene) -> Iterator[Finding]:
    """Room for the ledger, the spool and the database."""
    place = scene.data_dir
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    words = f"{free / 1024**3:.1f} GiB are free where {scene.data_dir} lies"
    why = "a call that cannot be put on record is not made (503 ledger_unavailable)"
    step = "free or add disk space; `du -sh` on the data directory shows what is large"
    if free < DISK_FREE_FAILURE_BYTES:
        yield Finding("disk", Level.FAILURE, words, why, step)
    elif free < DISK_FREE_WARNING_BYTES:
        yield Finding("disk", Level.WARNING, words, why, step)
    else:
        yield Finding("disk", Level.OK, words)


def ports(scene: Scene) -> Iterator[Finding]:
    """Whether `lineclear up` could bind its ports; ours are busy while it runs, which is right."""
    wanted = {
        "data": scene.environment.get("LINECLEAR_PORT") or scene.environment.get("PORT") or "4100",
        "admin": scene.environment.get("LINECLEAR_ADMIN_PORT") or "4101",
    }
    if scene.holder is not None:
        yield Finding("ports", Level.SKIPPED, "the platform runs, and has the ports it took")
        return
    for door, text in wanted.items():
        if not text.isdigit() or int(text) > 65535:
            yield Finding("ports", Level.FAILURE, f"{text!r} is no port", "`lineclear up` refuses it", "set a number")
            continue
        error = _bind_error(int(text))
        if error == 0:
            yield Finding("ports", Level.OK, f"{door} port {text} is free")
        else:
            flag = "--port" if door == "data" else "--admin-port"
            yield Finding(
                "ports", Level.FAILURE, f"{door} port {text} cannot be taken: {os.strerror(error)}",
                "`lineclear up` refuses to start there",
                f"see who has it: ss -ltnp 'sport = :{text}'; or use another: lineclear up {flag} N",
            )  # fmt: skip


def models(scene: Scene) -> Iterator[Finding]:
    """Bundled models that could be served here and are not there."""
    for model in BUNDLED_MODELS:
        if not model.is_default:
            continue
        missing = [name for name in ENGINE_PACKAGES[model.engine] if not is_installed(name)]
        if missing:
            yield Finding(
                "models", Level.WARNING, f"{model.name} cannot be served: {', '.join(missing)} is not installed",
                "the route is left out", "pip install 'lineclear[local]'",
            )  # fmt: skip
        elif find_artifact(model, scene.settings.model_store) is None:
            yield Finding(
                "models", Level.WARNING, f"{model.name} is not here", "its route is left out",
                f"lineclear models pull {model.name}",
            )  # fmt: skip
        else:
            yield Finding("models", Level.OK, f"{model.name} is here")


def _written(scene: Scene) -> list[Path]:
    return [
        path for name in ("snapshot/CURRENT", "lineclear.db", "up.json") if (path := scene.data_dir / name).exists()
    ]


def _bind_error(port: int) -> int:
    """0 if the port could be taken, else why not."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno or errno.EIO
    return 0
