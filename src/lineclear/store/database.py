"""One database, SQLite file or PostgreSQL by URL: short write transactions, consistent reads.

In: a URL or a path. Out: connections inside `with db.write()` / `with db.read()`. SQLite has one read-write
connection for the process and read-only ones beside it, which never checkpoint (design decision 10).
Must not hold rules of any noun, and must not be used by gateways or the accountant.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import QueuePool, StaticPool

from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.store.filesystem import refuse_network_file_system

BUSY_TIMEOUT_MS = 5_000
"""How long a SQLite connection waits for another process's lock before it fails."""
READERS_MAX = 8
"""Read connections open at once; a ninth reader waits for one."""
READER_WAIT_S = 30.0
POSTGRES_WRITERS_MAX = 4
_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN})


class Durability(StrEnum):
    """What a commit promises on SQLite. PostgreSQL follows its own `synchronous_commit`."""

    FULL = "full"
    """Committed means on the disk."""
    NORMAL = "normal"
    """Committed survives the process; a power cut may take the newest commits until `sync()` has run."""


class Database:
    """An open database. Safe to share between threads; `close()` it once."""

    def __init__(self, writer: Engine, reader: Engine) -> None:
        self._writer = writer
        self._reader = reader
        self._write_lock = threading.Lock()
        self._write_owner: int | None = None
        self.dialect = writer.dialect.name
        """`sqlite` or `postgresql`."""

    @classmethod
    def open(cls, url: str | Path, *, durability: Durability = Durability.FULL) -> "Database":
        """Open a SQLite file by path or `sqlite:///…`, or a PostgreSQL database by `postgresql://…`.

        A missing SQLite file is created with mode 0600. Tables are not created: see `store.migrate`.

        Raises:
            PlatformFault: `internal_error` if the URL names no database we know, or the file lies on a
                network file system.
        """
        parsed = _parse(url)
        if parsed.get_backend_name() == "postgresql":
            return cls._open_postgres(parsed)
        return cls._open_sqlite(Path(parsed.database or ""), durability)

    @classmethod
    def open_reader(cls, url: str | Path) -> "Database":
        """Open a database that is there already for looking at it only, beside the process that may be writing.

        Nothing is created, changed or checkpointed; `write` fails.

        Raises:
            PlatformFault: as `open`; a missing SQLite file shows at the first read.
        """
        parsed = _parse(url)
        if parsed.get_backend_name() == "postgresql":
            return cls._open_postgres(parsed)
        reader = _sqlite_reader(Path(parsed.database or ""))
        return cls(reader, reader)

    @classmethod
    def _open_sqlite(cls, path: Path, durability: Durability) -> "Database":
        refuse_network_file_system(path)
        if not path.exists():
            path.touch(mode=0o600)
        # One connection, handed from thread to thread under the write lock.
        writer = create_engine(
            URL.create("sqlite", database=str(path)),
            poolclass=StaticPool,
            connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1_000},
        )
        event.listen(writer, "connect", _sqlite_writer_pragmas(durability))
        event.listen(writer, "begin", _begin_immediate)
        # The file is switched to WAL here, before any reader comes.
        with writer.connect():
            pass
        return cls(writer, _sqlite_reader(path))

    @classmethod
    def _open_postgres(cls, url: URL) -> "Database":
        url = url.set(drivername="postgresql+psycopg")
        writer = create_engine(
            url, pool_size=POSTGRES_WRITERS_MAX, max_overflow=0, pool_timeout=READER_WAIT_S, pool_pre_ping=True
        )
        reader = create_engine(
            url,
            pool_size=READERS_MAX,
            max_overflow=0,
            pool_timeout=READER_WAIT_S,
            pool_pre_ping=True,
            isolation_level="REPEATABLE READ",
            execution_options={"postgresql_readonly": True},
        )
        return cls(writer, reader)

    @property
    def is_sqlite(self) -> bool:
        return self.dialect == "sqlite"

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may write: committed at the end of the block, rolled back if it raises.

        On SQLite writers wait for each other; keep the block short and do no other I/O in it.

        Raises:
            RuntimeError: if this thread is already inside a `write()` of this database.
        """
        if not self.is_sqlite:
            with self._writer.begin() as connection:
                yield connection
            return
        with _told_when_full():
            yield from self._write_sqlite()

    def _write_sqlite(self) -> Iterator[Connection]:
        me = threading.get_ident()
        if self._write_owner == me:
            raise RuntimeError("write() inside write(): pass the open transaction on instead of opening a second one")
        with self._write_lock:
            self._write_owner = me
            try:
                with self._writer.begin() as connection:
                    yield connection
            finally:
                self._write_owner = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view of what is committed when the block's first statement runs; writing in it fails."""
        with self._reader.begin() as connection:
            yield connection

    def sync(self) -> None:
        """Put everything committed so far on the disk. Does nothing where each commit already does that."""
        if not self.is_sqlite:
            return
        with self._write_lock:
            connection = self._writer.raw_connection()
            try:
                # Outside a transaction, or SQLite would refuse; FULL syncs the log before it copies it back.
                connection.cursor().execute("PRAGMA wal_checkpoint(FULL)")
            finally:
                connection.close()

    def close(self) -> None:
        """Give every connection back. The last one folds SQLite's write-ahead log into the file."""
        self._reader.dispose()
        with self._write_lock:
            self._writer.dispose()


