"""Replays as people and rollouts use them: begun, looked at, stopped.

In: what is to be asked of which releases. Out: where it stands, and what came back. The calls are the runner's.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import msgspec
from sqlalchemy import Connection

from lineclear.base.ids import random_id
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.publish import Publisher, read_desired
from lineclear.control.releases import release_id
from lineclear.control.replays.datasets import Datasets, find_in
from lineclear.control.replays.door import InnerDoor
from lineclear.control.replays.runner import Runner
from lineclear.control.replays.stored import figures_by_case, result_of, results_by_case, sides_text
from lineclear.control.scopes import scope_of_app, scope_of_route
from lineclear.domain.access import Scope
from lineclear.domain.evidence import Arm
from lineclear.domain.output_diff import ReplayReport, report_of
from lineclear.domain.replay import OPEN_STATES, Case, CaseResult, ReplayState, Side
from lineclear.handover.inner_door import InnerPurpose
from lineclear.store import control_rows, rollout_rows
from lineclear.store import replay_rows as rows
from lineclear.store.replay_rows import ArmSum, ReplayRow

REPLAY_PREFIX: Final = "rp_"
KEPT_MAX: Final = 200
"""Replays whose results are kept; the oldest go first."""
OPEN_MAX: Final = 20
"""Replays under way or waiting; one more is refused."""
WAIT_LOOK_S: Final = 0.1


class QueueFull(Refused):
    """Too many replays are under way; that passes."""


@dataclass(frozen=True)
class ReplaySpec:
    """What is asked."""

    purpose: InnerPurpose
    environment: str
    route: str
    app: str
    """Whose limits and budgets count."""
    dataset: str
    """`NAME` or `NAME@DIGEST`."""
    stable: Side | None
    candidate: Side | None
    """Where one of them is None the cases are asked of the other release alone."""
    spend_cap_nano_usd: int
    rollout: str = ""
    """The rollout that waits for it."""


@dataclass(frozen=True)
class Standing:
    """One replay with what is known of it now."""

    row: ReplayRow
    sums: dict[Arm, ArmSum]
    """By arm that has results."""
    scope: Scope
    """Of its route."""

    @property
    def spent_nano_usd(self) -> int:
        return sum(one.cost_nano_usd for one in self.sums.values())

    @property
    def is_open(self) -> bool:
        return self.row.state in OPEN_STATES


class Replays:
    """Looks after every replay."""

    def __init__(self, publisher: Publisher, door: InnerDoor) -> None:
        self.datasets = Datasets(publisher)
        self.door = door
        self._database = publisher.database
        self._clock = publisher.clock
        self._vault = publisher.vault
        self._runner = Runner(self._database, self._clock, self._vault, self.datasets, door)

    def open(self) -> None:
        """Begin to ask; what was under way goes on."""
        self._runner.start()

    def close(self) -> None:
        """Ask nothing more; the next control goes on."""
        self._runner.close()

    def sides(self, environment: str, route: str, other: str = "") -> tuple[Side, Side]:
        """Stable and the candidate of a route: that of its rollout under way, or what serves in another environment.

        Raises:
            Refused: `not_found` if nothing is deployed there; `conflict` if there is nothing to compare.
        """
        with self._database.read() as tx:
            return sides_in(tx, environment, route, other)

    def alone(self, environment: str, route: str, other: str) -> Side | None:
        """What serves in another environment, if the route has no release in this one yet; None if it has.

        Raises:
            Refused: `not_found` if it has none in the other one either.
        """
        with self._database.read() as tx:
            deployments = control_rows.read_deployments(tx)
        if not other or (environment, route) in deployments:
            return None
        elsewhere = deployments.get((other, route))
        if elsewhere is None:
            raise Refused(AdminCode.NOT_FOUND, f"there is no route {route!r} in {other}")
        return Side(other, elsewhere.stable)

    def scopes_of(self, route: str, app: str, environments: Iterable[str]) -> list[Scope]:
        """Where whoever starts a replay has to be allowed to: the route and the app, in each environment."""
        with self._database.read() as tx:
            desired = read_desired(tx)
        return [
            scope
            for environment in dict.fromkeys(filter(None, environments))
            for scope in (scope_of_route(desired, environment, route), scope_of_app(desired, app, environment))
        ]

    def start(self, spec: ReplaySpec, actor: str, replay_id: str = "") -> str:
        """Begin a replay; its id. One whose id is given is begun once, however often this is asked.

        Raises:
            QueueFull: `conflict`: too many are under way.
            Refused: `not_found` for a dataset or app that is not there, `invalid_request` for a cap that is none.
        """
        if spec.spend_cap_nano_usd <= 0:
            raise Refused(AdminCode.INVALID_REQUEST, "the spend cap must be above 0 USD")
        id_ = replay_id or random_id(REPLAY_PREFIX)
        both = ((Arm.STABLE, spec.stable), (Arm.CANDIDATE, spec.candidate))
        sides = {arm: side for arm, side in both if side is not None}
        with self._database.write() as tx:
            if replay_id and rows.read_replay(tx, replay_id) is not None:
                return replay_id
            dataset = find_in(tx, spec.dataset)
            if spec.app not in read_desired(tx).apps:
                raise Refused(AdminCode.NOT_FOUND, f"there is no app {spec.app!r}", hint="`lineclear apps list`")
            if len(rows.read_replays_in(tx, OPEN_STATES)) >= OPEN_MAX:
                raise QueueFull(
                    AdminCode.CONFLICT,
                    f"{OPEN_MAX} replays are under way or waiting",
                    hint="wait for one to end, or stop one of yours: `lineclear replays list`",
                )
            row = ReplayRow(
                id=id_,
                purpose=spec.purpose.value,
                environment=spec.environment,
                route=spec.route,
                app=spec.app,
                dataset=dataset.name,
                dataset_digest=dataset.digest,
                dataset_team=dataset.team,
                cases=dataset.cases,
                sides=sides_text(sides),
                spend_cap_nano_usd=spec.spend_cap_nano_usd,
                rollout=spec.rollout,
                state=ReplayState.WAITING.value,
                reason="",
                report="",
                created_us=self._clock.unix_us(),
                created_by=actor,
                ended_us=0,
            )
            rows.add_replay(tx, row)
            rows.delete_replays_beyond(tx, KEPT_MAX, [one for one in ReplayState if one not in OPEN_STATES])
            asked = " and ".join(f"{release_id(side.release)} in {side.environment}" for side in sides.values())
            after = f"{dataset.name}@{dataset.digest[:16]}, {dataset.cases} cases, asked of {asked}"
            audit.record(tx, self._clock, actor, [AuditEvent(AuditAction.REPLAY_STARTED, f"replay/{id_}", after=after)])
        self._runner.poke()
        return id_

    def listed(self, row_limit: int) -> list[Standing]:
        """Newest first."""
        with self._database.read() as tx:
            found = rows.read_replays(tx, row_limit)
            return _standings(tx, found)

    def show(self, replay_id: str) -> Standing:
        """Where one stands.

        Raises:
            Refused: `not_found`.
        """
        with self._database.read() as tx:
            row = rows.read_replay(tx, replay_id)
            if row is None:
                raise unknown(replay_id)
            return _standings(tx, [row])[0]

    def report(self, row: ReplayRow) -> ReplayReport:
        """What came out; until the end is written down, figures alone: no fields, and `same_json` counts as changed."""
        if row.report:
            return msgspec.json.decode(row.report, type=ReplayReport)
        return report_of(figures_by_case(self._database, row))

    def results(self, row: ReplayRow) -> Iterator[dict[Arm, CaseResult]]:
        """What each case brought, in order; cases that nobody was asked are left out."""
        return results_by_case(self._database, self._vault, row)

    def results_of(self, row: ReplayRow, number: int) -> dict[Arm, CaseResult]:
        """What one case brought; empty while it was not asked."""
        with self._database.read() as tx:
            found = rows.read_results(tx, row.id, number, number + 1)
        return {Arm(one.arm): result_of(self._vault, row.id, one) for one in found}

    def answers(self, replay_id: str) -> Iterator[tuple[Case, dict[Arm, CaseResult]]]:
        """Each case with what it brought, in order; cases that nobody was asked are left out.

        Raises:
            Refused: `not_found` for the replay, or for its dataset once that is removed.
        """
        row = self.show(replay_id).row
        cases = self.datasets.cases(self.datasets.find(f"{row.dataset}@{row.dataset_digest}"))
        for found in self.results(row):
            yield cases[next(iter(found.values())).case], found

    def stop(self, replay_id: str, actor: str, reason: str) -> Standing:
        """Make no further calls; what came back so far stays.

        Raises:
            Refused: `not_found`; `conflict` if it has ended.
        """
        with self._database.write() as tx:
            row = rows.read_replay(tx, replay_id)
            if row is None:
                raise unknown(replay_id)
            if row.state not in OPEN_STATES:
                raise Refused(AdminCode.CONFLICT, f"replay {replay_id} is {row.state} already")
            words = f"by {actor}: {reason}" if reason else f"by {actor}"
            stopped = replace(row, state=ReplayState.STOPPED.value, reason=words, ended_us=self._clock.unix_us())
            rows.move_replay(tx, stopped, [row.state])
            event = AuditEvent(AuditAction.REPLAY_ENDED, f"replay/{replay_id}", row.state, stopped.state, words)
            audit.record(tx, self._clock, actor, [event])
        self._runner.stop(replay_id)
        return self.show(replay_id)

    def wait(self, replay_id: str, timeout_s: float) -> Standing:
        """Where it stands once it has ended, or when the time is over.

        Raises:
            Refused: as `show`.
        """
        deadline_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        while (standing := self.show(replay_id)).is_open and self._clock.monotonic_ns() < deadline_ns:
            time.sleep(WAIT_LOOK_S)
        return standing


def sides_in(tx: Connection, environment: str, route: str, other: str = "") -> tuple[Side, Side]:
    """As `Replays.sides`, in a transaction."""
    deployments = control_rows.read_deployments(tx)
    deployed = deployments.get((environment, route))
    if deployed is None:
        raise Refused(AdminCode.NOT_FOUND, f"there is no route {route!r} in {environment}")
    stable = Side(environment, deployed.stable)
    if other:
        elsewhere = deployments.get((other, route))
        if elsewhere is None:
            raise Refused(AdminCode.NOT_FOUND, f"there is no route {route!r} in {other}")
        return stable, Side(other, elsewhere.stable)
    tried = rollout_rows.open_rollouts(tx).get((environment, route))
    if tried is None:
        raise Refused(
            AdminCode.CONFLICT,
            f"route {route!r} has no rollout under way in {environment}, so there is nothing to compare with",
            hint="name another environment whose release is the candidate: `--candidate-from test`",
        )
    return stable, Side(environment, tried.candidate)


def unknown(replay_id: str) -> Refused:
    """What is said of a replay that is not there, or that the caller may not see."""
    return Refused(AdminCode.NOT_FOUND, f"there is no replay {replay_id!r}", hint="`lineclear replays list`")


def _standings(tx: Connection, found: list[ReplayRow]) -> list[Standing]:
    desired = read_desired(tx)
    sums = rows.sum_results(tx, [row.id for row in found]) if found else {}
    return [
        Standing(
            row,
            {arm: sums[row.id, arm.value] for arm in Arm if (row.id, arm.value) in sums},
            scope_of_route(desired, row.environment, row.route),
        )
        for row in found
    ]
