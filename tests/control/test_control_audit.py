"""The audit chain shows each way of tampering with it."""

import dataclasses
from typing import Any

import pytest

from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent, verify
from lineclear.store import control_rows as rows
from lineclear.store.control_rows import AuditRow
from lineclear.testing.control_plane import ControlPlane


@pytest.fixture
def chain(plane: ControlPlane) -> list[AuditRow]:
    """A real chain of at least six rows."""
    events = [AuditEvent(AuditAction.KEY_CREATED, f"key/{number}", reason="ü") for number in range(3)]
    with plane.database.write() as tx:
        audit.record(tx, plane.clock, "ann", events)
    with plane.database.read() as tx:
        return rows.read_audit(tx, 0, 1000)


def test_an_untouched_chain_is_whole(chain: list[AuditRow]) -> None:
    verdict = verify(chain)
    assert (verdict.ok, verdict.events, verdict.head) == (True, len(chain), chain[-1].hash)
    assert len(chain) >= 6


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(AuditRow)])
def test_an_altered_column_is_found(chain: list[AuditRow], field: str) -> None:
    value = getattr(chain[3], field)
    altered: dict[str, Any] = {field: value + 1 if isinstance(value, int) else value + "x"}
    chain[3] = dataclasses.replace(chain[3], **altered)
    verdict = verify(chain)
    assert not verdict.ok
    assert verdict.events == 4


def test_a_row_altered_with_its_own_hash_breaks_the_next(chain: list[AuditRow]) -> None:
    forged = dataclasses.replace(chain[3], actor="mallory")
    chain[3] = dataclasses.replace(forged, hash=audit.row_hash(forged))
    assert verify(chain).problem == "row 5 does not follow the row before it"


def test_a_missing_row_is_found(chain: list[AuditRow]) -> None:
    del chain[2]
    assert verify(chain).problem == "row 3 is missing: 4 stands in its place"


def test_two_rows_in_the_wrong_order_are_found(chain: list[AuditRow]) -> None:
    chain[1], chain[2] = chain[2], chain[1]
    assert not verify(chain).ok


def test_a_cut_tail_shows_in_the_head(chain: list[AuditRow]) -> None:
    assert verify(chain[:-1]).head != verify(chain).head


def test_a_change_that_fails_leaves_no_event(plane: ControlPlane) -> None:
    class Stop(Exception):
        pass

    def fail() -> None:
        with plane.database.write() as tx:
            audit.record(tx, plane.clock, "ann", [AuditEvent(AuditAction.KEY_CREATED, "key/x")])
            raise Stop

    with pytest.raises(Stop):
        fail()
    with plane.database.read() as tx:
        assert all(event.object != "key/x" for event in rows.read_audit(tx, 0, 1000))