@contextmanager
def _told_when_full() -> Iterator[None]:
    """SQLite's words about a disk without room, as ours."""
    try:
        yield
    except OperationalError as error:
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        if code not in _NO_ROOM:
            raise
        raise PlatformFault(
            ErrorCode.CONTROL_UNAVAILABLE,
            f"nothing was changed: the database cannot be written ({error.orig})",
            hint="make room on the disk of the data directory and try again; calls of apps go on meanwhile",
        ) from error


def _parse(url: str | Path) -> URL:
    if isinstance(url, Path):
        return URL.create("sqlite", database=str(url))
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise _unknown(url) from error
    try:
        backend = parsed.get_backend_name()
    except NoSuchModuleError as error:
        raise _unknown(url) from error
    if backend == "postgres":
        return parsed.set(drivername="postgresql")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise PlatformFault(
            ErrorCode.INTERNAL_ERROR,
            "a SQLite database needs a file: control restarts and must find what it wrote",
            hint="use sqlite:////absolute/path or leave the database URL out",
        )
    if backend not in ("sqlite", "postgresql"):
        raise _unknown(url)
    return parsed


def _unknown(url: str) -> PlatformFault:
    # The URL may hold a password, so only its scheme is repeated.
    scheme = url.partition(":")[0]
    return PlatformFault(
        ErrorCode.INTERNAL_ERROR,
        f"the database URL with scheme {scheme!r} is neither SQLite nor PostgreSQL",
        hint="use postgresql://user@host/name, or leave LINECLEAR_DATABASE_URL unset for the embedded SQLite file",
    )


def _sqlite_reader(path: Path) -> Engine:
    reader = create_engine(
        URL.create("sqlite", database=f"file:{_uri_path(path)}", query={"mode": "ro", "uri": "true"}),
        poolclass=QueuePool,
        pool_size=READERS_MAX,
        max_overflow=0,
        pool_timeout=READER_WAIT_S,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1_000},
    )
    event.listen(reader, "connect", _sqlite_reader_pragmas)
    event.listen(reader, "begin", _begin_deferred)
    return reader


def _uri_path(path: Path) -> str:
    return path.absolute().as_uri().removeprefix("file://")


# SQLAlchemy hands the driver's connection to these as an untyped object.
def _sqlite_writer_pragmas(durability: Durability) -> Any:
    def on_connect(dbapi_connection: Any, _record: object) -> None:
        # The driver's own implicit BEGIN would come too late for DDL and reads; ours is explicit.
        dbapi_connection.isolation_level = None
        cursor = dbapi_connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute(f"PRAGMA synchronous = {durability.value.upper()}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA trusted_schema = OFF")
        cursor.close()

    return on_connect


def _sqlite_reader_pragmas(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA query_only = ON")
    cursor.execute("PRAGMA trusted_schema = OFF")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_deferred(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
