"""The approval that a step of a rollout asks for, by real people and robots: whose counts, and what leads around it."""

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lineclear.client.admin import AdminClient, path_of
from lineclear.control import under_way
from lineclear.control.changes.behind import refuse_follow_up
from lineclear.control.rollouts import http as rollouts_http
from lineclear.control.rollouts.service import Rollouts
from lineclear.domain.evidence import ArmCounts
from lineclear.domain.rollout import Hold, Progress, RolloutState
from lineclear.domain.signals import RolloutEvidence, SignalPlan
from lineclear.store import rollout_rows
from lineclear.store.ledger import Ledger
from lineclear.testing.access_house import AccessHouse, refusal
from lineclear.testing.control_plane import ServedAPI

CHAT = """
kind: Route
name: chat
team: support
environments:
  live: {targets: [{model: simulated@1}], rollout: careful, timeouts: {total_s: SECONDS}}
"""
CAREFUL = """
kind: Rollout
name: careful
steps:
- weight: {percent: 10, bake_s: 60}
- approval: true
- weight: {percent: 50, bake_s: 60}
guards: {error: {}}
"""


class Silence:
    """What is known of a rollout whose gateways say nothing."""

    def evidence(self, plan: SignalPlan) -> RolloutEvidence:
        nothing = ArmCounts()
        return RolloutEvidence(plan.rollout, nothing, nothing, (), None, nothing, 0, 0, None, ("gateway-1",))

    def keep_only(self, rollouts: Collection[str]) -> None:
        """There is nothing to keep."""


class Waiting:
    """A house where a change of `chat` waits at the approval step of its rollout."""

    def __init__(self, house: AccessHouse, directory: Path) -> None:
        self.house = house
        house.plane.apply(f"{CAREFUL}---{CHAT.replace('SECONDS', '20')}")
        plane = house.plane
        self.rollouts = Rollouts(plane.publisher, Ledger.open(directory / "ledger"), Silence(), plane.overrides)
        more = rollouts_http.endpoints(self.rollouts, partial(refuse_follow_up, plane.database))
        house.served.close()
        house.served = ServedAPI((*house.plane.endpoints(), *more), house.plane.authenticate)
        house.admin = house.served.client()

    def begun_by(self, author: AdminClient, **more: Any) -> str:
        """A rollout that has come to its approval; its id."""
        files = [{"name": "m.yaml", "text": CHAT.replace("SECONDS", "30")}]
        assert author.post(path_of("changes"), {"files": files, "note": "x", **more})["state"] == "applied"
        self.rollouts.look()
        publisher = self.house.plane.publisher
        with publisher.database.write() as tx:
            (row,) = rollout_rows.open_rollouts(tx).values()
            now_us = publisher.clock.unix_us()
            at = Progress(RolloutState.HELD, Hold.APPROVAL, 1, now_us, now_us)
            assert under_way.put(tx, under_way.read(row), at, now_us)
        return row.id

    def refused(self, client: AdminClient, rollout: str) -> tuple[int, str, str]:
        return refusal(client, "POST", path_of("rollouts", rollout, "advances"), {})


@pytest.fixture
def waiting(house: AccessHouse, tmp_path: Path) -> Waiting:
    return Waiting(house, tmp_path)


def test_an_operator_takes_no_approval_step_while_gateways_are_silent(waiting: Waiting) -> None:
    house = waiting.house
    oli, zoe = house.person("oli", "operator", "author"), house.person("zoe", "approver team:support")
    rollout = waiting.begun_by(oli)
    assert waiting.refused(oli, rollout)[:2] == (403, "forbidden")
    house.clock.advance(60)
    waiting.rollouts.look()
    facts = oli.get(path_of("rollouts", rollout))
    assert facts["rollout"]["hold"] == "approval"
    assert "gateway-1" in " ".join(facts["why_not_advancing"])
    assert waiting.refused(oli, rollout)[:2] == (403, "forbidden")
    assert zoe.post(path_of("rollouts", rollout, "advances"), {})["rollout"]["state"] == "running"
    assert waiting.refused(oli, rollout)[0] == 200, "the next step is an operator's"


