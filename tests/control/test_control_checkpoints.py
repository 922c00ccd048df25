"""Signed checkpoints of the audit trail: exports verified offline, byte by byte, and what a full disk does."""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from lineclear.base.seal import Keys, SealBroken
from lineclear.base.transparency import MerkleTree, NoteInvalid, NoteSigner, TreeHead, open_checkpoint
from lineclear.cli.audit_file import verify_export
from lineclear.client.admin import AdminError, path_of
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.audit_checkpoints import CHECKPOINT_EVENTS, CHECKPOINT_S, KEPT_FILE, Checkpoints, Housekeeper
from lineclear.control.audit_http import verify_stored
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.audit_chain import AuditVerdict
from lineclear.domain.audit_lines import checkpoint_line, event_line, header_line
from lineclear.store import audit_rows
from lineclear.store import control_rows as rows
from lineclear.store import control_tables as tables
from lineclear.testing.control_plane import ControlPlane, ServedAPI


def write(plane: ControlPlane, count: int) -> None:
    events = [AuditEvent(AuditAction.KEY_CREATED, f"key/{number}", reason="ü") for number in range(count)]
    with plane.database.write() as tx:
        audit.record(tx, plane.clock, "ann", events)


def exported(served: ServedAPI) -> bytes:
    client = served.client()
    begun = client.post(path_of("audit-exports"), None)
    lines = [header_line(begun["public_key"], begun["checkpoint"])]
    place = 0
    while place is not None:
        page = client.get(path_of("audit-exports", str(begun["number"])), {"after": place})
        for row in page["events"]:
            lines.append(event_line(row))
            note = page["checkpoints"].get(str(row["number"]))
            lines += [checkpoint_line(note)] if note else []
        place = page["next_after"]
    return b"".join(lines)


def verdict(content: bytes, **known: str) -> AuditVerdict:
    return verify_export(io.BytesIO(content), **known)


@pytest.fixture
def served(plane: ControlPlane) -> Iterator[ServedAPI]:
    api = ServedAPI(plane.endpoints())
    yield api
    api.close()


@pytest.fixture
def export(plane: ControlPlane, served: ServedAPI) -> bytes:
    write(plane, 5)
    with plane.database.write() as tx:
        plane.checkpoints.make(tx)
    write(plane, 5)
    return exported(served)


def test_an_export_is_whole_and_says_what_it_was_held_to(export: bytes, plane: ControlPlane) -> None:
    found = verdict(export, key=plane.checkpoints.verifier)
    assert (found.ok, found.checkpoints) == (True, 3), found
    assert found.events == export.count(b'{"event":')


def test_every_flipped_bit_is_found(export: bytes) -> None:
    for at in range(len(export)):
        for bit in range(8):
            altered = bytearray(export)
            altered[at] ^= 1 << bit
            # One bit of every byte, all bits of some: a minute's work otherwise.
            if bit == at % 8 or at % 97 == 0:
                assert not verdict(bytes(altered)).ok, (at, bit, export[max(0, at - 40) : at + 10])


def test_every_missing_doubled_or_moved_line_is_found(export: bytes) -> None:
    lines = export.splitlines(keepends=True)
    for at in range(len(lines) - 1):
        is_checkpoint = lines[at].startswith(b'{"checkpoint":')
        assert is_checkpoint or not verdict(b"".join([*lines[:at], *lines[at + 1 :]])).ok, at
        assert is_checkpoint or not verdict(b"".join([*lines[: at + 1], *lines[at:]])).ok, at
        swapped = [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]
        assert not verdict(b"".join(swapped)).ok, at


def test_every_cut_tail_is_found(export: bytes) -> None:
    lines = export.splitlines(keepends=True)
    events = export.count(b'{"event":')
    for keep in range(len(lines)):
        cut = b"".join(lines[:keep])
        assert cut.count(b'{"event":') == events or not verdict(cut).ok, keep


def test_an_older_export_is_found_by_a_checkpoint_that_was_kept(plane: ControlPlane, served: ServedAPI) -> None:
    older = exported(served)
    write(plane, 3)
    newer = exported(served)
    kept = json.loads(newer.splitlines()[0])["checkpoint"]
    assert verdict(older).ok
    assert "the tail is cut off" in verdict(older, checkpoint=kept).problem
    assert verdict(newer, checkpoint=json.loads(older.splitlines()[0])["checkpoint"]).ok


