"""Who could call a model then: whose routes led to it, and how much of the trail is held in memory for the answer."""

import json
import tracemalloc
from collections.abc import Callable

from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.deployments import model_access_http
from lineclear.control.deployments.model_access import Then
from lineclear.control.endpoint import AdminCode, Call, Refused
from lineclear.store.control_rows import AuditFilter, read_audit_newest
from lineclear.testing.clock import TestClock
from lineclear.testing.control_plane import TESTER, ControlPlane

MODEL = """
kind: Team
name: support
---
kind: Model
name: small
owner: support
versions:
  - {version: "1", engine: simulated, status: approved}
---
kind: Route
name: chat
team: support
environments:
  test: {targets: [{model: small@1}]}
"""


def record(plane: ControlPlane, *events: AuditEvent) -> None:
    with plane.database.write() as tx:
        audit.record(tx, plane.clock, "ann", events)


def callers(plane: ControlPlane, at_us: int) -> set[str]:
    with plane.database.read() as tx:
        return {app for _, app, *_ in Then(tx, "test", at_us).access("small")}


def app_event(name: str, *routes: str, **more: str) -> AuditEvent:
    document = json.dumps({"name": name, "team": "support", "routes": routes, **more})
    return AuditEvent(AuditAction.MANIFEST_CREATED, f"App/{name}", after=document)


def test_an_app_could_call_what_the_gateway_would_have_let_it(plane: ControlPlane) -> None:
    plane.apply(MODEL)
    record(plane, app_event("every", "*"), app_event("named", "chat"), app_event("pattern", "ch*", "[c]hat"))
    assert {"every", "named"} <= callers(plane, plane.clock.unix_us())
    assert "pattern" not in callers(plane, plane.clock.unix_us())


def test_only_what_stood_then_is_read_and_little_of_it_is_held_at_a_time(plane: ControlPlane) -> None:
    plane.apply(MODEL)
    record(plane, app_event("named", "chat"))
    at_us = plane.clock.unix_us()
    for number in range(60):
        record(plane, *(app_event("named", "chat", description=f"{number}{'x' * 2_000}") for _ in range(100)))
    tracemalloc.start()
    try:
        assert "named" in callers(plane, plane.clock.unix_us())
        _, held_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 8_000_000
    with plane.database.read() as tx:
        (row,) = read_audit_newest(tx, AuditFilter(object="App/named", until_us=at_us), 10)
    assert row.at_us <= at_us


class AsksAgain(TestClock):
    """Somebody else asks while the first question is being answered."""

    ask: Callable[[], object]
    codes: tuple[AdminCode, ...] = ()

    def unix_us(self) -> int:
        try:
            self.ask()
        except Refused as refused:
            self.codes = (*self.codes, refused.code)
        return super().unix_us()


def test_one_question_is_answered_at_a_time(plane: ControlPlane) -> None:
    clock = AsksAgain()
    (endpoint,) = model_access_http.endpoints(plane.database, clock)
    clock.ask = lambda: endpoint.handler(Call(TESTER, {}, {"model": "small", "environment": "test"}))
    clock.ask()
    assert set(clock.codes) == {AdminCode.UNAVAILABLE}
    clock.codes = ()
    clock.ask()
    assert set(clock.codes) == {AdminCode.UNAVAILABLE}, "the place came free"
