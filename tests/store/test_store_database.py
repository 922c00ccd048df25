"""The database contract, on SQLite and on a real PostgreSQL server."""

import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import DBAPIError

from lineclear.domain.errors import PlatformFault
from lineclear.store import notice_rows
from lineclear.store.database import Database
from lineclear.store.filesystem import file_system_kind, refuse_network_file_system
from lineclear.store.ledger import packed_ids, unpacked_ids
from lineclear.store.migrate import (
    TABLES,
    Lineage,
    current_revisions,
    migrate,
    newest_revision,
    upgrade,
    version_table,
)


def make_table(database: Database) -> None:
    with database.write() as tx:
        tx.exec_driver_sql("CREATE TABLE marks (number INTEGER PRIMARY KEY)")


def numbers(database: Database) -> list[int]:
    with database.read() as connection:
        return [row[0] for row in connection.exec_driver_sql("SELECT number FROM marks ORDER BY number")]


def test_a_write_is_seen_whole_or_not_at_all(database: Database) -> None:
    make_table(database)
    with database.write() as tx:
        tx.exec_driver_sql("INSERT INTO marks VALUES (1)")
    with pytest.raises(DBAPIError), database.write() as tx:
        tx.exec_driver_sql("INSERT INTO marks VALUES (2), (1)")
    assert numbers(database) == [1]


def test_a_reader_keeps_its_view_while_another_writes(database: Database) -> None:
    make_table(database)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM marks").scalar() == 0
        with database.write() as tx:
            tx.exec_driver_sql("INSERT INTO marks VALUES (1)")
        assert connection.exec_driver_sql("SELECT count(*) FROM marks").scalar() == 0
    assert numbers(database) == [1]


def test_a_read_cannot_write(database: Database) -> None:
    make_table(database)
    with pytest.raises(DBAPIError), database.read() as connection:
        connection.exec_driver_sql("INSERT INTO marks VALUES (1)")


def test_writers_of_many_threads_all_get_through(database: Database) -> None:
    make_table(database)

    def add(first: int) -> None:
        for number in range(first, first + 10):
            with database.write() as tx:
                tx.exec_driver_sql(f"INSERT INTO marks VALUES ({number:d})")

    threads = [threading.Thread(target=add, args=(first,)) for first in range(0, 80, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers(database) == list(range(80))


def made(database: Database, lineage: Lineage) -> None:
    """A new database, as a first start has it."""
    migrate(database, lineage)


def migrated(database: Database, lineage: Lineage) -> None:
    """A database that was there from the first version on."""
    with database.write() as tx:
        upgrade(tx, lineage)


@pytest.mark.parametrize("lineage", list(Lineage))
@pytest.mark.parametrize("how", [made, migrated])
def test_new_tables_and_migrated_ones_are_the_tables_of_the_code(
    database: Database, lineage: Lineage, how: Callable[[Database, Lineage], None]
) -> None:
    how(database, lineage)
    migrate(database, lineage)
    with database.write() as tx:
        context = MigrationContext.configure(tx, opts={"version_table": version_table(lineage)})
        assert compare_metadata(context, TABLES[lineage]) == []
        assert context.get_current_heads() == (newest_revision(lineage),)
        if lineage is Lineage.CONTROL:
            assert notice_rows.cursor(tx) == 0
            notice_rows.move_cursor(tx, 7)
            assert notice_rows.cursor(tx) == 7


def test_both_lineages_live_in_one_database(database: Database) -> None:
    migrate(database, Lineage.CONTROL)
    migrate(database, Lineage.LEDGER)
    with database.read() as connection:
        assert current_revisions(connection, Lineage.CONTROL) != current_revisions(connection, Lineage.LEDGER)


def test_tables_of_a_newer_program_are_refused(database: Database) -> None:
    migrate(database, Lineage.LEDGER)
    with database.write() as tx:
        tx.exec_driver_sql("UPDATE ledger_version SET version_num = 'ledger_9999'")
    with pytest.raises(PlatformFault, match="ledger_9999"):
        migrate(database, Lineage.LEDGER)


def test_two_may_migrate_at_once(database: Database) -> None:
    threads = [threading.Thread(target=migrate, args=(database, Lineage.LEDGER)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert len(current_revisions(connection, Lineage.LEDGER)) == 1


def test_sqlite_file_is_private_and_in_wal(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "x.db")
    assert stat.S_IMODE((tmp_path / "x.db").stat().st_mode) == 0o600
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    with database.write() as tx:
        assert tx.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        with pytest.raises(RuntimeError, match="inside"), database.write():
            pass
    database.close()


@pytest.mark.parametrize("url", ["mysql://x@y/z", "not a url", "sqlite://", "oracle:///x"])
def test_unknown_urls_are_refused_without_their_password(url: str) -> None:
    with pytest.raises(PlatformFault):
        Database.open(url)
    with pytest.raises(PlatformFault) as caught:
        Database.open("mysql://user:hush-hush@host/name")
    assert "hush-hush" not in str(caught.value) + caught.value.hint


def test_network_file_systems_are_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    spaced = str(tmp_path).replace(" ", "\\040")
    mounts.write_text(
        "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
        f"23 22 0:50 / {spaced}/far\\040away rw shared:1 - nfs4 server:/export rw\n"
    )
    near, far = tmp_path / "near" / "x.db", tmp_path / "far away" / "deep" / "x.db"
    assert (file_system_kind(near, mounts), file_system_kind(far, mounts)) == ("ext4", "nfs4")
    refuse_network_file_system(near, mounts)
    with pytest.raises(PlatformFault, match="nfs4"):
        refuse_network_file_system(far, mounts)
    refuse_network_file_system(far, tmp_path / "no such file")


@pytest.mark.parametrize(
    "ids",
    [["req_1"], [f"req_{number:028x}" for number in range(1000)], ["req_1", "req_10", "über"], ["a", "b", "ab"]],
    ids=["one", "many", "unlike", "short"],
)
def test_ids_of_a_batch_are_packed_and_come_back(ids: list[str]) -> None:
    packed = packed_ids(ids)
    assert unpacked_ids(packed) == ids
    assert len(packed) < 6 * len(ids) + 40
