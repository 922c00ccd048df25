"""The data directory: whose it is, who may read it, who holds it, its database, its snapshot, its spool."""

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from lineclear.base.seal import Keys
from lineclear.cli.checkup.finding import Finding, Level, Scene
from lineclear.domain.errors import PlatformFault
from lineclear.domain.snapshot import RuntimesSection
from lineclear.handover.segment import list_segments, segment_is_held
from lineclear.handover.snapshot_dir import LoadedSnapshot, SnapshotReader
from lineclear.store.filesystem import NETWORK_FILE_SYSTEMS, file_system_kind
from lineclear.store.look import look_at_control

SECRET_FILES = ("admin.token", "master.key")
MASTER_KEY_BYTES = 32
OTHERS = 0o077
"""Permission bits of everybody but the owner."""


def directory(scene: Scene) -> Iterator[Finding]:
    """Owner, permissions, file system."""
    path = scene.data_dir
    if not path.exists():
        yield Finding("directory", Level.SKIPPED, f"there is no {path} yet", "nothing ran here", "lineclear up")
        return
    status = path.stat()
    if status.st_uid != os.geteuid():
        yield Finding(
            "directory", Level.FAILURE, f"{path} belongs to user id {status.st_uid}, and you are {os.geteuid()}",
            "`lineclear up` refuses it", "use --data with a directory of your own",
        )  # fmt: skip
        return
    yield from _private("directory", path, 0o700)
    for name in SECRET_FILES:
        if (path / name).exists():
            yield from _private("secrets", path / name, 0o600)
    kind = file_system_kind(path)
    if kind in NETWORK_FILE_SYSTEMS:
        yield Finding(
            "directory", Level.FAILURE, f"{path} lies on a network file system ({kind})",
            "SQLite's locks do not hold there", "move it to a local disk, or set LINECLEAR_DATABASE_URL",
        )  # fmt: skip


def locks(scene: Scene) -> Iterator[Finding]:
    """Who holds the directory."""
    if scene.holder is not None:
        yield Finding("locks", Level.OK, f"process {scene.holder.pid} runs on {scene.data_dir}")
    elif (scene.data_dir / "up.json").exists():
        yield Finding(
            "locks", Level.WARNING, "nothing runs, and up.json of an earlier run is there", "it was killed",
            f"lineclear up --data {scene.data_dir}",
        )  # fmt: skip
    else:
        yield Finding("locks", Level.OK, f"nothing runs on {scene.data_dir}")


def database(scene: Scene) -> Iterator[Finding]:
    """Whether control's database opens, is whole, and has tables that this program knows."""
    url = scene.settings.database_url
    file = scene.data_dir / "lineclear.db"
    if url is None and not file.exists():
        yield Finding("database", Level.SKIPPED, "there is no database yet", "", "lineclear up")
        return
    name = "the database of LINECLEAR_DATABASE_URL" if url else str(file)
    try:
        look = look_at_control(url or file)
    except PlatformFault as fault:
        step = "restore it from the newest backup" if url is None else "is it up, and is the URL right?"
        yield Finding("database", Level.FAILURE, f"{name}: {fault.message}", "control cannot start", step)
        return
    state = look.migrations
    if look.damage:
        yield Finding(
            "database", Level.FAILURE, f"{name} is damaged: {look.damage}", "what it says cannot be relied on",
            "restore it from the newest backup",
        )  # fmt: skip
    elif state.unknown:
        yield Finding(
            "database", Level.FAILURE, f"{name} stands at {', '.join(state.unknown)}, which this program does not know",
            "a newer Lineclear wrote it", "start the newer version, or restore the backup made before the upgrade",
        )  # fmt: skip
    elif set(state.found) != set(state.wanted):
        words = f"{name} stands at {', '.join(state.found) or 'nothing'}, this program at {', '.join(state.wanted)}"
        yield Finding(
            "database", Level.WARNING, words, "the next start brings it up to date", "make a copy of it first"
        )
    else:
        yield Finding("database", Level.OK, f"{name} opens and stands at {', '.join(state.found)}")