def co_author(waiting: Waiting) -> tuple[AdminClient, str]:
    bob = waiting.house.person("bob", "approver")
    return bob, waiting.begun_by(waiting.house.person("ann", "author"), co_authors=["BOB"])


def who_made_the_robot(waiting: Waiting) -> tuple[AdminClient, str]:
    eve = waiting.house.person("eve", "admin", "approver")
    eve.post(path_of("members"), {"name": "ci", "kind": "service", "team": ""})
    eve.post(path_of("grants"), {"principal": "ci", "role": "author", "scope": "platform"})
    token = eve.post(path_of("tokens"), {"principal": "ci"})["token"]
    return eve, waiting.begun_by(waiting.house.served.client(token))


def who_let_themselves_in(waiting: Waiting) -> tuple[AdminClient, str]:
    amy = waiting.house.person("amy", "admin")
    rollout = waiting.begun_by(waiting.house.person("ann", "author"))
    amy.post(path_of("grants"), {"principal": "amy", "role": "approver", "scope": "platform"})
    return amy, rollout


def whom_the_author_invited(waiting: Waiting) -> tuple[AdminClient, str]:
    amy, bob = waiting.house.person("amy", "admin", "author"), waiting.house.person("bob", "approver")
    rollout = waiting.begun_by(amy)
    amy.post(path_of("members", "bob", "invitation"), None)
    return bob, rollout


def the_author(waiting: Waiting) -> tuple[AdminClient, str]:
    ann = waiting.house.person("ann", "author", "approver")
    return ann, waiting.begun_by(ann)


@pytest.mark.parametrize(
    "path", [the_author, co_author, who_made_the_robot, who_let_themselves_in, whom_the_author_invited]
)
def test_nobody_approves_a_step_of_their_own(
    waiting: Waiting, path: Callable[[Waiting], tuple[AdminClient, str]]
) -> None:
    client, rollout = path(waiting)
    assert waiting.refused(client, rollout)[:2] == (403, "forbidden")
    with waiting.house.plane.database.read() as tx:
        row = rollout_rows.read_rollout(tx, rollout)
    assert row is not None
    assert under_way.read(row).progress.step == 1


def test_a_step_is_approved_by_those_whom_its_environment_wants(waiting: Waiting) -> None:
    house = waiting.house
    rollout = waiting.begun_by(house.person("ann", "author"))
    house.plane.apply("kind: Environment\nname: live\nclass: live\napprovals: 1\napprover_teams: [sales]\n")
    bob, sue = house.person("bob", "approver"), house.person("sue", "approver environment:live", "viewer team:sales")
    status, _, message = waiting.refused(bob, rollout)
    assert (status, "with a role on team:sales" in message) == (403, True), message
    assert sue.post(path_of("rollouts", rollout, "advances"), {})["rollout"]["state"] == "running"


def test_a_step_of_weight_is_taken_by_operators_and_a_pending_one_too(waiting: Waiting) -> None:
    house = waiting.house
    ann = house.person("ann", "author")
    files = [{"name": "m.yaml", "text": CHAT.replace("SECONDS", "30")}]
    assert ann.post(path_of("changes"), {"files": files, "note": "x"})["state"] == "applied"
    (pending,) = [one for one in waiting.rollouts.listed(10) if one.stored.progress.is_open]
    rollout = pending.stored.row.id
    for number, role in enumerate(("viewer", "author", "reviewer", "approver", "auditor", "operator team:sales")):
        other = house.person(f"other{number}", role)
        assert waiting.refused(other, rollout)[0] in (403, 404), role
    oli, sue = house.person("oli", "operator"), house.person("sue", "operator team:support")
    begun = sue.post(path_of("rollouts", rollout, "advances"), {"reason": "no need to wait"})
    assert (begun["rollout"]["state"], begun["rollout"]["step"]) == ("running", 1)
    waits = oli.post(path_of("rollouts", rollout, "advances"), {"reason": "good enough"})
    assert (waits["rollout"]["hold"], waits["rollout"]["step"]) == ("approval", 2)
    # What comes next is an approval, which no operator gives.
    assert waiting.refused(oli, rollout)[:2] == (403, "forbidden")
    assert waiting.refused(sue, rollout)[:2] == (403, "forbidden")