def test_a_trail_signed_by_somebody_else_is_found_by_the_key(plane: ControlPlane, export: bytes) -> None:
    other = Checkpoints(plane.database, plane.clock, Keys(bytes(32)), plane.directory).verifier
    assert "another public key" in verdict(export, key=other).problem


def test_a_checkpoint_is_due_after_so_many_events_or_so_long(plane: ControlPlane) -> None:
    assert plane.checkpoints.make_if_due(CHECKPOINT_S)
    assert not plane.checkpoints.make_if_due(CHECKPOINT_S), "nothing new"
    write(plane, 5)
    assert not plane.checkpoints.make_if_due(CHECKPOINT_S - 1)
    write(plane, 2 * CHECKPOINT_EVENTS)
    assert plane.checkpoints.make_if_due(0.0)
    with plane.database.read() as tx:
        made = [row.number for row in audit_rows.read_checkpoints(tx, 0, 10**9)]
        last = rows.last_audit(tx)
    assert last is not None
    assert {CHECKPOINT_EVENTS, 2 * CHECKPOINT_EVENTS, last.number} <= set(made)
    assert verify_stored(plane.database, plane.checkpoints).ok


def test_neither_trouble_with_the_database_nor_with_its_file_ends_what_is_done_in_the_background(
    plane: ControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    troubles: list[Exception] = [OperationalError("select", {}, Exception("restarting")), SealBroken("altered")]
    troubles.append(Refused(AdminCode.CONFLICT, "moved on"))
    done: list[str] = []

    def chores() -> None:
        if troubles:
            raise troubles.pop(0)
        done.append("swept")

    keeper = Housekeeper(plane.checkpoints, plane.clock, chores)
    kept = plane.directory / KEPT_FILE
    kept.unlink(missing_ok=True)
    kept.mkdir()
    for _ in range(5):
        write(plane, 1)
        keeper.look(CHECKPOINT_S)
    assert done == ["swept"] * 2
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [line.partition(":")[0] for line in told] == [
        "the audit trail is not signed",
        *(["changes that wait are not looked after"] * 3),
    ]
    kept.rmdir()
    keeper.look(CHECKPOINT_S)
    assert kept.is_file()


def test_a_tail_cut_in_the_database_is_found(plane: ControlPlane) -> None:
    write(plane, 5)
    plane.checkpoints.make_if_due(CHECKPOINT_S)
    with plane.database.write() as tx:
        last = rows.last_audit(tx)
        assert last is not None
        tx.execute(tables.audit.delete().where(tables.audit.c.number == last.number))
    assert "the tail is cut off" in verify_stored(plane.database, plane.checkpoints).problem


def test_rows_rewritten_with_a_fresh_chain_are_found(plane: ControlPlane) -> None:
    write(plane, 3)
    plane.checkpoints.make_if_due(CHECKPOINT_S)
    with plane.database.write() as tx:
        last = rows.last_audit(tx)
        assert last is not None
        forged = replace(last, actor="mallory")
        forged = replace(forged, hash=audit.row_hash(forged))
        tx.execute(tables.audit.delete().where(tables.audit.c.number == last.number))
        rows.add_audit(tx, [forged])
    assert "not those that were signed" in verify_stored(plane.database, plane.checkpoints).problem


def test_a_trail_that_was_cut_with_its_checkpoints_and_signed_anew_is_found(
    plane: ControlPlane, served: ServedAPI
) -> None:
    """Who can write the database cannot write the file beside it, and control signs what it finds."""
    write(plane, 20)
    assert plane.checkpoints.make_if_due(CHECKPOINT_S)
    with plane.database.write() as tx:
        tx.execute(tables.audit.delete().where(tables.audit.c.number > 10))
        tx.execute(tables.audit_checkpoints.delete())
    write(plane, 2)
    assert plane.checkpoints.make_if_due(CHECKPOINT_S)
    found = served.client().get(path_of("audit-events", "verdict"))
    assert (found["ok"], "the tail is cut off" in found["problem"]) == (False, True)
    write(plane, 30)
    assert plane.checkpoints.make_if_due(CHECKPOINT_S)
    found = served.client().get(path_of("audit-events", "verdict"))
    assert (found["ok"], "not those that were signed" in found["problem"]) == (False, True)


def test_what_is_kept_beside_the_database_catches_up_and_survives_a_cut_line(plane: ControlPlane) -> None:
    kept = plane.directory / KEPT_FILE
    write(plane, 3)
    with plane.database.write() as tx:
        plane.checkpoints.make(tx)
    assert not kept.exists()
    plane.checkpoints.make_if_due(0)
    ((first, _),) = plane.checkpoints.kept()
    assert kept.stat().st_mode & 0o777 == 0o600
    with kept.open("ab") as opened:
        opened.write(b'{"number": 4, "checkpo')
    again = Checkpoints(plane.database, plane.clock, plane.keys_of_master, plane.directory)
    write(plane, 2)
    assert again.make_if_due(CHECKPOINT_S)
    assert [number for number, _ in again.kept()] == [first, first + 2]
    assert verify_stored(plane.database, again).ok


def test_reading_verifying_and_exporting_are_events(plane: ControlPlane, served: ServedAPI) -> None:
    client = served.client()
    client.get(path_of("audit-events"))
    client.get(path_of("audit-events", "verdict"))
    begun = client.post(path_of("audit-exports"), None)
    with plane.database.read() as tx:
        actions = [row.action for row in rows.read_audit_of(tx, "audit", 3)]
    assert actions == ["audit.exported", "audit.verified", "audit.read"]
    with pytest.raises(AdminError):
        client.get(path_of("audit-exports", str(begun["number"] - 1)))


def test_a_full_disk_stops_changes_and_says_so(plane: ControlPlane, served: ServedAPI, tmp_path: Path) -> None:
    with plane.database.write() as tx:
        pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    client = served.client()
    files = [{"name": "m.yaml", "text": f"kind: Team\nname: big\ndescription: {'x' * 100_000}\n"}]
    with pytest.raises(AdminError) as caught:
        client.post(path_of("changes"), {"files": files})
    assert (caught.value.status, caught.value.code) == (503, "unavailable")
    assert "nothing was changed" in caught.value.message
    assert "calls of apps go on" in caught.value.hint
    assert plane.load().manifest.revision == plane.publisher.revision()
    with plane.database.write() as tx:
        tx.exec_driver_sql("PRAGMA max_page_count = 1073741823")
    assert client.post(path_of("changes"), {"files": files})["state"] == "applied"


@given(st.lists(st.binary(max_size=40), max_size=70), st.integers(0, 70))
@settings(max_examples=200, deadline=None)
def test_a_tree_that_goes_on_has_the_root_of_the_whole(leaves: list[bytes], cut: int) -> None:
    def root(part: list[bytes]) -> bytes:
        """RFC 6962 §2.1 as it is written."""
        if not part:
            return hashlib.sha256(b"").digest()
        if len(part) == 1:
            return hashlib.sha256(b"\x00" + part[0]).digest()
        split = 1 << (len(part) - 1).bit_length() - 1
        return hashlib.sha256(b"\x01" + root(part[:split]) + root(part[split:])).digest()

    first = MerkleTree()
    for leaf in leaves[:cut]:
        first.append(leaf)
    tree = MerkleTree(first.size, first.peaks)
    for leaf in leaves[cut:]:
        tree.append(leaf)
    assert (tree.size, tree.root()) == (len(leaves), root(leaves))


def test_a_note_is_held_to_every_character(plane: ControlPlane) -> None:
    signer = NoteSigner("lineclear/audit", plane.keys_of_master.audit_key())
    note = signer.checkpoint(TreeHead("lineclear/audit", 7, bytes(32)))
    assert open_checkpoint(note, signer.verifier) == TreeHead("lineclear/audit", 7, bytes(32))
    for at in range(len(note)):
        for other in ("x", "7", "A", "\n", ""):
            altered = note[:at] + other + note[at + 1 :]
            if altered != note:
                with pytest.raises(NoteInvalid):
                    open_checkpoint(altered, signer.verifier)
