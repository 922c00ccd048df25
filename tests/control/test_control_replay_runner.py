"""What a replay does when gateways are busy, gone, or say what nothing can be made of; a gateway is scripted."""

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from lineclear.config.manifest_rules import TIMEOUT_S_MAX
from lineclear.control.endpoint import Refused
from lineclear.control.replays import runner as rules
from lineclear.control.replays.door import ANSWER_WAIT_S, InnerDoor
from lineclear.control.replays.service import OPEN_MAX, Replays, ReplaySpec
from lineclear.domain.evidence import Arm
from lineclear.domain.replay import ReplayState, Side
from lineclear.handover.inner_door import InnerPrincipal, InnerPurpose, inner_door_directory, opened_principal
from lineclear.store import replay_rows as rows
from lineclear.testing.control_plane import ControlPlane
from lineclear.testing.manifests import SUPPORT

STABLE, CANDIDATE = Side("live", "a" * 64), Side("live", "b" * 64)
WAIT_S = 60.0
CONTENT = b"\n".join(b'{"text": "question %d"}' % number for number in range(12))
Answer = tuple[int, dict[str, str], object]
"""Status, header fields, JSON body."""


def good(text: str = "hi", cost: str = "0.000001000") -> Answer:
    fields = {"x-lineclear-attempts": "1", "x-lineclear-model": "m@1", "x-lineclear-cost-basis": "priced"}
    body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
    return 200, {**fields, "x-lineclear-cost-usd": cost, "x-request-id": "req_1"}, body


