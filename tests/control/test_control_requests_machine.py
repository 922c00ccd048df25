"""Change requests under every order of steps by every actor: no forbidden state, no own approval, no move alone."""

import itertools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import Connection

from lineclear.base.secret import Secret
from lineclear.config.manifest import ManifestFile
from lineclear.control.changes.apply import Applied, Author
from lineclear.control.changes.opening import authorship_of, needs_in, valid_approvals
from lineclear.control.changes.requests import ChangeRequests
from lineclear.control.endpoint import Refused, forbidden
from lineclear.domain.access import PLATFORM, Grant, Principal, PrincipalKind, Role, Scope
from lineclear.domain.change_request import CLOSED, MOVES, ChangeState, missing_approvals
from lineclear.domain.permissions import Permission
from lineclear.store import change_rows
from lineclear.store import control_rows as rows
from lineclear.testing.clock import TestClock
from lineclear.testing.control_plane import ControlPlane

T = TypeVar("T")

BASE = """
kind: Team
name: support
---
kind: Provider
name: acme
dialects: [openai]
base_url: https://api.acme.example/v1
---
kind: Model
name: small
owner: support
versions:
  - {version: "1", provider: acme, upstream_id: s1, status: approved}
  - {version: "2", provider: acme, upstream_id: s2, status: approved}
  - {version: "3", provider: acme, upstream_id: s3, status: approved}
---
kind: Environment
name: live
class: live
approvals: 1
"""
ROUTE = """
kind: Route
name: chat
team: support
environments:
  live: {targets: [{model: small@VERSION}]}
"""
BOTH = (Grant(Role.AUTHOR, PLATFORM), Grant(Role.APPROVER, PLATFORM))
ACTORS = {
    "ann": Principal("ann", grants=BOTH),
    "ANN": Principal("ANN", grants=BOTH),
    "bob": Principal("bob", grants=BOTH),
    "zoe": Principal("zoe", grants=(Grant(Role.APPROVER, Scope(environment="live")),)),
    "bot": Principal("bot", PrincipalKind.SERVICE_ACCOUNT, BOTH),
    "sam": Principal("sam", grants=(Grant(Role.VIEWER, PLATFORM),)),
}
OWNERS = {"bot": ("bob",)}
WHO = st.sampled_from(sorted(ACTORS))
STEPS = {state.value: {target.value for target in targets} for state, targets in MOVES.items()}


def named(_tx: Connection, name: str) -> Principal | None:
    """Who an actor is; nobody of them loses anything here."""
    return ACTORS[name]


def guard_of(principal: Principal) -> Callable[[Permission, Scope], None]:
    """What a door would ask of the principal's grants."""

    def require(permission: Permission, scope: Scope) -> None:
        if not principal.may(permission, scope):
            raise forbidden(principal, permission, scope)

    return require


