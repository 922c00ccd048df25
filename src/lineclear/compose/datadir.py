"""The data directory as the supervisor prepares it: who holds it, its two secrets, where its sockets are.

Standard library and base only. It must not touch what other processes own: database, ledger, snapshot, spool.
"""

import fcntl
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

LOCK_FILE = "supervisor.lock"
MASTER_KEY_BYTES = 32
CONTROL_SOCKET = "control.sock"
"""In the run directory: where gateways ask control for callers."""
RUN_PATH_BYTES_MAX = 49
"""Keeps socket paths below 90 bytes: `/poke/`, a source name of 30 and `.sock` come after it; sun_path holds 107."""


class UpRefused(Exception):
    """`lineclear up` cannot start. The message says why and what to do; it is for the person who typed it."""


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """A data directory that this process holds."""

    path: Path
    run_dir: Path
    lock_fd: int
    """Holds supervisor.lock until it is closed."""
    admin_token: str = field(repr=False)
    master_key: bytes = field(repr=False)


def open_data_directory(path: Path, look: Callable[[Path], None] = lambda _: None) -> DataDirectory:
    """Creates what is missing, takes the lock, reads the secrets. Nothing else in there is touched.

    Args:
        path: where it is, or is to be.
        look: called once the lock is held and before anything else is made; may refuse.

    Raises:
        UpRefused: held by another supervisor (named by its pid), not ours, or not writable.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _demand_private(path)
        lock_fd = _hold(path)
        try:
            look(path)
            return DataDirectory(
                path=path,
                run_dir=_find_run_dir(path),
                lock_fd=lock_fd,
                admin_token=_read_or_make(path / "admin.token", lambda: "lca_" + secrets.token_urlsafe(32)),
                master_key=_read_master_key(path / "master.key"),
            )
        except BaseException:
            os.close(lock_fd)
            raise
    except OSError as error:
        raise UpRefused(f"the data directory {path} cannot be used: {error.strerror} ({error.filename})") from error


def reopen_data_directory(path: Path, run_dir: Path, lock_fd: int) -> DataDirectory:
    """The data directory that this process holds already, after it became another program."""
    os.set_inheritable(lock_fd, False)
    token = (path / "admin.token").read_text(encoding="ascii").strip()
    return DataDirectory(path, run_dir, lock_fd, token, _read_master_key(path / "master.key"))


def make_empty_run_dir(run_dir: Path) -> None:
    """Removes what an earlier run left and makes the directory anew, private to this user."""
    if run_dir.exists():
        shutil.rmtree(run_dir)
    run_dir.mkdir(mode=0o700)
    (run_dir / "poke").mkdir(mode=0o700)


def write_atomically(path: Path, content: Mapping[str, object]) -> None:
    """Replaces a small JSON file in one step, mode 0600; a reader sees the old or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.write("\n")
    draft.replace(path)


def _demand_private(path: Path) -> None:
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise UpRefused(
            f"the data directory {path} belongs to user id {status.st_uid}, and this process is {os.geteuid()};"
            " use --data with a directory of your own"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        path.chmod(0o700)


def _hold(path: Path) -> int:
    lock_fd = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock_fd, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock_fd)
        raise UpRefused(
            f"the data directory {path} is in use by process {holder};"
            f" stop it with `lineclear down --data {path}`, or use another directory with --data"
        ) from None
    if not _is_same_file(lock_fd, path / LOCK_FILE):
        # Whoever held it took the directory away with it; a lock on a file that nobody finds excludes nobody.
        os.close(lock_fd)
        return _hold(path)
    os.ftruncate(lock_fd, 0)
    os.pwrite(lock_fd, f"{os.getpid()}\n".encode(), 0)
    return lock_fd


def _is_same_file(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _read_or_make(path: Path, make: Callable[[], str]) -> str:
    """The one line of a secret file, made with mode 0600 if it is missing; never half written."""
    if not path.exists():
        draft = path.with_name(f".{path.name}.new")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(make() + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise UpRefused(f"{path} can be read by others; if nobody has copied it, run `chmod 600 {path}`")
    return path.read_text(encoding="ascii").strip()


def _read_master_key(path: Path) -> bytes:
    text = _read_or_make(path, lambda: secrets.token_hex(MASTER_KEY_BYTES))
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != MASTER_KEY_BYTES:
        # A new key would make every sealed section unreadable, so a damaged one is never replaced.
        raise UpRefused(f"{path} is damaged: it must hold {MASTER_KEY_BYTES * 2} hex digits; restore it from your copy")
    return key


def _find_run_dir(path: Path) -> Path:
    run_dir = path / "run"
    if len(os.fsencode(run_dir)) <= RUN_PATH_BYTES_MAX:
        return run_dir
    note = path / "run.path"
    if note.exists():
        noted = Path(note.read_text(encoding="utf-8").strip())
        if noted.is_dir() and noted.stat().st_uid == os.geteuid() and stat.S_IMODE(noted.stat().st_mode) == 0o700:
            return noted
    made = _short_private_directory()
    note.write_text(f"{made}\n", encoding="utf-8")
    return made


def _short_private_directory() -> Path:
    for parent in (None, "/tmp"):  # noqa: S108 - mkdtemp makes a private directory with a name nobody can guess
        made = Path(tempfile.mkdtemp(prefix="lineclear-", dir=parent))
        if len(os.fsencode(made)) <= RUN_PATH_BYTES_MAX:
            return made
        made.rmdir()
    raise UpRefused(
        f"no temporary directory with a path of at most {RUN_PATH_BYTES_MAX} bytes; use a shorter --data path"
    )