def bad(status: int, code: str, **fields: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return status, named, {"error": {"code": code, "message": f"it is {code}"}}


class Gateway:
    """Listens where a gateway would, and says what a test wants."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self.says: Callable[[InnerPrincipal, dict[str, Any]], Answer] = lambda _, __: good()
        self.calls: list[tuple[InnerPrincipal, dict[str, Any], dict[str, str]]] = []
        self._lock = threading.Lock()
        self._server: socketserver.ThreadingUnixStreamServer | None = None

    def open(self) -> None:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                fields = {name.lower(): value for name, value in self.headers.items()}
                principal = opened_principal(
                    gateway._plane.keys_of_master,
                    fields["authorization"].removeprefix("Bearer "),
                    gateway._plane.clock.unix_us(),
                )
                assert principal is not None
                with gateway._lock:
                    gateway.calls.append((principal, body, fields))
                    status, said, value = gateway.says(principal, body)
                if not status:
                    # It goes away with the call.
                    self.close_connection = True
                    return
                text = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                for name, value in {**said, "content-length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        directory = inner_door_directory(self._plane.run_dir)
        directory.mkdir(mode=0o700, exist_ok=True)
        path = directory / "local-b-0-0.sock"
        path.unlink(missing_ok=True)
        self._server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture
def gateway(plane: ControlPlane) -> Iterator[Gateway]:
    plane.apply(SUPPORT + "---\nkind: App\nname: shop\nteam: support\nroutes: ['*']\n")
    plane.replays.datasets.add("questions", "support", CONTENT, "anna")
    made = Gateway(plane)
    made.open()
    yield made
    made.close()


def spec(cap_nano_usd: int = 10**9, candidate: Side | None = CANDIDATE) -> ReplaySpec:
    return ReplaySpec(
        InnerPurpose.REPLAY, "live", "chat", "shop", "questions", STABLE, candidate, spend_cap_nano_usd=cap_nano_usd
    )


def run(plane: ControlPlane, asked: ReplaySpec) -> tuple[str, str, str]:
    """State, reason and id once it has ended."""
    plane.replays.open()
    id_ = plane.replays.start(asked, "anna")
    row = plane.replays.wait(id_, WAIT_S).row
    return row.state, row.reason, id_


def test_each_case_is_asked_of_each_release_in_the_name_of_the_app(plane: ControlPlane, gateway: Gateway) -> None:
    state, _, id_ = run(plane, spec())
    assert state == "completed"
    assert {(one.release, one.app, one.route, one.run) for one, _, _ in gateway.calls} == {
        (side.release, "shop", "chat", id_) for side in (STABLE, CANDIDATE)
    }
    assert len(gateway.calls) == 24
    assert {fields["x-lineclear-tags"] for _, _, fields in gateway.calls} == {f"replay={id_}"}
    assert len({fields["idempotency-key"] for _, _, fields in gateway.calls}) == 24
    assert [case.id for case, _ in plane.replays.answers(id_)] == [str(number) for number in range(1, 13)]
    assert plane.replays.show(id_).spent_nano_usd == 24_000


def test_one_release_alone_can_be_asked(plane: ControlPlane, gateway: Gateway) -> None:
    state, _, id_ = run(plane, spec(candidate=None))
    assert (state, len(gateway.calls)) == ("completed", 12)
    report = plane.replays.report(plane.replays.show(id_).row)
    assert (report.pairs, list(report.arms)) == (0, [Arm.STABLE])


@pytest.mark.parametrize("code", ["rate_limited", "concurrency_limited", "overloaded", "accountant_unavailable"])
def test_what_says_nothing_of_a_release_is_waited_for(plane: ControlPlane, gateway: Gateway, code: str) -> None:
    refused = iter([True, True, True])
    gateway.says = lambda _, __: bad(429, code, retry_after_ms="60") if next(refused, False) else good()
    state, _, id_ = run(plane, spec())
    assert (state, len(gateway.calls)) == ("completed", 27)
    report = plane.replays.report(plane.replays.show(id_).row)
    assert report.arms[Arm.STABLE].answered == report.arms[Arm.CANDIDATE].answered == 12


def test_a_throttled_vendor_is_tried_again_and_is_then_the_result(plane: ControlPlane, gateway: Gateway) -> None:
    throttled = bad(429, "upstream_rate_limited", retry_after_ms="50", x_lineclear_attempts="1")
    gateway.says = lambda who, _: throttled if who.release == CANDIDATE.release else good()
    state, _, id_ = run(plane, spec())
    assert state == "completed"
    assert len(gateway.calls) == 12 + 12 * rules.VENDOR_TRIES_MAX
    report = plane.replays.report(plane.replays.show(id_).row)
    assert report.arms[Arm.CANDIDATE].errors == (("upstream_rate_limited", 12),)


@pytest.mark.parametrize("code", ["budget_exceeded", "model_not_found", "stopped", "not_found", "invalid_api_key"])
def test_what_every_further_call_would_be_told_ends_it(plane: ControlPlane, gateway: Gateway, code: str) -> None:
    gateway.says = lambda _, __: bad(402, code)
    state, reason, _ = run(plane, spec())
    assert (state, f"it is {code}" in reason) == ("stopped", True)
    assert len(gateway.calls) <= rules.CALLS_AT_ONCE


def test_a_vendors_own_not_found_is_a_result(plane: ControlPlane, gateway: Gateway) -> None:
    gateway.says = lambda _, __: bad(404, "not_found", x_lineclear_attempts="1")
    state, _, id_ = run(plane, spec())
    assert state == "completed"
    assert plane.replays.report(plane.replays.show(id_).row).arms[Arm.STABLE].errors == (("not_found", 12),)


@pytest.mark.parametrize(("cap", "calls"), [(1, 1), (5_000, 5), (5_999, 5), (24_000, 24)])
def test_no_call_is_begun_that_could_pass_the_cap(plane: ControlPlane, gateway: Gateway, cap: int, calls: int) -> None:
    state, reason, id_ = run(plane, spec(cap))
    assert len(gateway.calls) == calls
    assert state == ("completed" if calls == 24 else "stopped")
    assert ("spend cap" in reason) is (calls < 24)
    assert plane.replays.show(id_).spent_nano_usd == calls * 1_000


def test_free_models_are_asked_to_the_end(plane: ControlPlane, gateway: Gateway) -> None:
    gateway.says = lambda _, __: good(cost="0.000000000")
    assert run(plane, spec(1))[0] == "completed"


def test_without_a_price_no_cap_can_be_held(plane: ControlPlane, gateway: Gateway) -> None:
    status, fields, body = good()
    unpriced = {name: value for name, value in fields.items() if name != "x-lineclear-cost-usd"}
    gateway.says = lambda _, __: (status, {**unpriced, "x-lineclear-cost-basis": "unpriced"}, body)
    state, reason, _ = run(plane, spec())
    assert (state, "no price" in reason) == ("stopped", True)
    assert len(gateway.calls) == 1


def untold(text: str = "hi") -> Answer:
    """An answer so long that its head went out before its cost was known."""
    status, fields, body = good(text)
    return status, {name: value for name, value in fields.items() if "-cost-" not in name}, body


def test_a_cost_that_was_not_told_counts_as_the_dearest(plane: ControlPlane, gateway: Gateway) -> None:
    gateway.says = lambda _, __: good() if len(gateway.calls) == 1 else untold()
    state, reason, id_ = run(plane, spec(5_000))
    assert (state, "spend cap" in reason, len(gateway.calls)) == ("stopped", True, 5)
    assert plane.replays.show(id_).spent_nano_usd == 5_000


def test_a_first_cost_that_was_not_told_ends_it(plane: ControlPlane, gateway: Gateway) -> None:
    gateway.says = lambda _, __: untold()
    state, reason, _ = run(plane, spec())
    assert (state, "the cost was not told" in reason, len(gateway.calls)) == ("stopped", True, 1)


def test_attempts_that_failed_count_towards_the_cap(plane: ControlPlane, gateway: Gateway) -> None:
    def says(_: InnerPrincipal, __: dict[str, Any]) -> Answer:
        wasted = {"x-lineclear-waste-usd": "0.000001000"}
        if len(gateway.calls) % 2:
            status, fields, body = good()
            return status, {**fields, **wasted}, body
        status, fields, body = bad(502, "upstream_error", x_lineclear_attempts="1", x_lineclear_cost_usd="0.000000000")
        return status, {**fields, **wasted}, body

    gateway.says = says
    state, _, id_ = run(plane, spec(10_000))
    assert state == "stopped"
    assert 8_000 <= plane.replays.show(id_).spent_nano_usd <= 10_000
    assert len(gateway.calls) <= 7


def test_a_call_that_gateways_go_away_with_is_a_result_after_few_tries(plane: ControlPlane, gateway: Gateway) -> None:
    def is_lost(body: dict[str, Any]) -> bool:
        return "question 3" in json.dumps(body)

    gateway.says = lambda _, body: (0, {}, b"") if is_lost(body) else good()
    state, _, id_ = run(plane, spec())
    assert state == "completed"
    assert sum(is_lost(body) for _, body, _ in gateway.calls) == 2 * rules.LOST_TRIES_MAX
    report = plane.replays.report(plane.replays.show(id_).row)
    assert report.arms[Arm.STABLE].errors == (("answer_lost", 1),)
    # 22 answers, and every try that was lost as if it had been answered.
    assert plane.replays.show(id_).spent_nano_usd == 22_000 + 2 * rules.LOST_TRIES_MAX * 1_000


def test_calls_that_are_lost_use_up_the_cap(plane: ControlPlane, gateway: Gateway) -> None:
    gateway.says = lambda _, __: good() if len(gateway.calls) == 1 else (0, {}, b"")
    state, reason, _ = run(plane, spec(6_000))
    assert (state, "spend cap" in reason) == ("stopped", True)
    assert len(gateway.calls) <= 6


def test_a_first_call_that_is_lost_again_and_again_ends_it(plane: ControlPlane, gateway: Gateway) -> None:
    gateway.says = lambda _, __: (0, {}, b"")
    state, reason, _ = run(plane, spec())
    assert (state, "nobody knows what a call costs" in reason) == ("stopped", True)
    assert len(gateway.calls) == rules.LOST_TRIES_MAX


def test_a_gateway_is_waited_for_as_long_as_a_route_may_take() -> None:
    assert ANSWER_WAIT_S > TIMEOUT_S_MAX


def test_what_is_no_answer_is_an_error_of_the_release(plane: ControlPlane, gateway: Gateway) -> None:
    status, fields, _ = good()
    gateway.says = lambda _, __: (status, fields, b"<html>")
    _, _, id_ = run(plane, spec())
    ((code, count),) = plane.replays.report(plane.replays.show(id_).row).arms[Arm.STABLE].errors
    assert (code, count) == ("unreadable_answer", 12)


def test_a_long_answer_is_kept_in_part_and_compared_in_whole(plane: ControlPlane, gateway: Gateway) -> None:
    start = "x" * 100_000
    gateway.says = lambda who, _: good(start + who.release[0])
    _, _, id_ = run(plane, spec())
    _, found = next(plane.replays.answers(id_))
    assert (found[Arm.STABLE].is_cut, len(found[Arm.STABLE].text), found[Arm.STABLE].text_bytes) == (
        True,
        65_536,
        100_001,
    )
    report = plane.replays.report(plane.replays.show(id_).row)
    assert report.differing == 12


FULL = (
    """CREATE TRIGGER full BEFORE INSERT ON replay_results BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"""
)


def test_what_cannot_be_written_down_is_neither_lost_nor_paid_again(plane: ControlPlane, gateway: Gateway) -> None:
    with plane.database.write() as tx:
        tx.exec_driver_sql(FULL)
    asked = threading.Event()

    def says(_: InnerPrincipal, __: dict[str, Any]) -> Answer:
        asked.set()
        return good()

    gateway.says = says
    plane.replays.open()
    id_ = plane.replays.start(spec(), "anna")
    assert asked.wait(WAIT_S)
    assert plane.replays.wait(id_, 2.5).is_open
    # The first call's price is not known before its result is kept, so there is no second one.
    assert len(gateway.calls) == 1
    with plane.database.write() as tx:
        tx.exec_driver_sql("DROP TRIGGER full")
    assert plane.replays.wait(id_, WAIT_S).row.state == "completed"
    assert len(gateway.calls) == 24


def test_a_defect_of_ours_ends_it_instead_of_paying_on(plane: ControlPlane, gateway: Gateway) -> None:
    gateway.says = lambda _, __: good(cost="a lot")
    state, reason, _ = run(plane, spec())
    assert (state, "Lineclear failed" in reason) == ("failed", True)
    assert len(gateway.calls) == 1


def test_sockets_of_dead_gateways_are_passed_over_and_cleared(plane: ControlPlane, gateway: Gateway) -> None:
    dead = inner_door_directory(plane.run_dir) / "local-a-0-0.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(dead))
    assert run(plane, spec())[0] == "completed"
    assert not dead.exists()


def test_gateways_that_restart_are_waited_for(plane: ControlPlane, gateway: Gateway) -> None:
    gateway.close()
    plane.replays.open()
    id_ = plane.replays.start(spec(), "anna")
    assert plane.replays.wait(id_, 1.5).is_open
    gateway.open()
    assert plane.replays.wait(id_, WAIT_S).row.state == "completed"


def test_a_new_control_goes_on_where_the_results_end(plane: ControlPlane, gateway: Gateway) -> None:
    seven, goes_on = threading.Event(), threading.Event()

    def says(_: InnerPrincipal, __: dict[str, Any]) -> Answer:
        if len(gateway.calls) > 8:
            seven.set()
            goes_on.wait(WAIT_S)
        return good()

    gateway.says = says
    plane.replays.open()
    id_ = plane.replays.start(spec(), "anna")
    assert seven.wait(WAIT_S)
    plane.replays.close()
    goes_on.set()
    standing = plane.replays.show(id_)
    assert standing.row.state == "running"
    kept = sum(one.results for one in standing.sums.values())
    assert 8 - rules.CALLS_AT_ONCE <= kept <= 9
    made = len(gateway.calls)
    second = Replays(plane.publisher, InnerDoor(plane.run_dir, plane.keys_of_master, plane.clock))
    second.open()
    try:
        assert second.wait(id_, WAIT_S).row.state == "completed"
    finally:
        second.close()
    # What was under way when control ended is asked again, and nothing else.
    assert 0 <= len(gateway.calls) - made - (24 - kept) <= rules.CALLS_AT_ONCE
    assert len(list(second.answers(id_))) == 12


def test_a_stop_of_one_that_waits_and_of_one_that_runs(plane: ControlPlane, gateway: Gateway) -> None:
    waiting = plane.replays.start(spec(), "anna")
    assert plane.replays.stop(waiting, "ben", "not now").row.reason == "by ben: not now"
    asked, goes_on = threading.Event(), threading.Event()

    def says(_: InnerPrincipal, __: dict[str, Any]) -> Answer:
        asked.set()
        goes_on.wait(WAIT_S)
        return good()

    gateway.says = says
    plane.replays.open()
    running = plane.replays.start(spec(), "anna")
    assert asked.wait(WAIT_S)
    assert plane.replays.stop(running, "ben", "").row.state == "stopped"
    with pytest.raises(Refused, match="is stopped already"):
        plane.replays.stop(running, "ben", "")
    goes_on.set()
    assert len(gateway.calls) <= rules.CALLS_AT_ONCE
    assert [one.row.id for one in plane.replays.listed(10)] == [running, waiting]


def test_a_stop_while_it_is_being_prepared_is_not_lost(plane: ControlPlane, gateway: Gateway) -> None:
    id_ = plane.replays.start(spec(), "anna")
    with plane.database.write() as tx:
        row = rows.read_replay(tx, id_)
        assert row is not None
        running = replace(row, state=ReplayState.RUNNING.value)
        rows.move_replay(tx, running, [row.state])
    plane.replays.stop(id_, "ben", "")
    # A thread that took it before it was stopped goes on from here.
    plane.replays._runner._carry_out(running)
    assert gateway.calls == []
    assert plane.replays.show(id_).row.state == "stopped"


def test_results_that_do_not_open_end_it_instead_of_stopping_every_replay(
    plane: ControlPlane, gateway: Gateway
) -> None:
    kept = threading.Event()

    def says(_: InnerPrincipal, __: dict[str, Any]) -> Answer:
        if len(gateway.calls) > 8 and not kept.is_set():
            with plane.database.write() as tx:
                tx.exec_driver_sql("UPDATE replay_results SET sealed = X'00'")
            kept.set()
        return good()

    gateway.says = says
    state, reason, id_ = run(plane, spec())
    assert (state, "SealBroken" in reason) == ("failed", True)
    assert len(gateway.calls) == 24
    assert plane.replays.report(plane.replays.show(id_).row).arms[Arm.STABLE].answered == 12
    assert plane.replays.wait(plane.replays.start(spec(), "anna"), WAIT_S).row.state == "completed"


def test_a_full_queue_tells_nothing_of_the_replays_of_others(plane: ControlPlane, gateway: Gateway) -> None:
    ids = [plane.replays.start(spec(), "anna") for _ in range(OPEN_MAX)]
    with pytest.raises(Refused) as refused:
        plane.replays.start(spec(), "ben")
    assert not any(id_ in refused.value.message + refused.value.hint for id_ in ids)