class Requests(RuleBasedStateMachine):
    """One protected route that five actors want to move."""

    @initialize()
    def start(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.clock = TestClock()
        self.plane = ControlPlane(Path(self.directory.name), clock=self.clock).start()
        self.requests = ChangeRequests(self.plane.changes, named)
        self.seen: dict[str, str] = {}
        self.ids: list[str] = []
        self.numbers = itertools.count()
        self._apply("root", BASE + "---" + ROUTE.replace("VERSION", "1"))
        self.stable = self._stable()

    def teardown(self) -> None:
        if hasattr(self, "plane"):
            self.plane.close()
            self.directory.cleanup()

    @rule(who=WHO, version=st.sampled_from("123"))
    def ask(self, who: str, version: str) -> None:
        """Somebody wants the route to call another version."""
        done = self._try(lambda: self._apply(who, ROUTE.replace("VERSION", version)))
        if done is not None and done.state is not ChangeState.UNCHANGED:
            assert done.state in (ChangeState.OPEN, ChangeState.APPROVED, ChangeState.STALE), done.state
            assert done.change is not None
            self.ids = list(dict.fromkeys([*self.ids, done.change]))

    @rule()
    def change_elsewhere(self) -> None:
        """The base moves, and nothing of it matters here."""
        self._apply("root", f"kind: Team\nname: t{next(self.numbers)}\n")

    @rule(who=WHO, at=st.integers(0, 9))
    def approve(self, who: str, at: int) -> None:
        change_id = self._pick(at)
        if not change_id:
            return
        before = self._authors(change_id)
        if self._try(lambda: self.requests.approve(change_id, ACTORS[who], owners=OWNERS.get(who, ()))):
            assert who not in ("bot", "sam")
            assert who.casefold() not in before, "an author approved"

    @rule(who=WHO, at=st.integers(0, 9), step=st.sampled_from(["reject", "withdraw", "rebase"]))
    def step(self, who: str, at: int, step: str) -> None:
        change_id, principal, owners = self._pick(at), ACTORS[who], OWNERS.get(who, ())
        if step == "reject":
            self._try(lambda: self.requests.reject(change_id, principal, "no"))
        elif step == "withdraw":
            self._try(lambda: self.requests.withdraw(change_id, principal))
        else:
            self._try(lambda: self.requests.rebase(change_id, principal, guard_of(principal), owners))

    @rule(who=WHO, at=st.integers(0, 9))
    def carry_out(self, who: str, at: int) -> None:
        change_id = self._pick(at)
        if not change_id:
            return
        with self.plane.database.read() as tx:
            row = rows.read_change(tx, change_id)
            assert row is not None
            approvals = valid_approvals(tx, self.plane.publisher, named, change_id, needs_in(row))
        if self._try(lambda: self.requests.apply(change_id, ACTORS[who], guard_of(ACTORS[who]))):
            assert not missing_approvals(needs_in(row), approvals, row.content_digest), "applied unapproved"
            assert not any(authorship_of(row).includes(item.principal) for item in approvals)
            self.stable = self._stable()

    @rule(hours=st.sampled_from([1, 24, 200]))
    def wait(self, hours: int) -> None:
        self.clock.advance(hours * 3600)
        self.requests.sweep()

    @invariant()
    def nothing_moves_but_by_an_application(self) -> None:
        if hasattr(self, "plane"):
            assert self._stable() == self.stable

    @invariant()
    def every_step_is_one_of_the_machine_and_what_is_closed_is_forgotten(self) -> None:
        if not hasattr(self, "plane"):
            return
        with self.plane.database.read() as tx:
            for change_id in self.ids:
                row = rows.read_change(tx, change_id)
                assert row is not None
                was = self.seen.get(change_id, row.state)
                reached = STEPS.get(was, set())
                # One rule may do two steps: what time and others did shows at the next look.
                within_two = reached | {end for step in reached for end in STEPS.get(step, set())}
                assert row.state in {was} | within_two, (was, row.state)
                assert (change_rows.read_content(tx, change_id) is None) == (ChangeState(row.state) in CLOSED)
                self.seen[change_id] = row.state

    def _try(self, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except Refused:
            return None

    def _apply(self, who: str, text: str) -> Applied:
        reading = self.plane.changes.read([ManifestFile("m.yaml", text)])
        require = None if who == "root" else guard_of(ACTORS[who])
        author = Author(who, owners=OWNERS.get(who, ()), require=require)
        return self.plane.changes.apply(reading, {"X": Secret("y")}, author, note="why")

    def _pick(self, at: int) -> str:
        """One of the changes so far; empty before the first."""
        return self.ids[at % len(self.ids)] if self.ids else ""

    def _authors(self, change_id: str) -> set[str]:
        with self.plane.database.read() as tx:
            row = rows.read_change(tx, change_id)
        assert row is not None
        return {item.casefold() for item in (row.author, *json.loads(row.co_authors), *json.loads(row.owners))}

    def _stable(self) -> str:
        with self.plane.database.read() as tx:
            return rows.read_deployments(tx)["live", "chat"].stable


Requests.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestRequests = Requests.TestCase
