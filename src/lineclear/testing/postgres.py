"""A throw-away PostgreSQL cluster on a Unix socket, for the store's contract suite.

In: a directory. Out: URLs of fresh databases. The server runs as an unprivileged user, because it refuses to run as
root, and ends with the `with` block. Must not be used for anything that should last.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

SERVER_USERS = ("postgres", "nobody")
"""Who runs the server when we are root; the first that exists."""
START_S = 30


class PostgresMissing(Exception):
    """No server binaries on this machine."""


def find_binaries() -> Path:
    """The directory of `initdb` and `postgres`, the newest version found.

    Raises:
        PostgresMissing: if there is none; on Debian, `apt-get install postgresql` brings them.
    """
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if versions:
        return versions[-1].parent
    found = shutil.which("initdb")
    if not found:
        raise PostgresMissing("no PostgreSQL server found: apt-get install postgresql")
    # Its neighbours lie beside the program itself, not beside a link to it.
    return Path(found).resolve().parent


class PostgresCluster:
    """A running server; use it in a `with` block."""

    def __init__(self) -> None:
        self._binaries = find_binaries()
        # A short path: a Unix socket's may not be longer than 107 bytes.
        self._home = Path(tempfile.mkdtemp(prefix="lcpg-"))
        self._user = _server_user()
        self._count = 0

    def __enter__(self) -> "PostgresCluster":
        if self._user is not None:
            shutil.chown(self._home, self._user)
        data = str(self._home / "data")
        self._run("initdb", "-D", data, "-U", "lineclear", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        options = f"-c listen_addresses='' -k {self._home} -c fsync=off -c shared_buffers=16MB -c max_connections=40"
        log = str(self._home / "log")
        self._run("pg_ctl", "-D", data, "-w", "-t", str(START_S), "-l", log, "-o", options, "start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._run("pg_ctl", "-D", str(self._home / "data"), "-m", "immediate", "-w", "stop")
        finally:
            shutil.rmtree(self._home)

    def fresh_url(self) -> str:
        """The URL of a new, empty database."""
        self._count += 1
        name = f"lineclear_{self._count}"
        self._run("createdb", "-h", str(self._home), "-U", "lineclear", name)
        return f"postgresql://lineclear@/{name}?host={self._home}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._binaries / program), *arguments],
            user=self._user,
            cwd=self._home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed with {done.returncode}: {done.stderr}")


def _server_user() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in SERVER_USERS if name in known)