def master_key(scene: Scene) -> Iterator[Finding]:
    """Whether the key is whole, and the one that the snapshot was sealed under."""
    path = scene.data_dir / "master.key"
    if not path.exists():
        has_data = (scene.data_dir / "lineclear.db").exists() or (scene.data_dir / "snapshot" / "CURRENT").exists()
        if has_data:
            yield Finding(
                "master key", Level.FAILURE, f"{path} is missing", "credentials and keys cannot be opened without it",
                "restore it from your copy; a new one opens nothing",
            )  # fmt: skip
        else:
            yield Finding("master key", Level.SKIPPED, "there is none yet", "", "lineclear up")
        return
    keys = _read_key(path)
    if keys is None:
        yield Finding(
            "master key", Level.FAILURE, f"{path} is damaged or unreadable; it is {MASTER_KEY_BYTES * 2} hex digits",
            "credentials and keys cannot be opened", "restore it from your copy",
        )  # fmt: skip
        return
    try:
        loaded = _snapshot(scene, keys)
    except PlatformFault as error:
        yield Finding(
            "snapshot", Level.FAILURE, error.message, "gateways keep the last good one, and none if they start anew",
            "is master.key the one of this directory? A start of control writes the snapshot anew: `lineclear restart`",
        )  # fmt: skip
        return
    if loaded is None:
        yield Finding("master key", Level.OK, "the key is whole; nothing is sealed under it yet")
        return
    yield Finding("master key", Level.OK, f"the key opens the snapshot, revision {loaded.manifest.revision}")
    yield from _artifacts(loaded)


def spool(scene: Scene) -> Iterator[Finding]:
    """What gateways wrote and nobody may have read yet."""
    folder = scene.data_dir / "spool"
    segments = list_segments(folder) if folder.is_dir() else ()
    left = [segment.path for segment in segments if not segment_is_held(segment.path)]
    size = sum(path.stat().st_size for path in left)
    words = f"{len(segments)} segments, {len(left)} of them of workers that ended ({size / 1024**2:.1f} MiB)"
    if scene.holder is None and left:
        yield Finding("spool", Level.OK, f"{words}; the next start reads what is left of them")
    else:
        yield Finding("spool", Level.OK, words)


def _private(check: str, path: Path, mode: int) -> Iterator[Finding]:
    found = stat.S_IMODE(path.stat().st_mode)
    if found & OTHERS:
        yield Finding(
            check, Level.FAILURE, f"{path} can be read by others (mode {found:o})",
            "it holds credentials, or what opens them", f"chmod {mode:o} {path}", partial(path.chmod, mode),
        )  # fmt: skip
    else:
        yield Finding(check, Level.OK, f"{path} is yours alone (mode {found:o})")


def _read_key(path: Path) -> Keys | None:
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return None
    return Keys(key) if len(key) == MASTER_KEY_BYTES else None


def _snapshot(scene: Scene, keys: Keys) -> LoadedSnapshot | None:
    folder = scene.data_dir / "snapshot"
    return SnapshotReader(folder, keys).load() if (folder / "CURRENT").exists() else None


def _artifacts(loaded: LoadedSnapshot) -> Iterator[Finding]:
    """Files of the models that runtimes serve."""
    section = loaded.sections.get("runtimes")
    if section is None:
        return
    for runtime in msgspec.json.decode(section, type=RuntimesSection).runtimes:
        if runtime.artifact is None:
            continue
        if os.access(runtime.artifact, os.R_OK):
            yield Finding("model files", Level.OK, f"{runtime.model}: {runtime.artifact} is there")
        else:
            yield Finding(
                "model files", Level.FAILURE, f"{runtime.model}: {runtime.artifact} is missing or cannot be read",
                "its runtime cannot start, and its calls go to the fallback or fail",
                "put the very same file back; another one is refused by its digest",
            )  # fmt: skip
