"""What a change makes of each route that it moves, component by component: what an approver decides by.

In: a change's id. Out: the releases before and after it, compared. What waits is worked out anew, so it says what
would happen now; what was carried out is compared as it was kept. Writes nothing.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from lineclear.control.changes import opening
from lineclear.control.changes.apply import Changes
from lineclear.control.changes.plan import Prepared
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.release_diff import ComponentDiff, diff_releases
from lineclear.control.releases import release_id
from lineclear.domain.change_request import CLOSED, ChangeState
from lineclear.store import control_rows as rows
from lineclear.store import rollout_rows
from lineclear.store.control_rows import ChangeRow


@dataclass(frozen=True)
class DeploymentDiff:
    """What one route does otherwise in one environment."""

    environment: str
    route: str
    before: str | None
    """Release id; None for a first deployment."""
    after: str | None
    """Release id; None if the deployment goes."""
    rollout: str
    """The plan by which the new release reaches callers, or the id of the rollout that was begun; empty = at once."""
    components: list[ComponentDiff]
    """Nothing where there is no release on one of the two sides."""


@dataclass(frozen=True)
class Comparison:
    """Every route that a change moves."""

    change: str
    state: str
    deployments: list[DeploymentDiff] = field(default_factory=list)
    problem: str = ""
    """Why there is nothing to compare; empty if there is."""


def compare(changes: Changes, change_id: str) -> Comparison:
    """What the change does to releases: now where it waits, then where it was carried out.

    Raises:
        Refused: `not_found`.
    """
    with changes.publisher.database.read() as tx:
        row = rows.read_change(tx, change_id)
        if row is None:
            raise Refused(AdminCode.NOT_FOUND, f"there is no change {change_id!r}", hint="`lineclear changes list`")
        state = ChangeState(row.state)
        if state not in CLOSED:
            try:
                prepared = changes.prepare(tx, opening.content_of(tx, changes.publisher, row))
            except Refused as refused:
                return Comparison(row.id, row.state, problem=f"it cannot be carried out any more: {refused.message}")
            return Comparison(row.id, row.state, list(_waiting(prepared)))
        if state is not ChangeState.APPLIED:
            return Comparison(row.id, row.state, problem=f"it was {row.state}, and what came with it is forgotten")
        return Comparison(row.id, row.state, list(_applied(tx, row)))


def _waiting(prepared: Prepared) -> Iterator[DeploymentDiff]:
    move = prepared.move
    for key, release in sorted(prepared.releases.items()):
        row = move.deployments.get(key)
        before = None if row is None else move.releases[row.stable]
        stands = None if row is None else release_id(row.stable)
        named = prepared.wanted.routes[key[1]].environments[key[0]].rollout
        has_steps = before is not None and named in prepared.wanted.rollouts
        yield _diff(key, (stands, before), (release.id, release.manifest), named if has_steps else "")
    for key in prepared.removed:
        stable = move.deployments[key].stable
        yield _diff(key, (release_id(stable), move.releases[stable]), (None, None), "")


def _applied(tx: Connection, row: ChangeRow) -> Iterator[DeploymentDiff]:
    kept = {item.id: item.manifest for item in rows.read_releases(tx).values()}
    begun = {(item.environment, item.route): item.id for item in rollout_rows.read_rollouts_of(tx, row.id)}
    plan: Mapping[str, Any] = json.loads(row.plan)  # Any: the plan as it was stored
    for item in plan["releases"]:
        key = (item["environment"], item["route"])
        before, after = item["before"], item["after"]
        yield _diff(key, (before, kept.get(before)), (after, kept.get(after)), begun.get(key, ""))


def _diff(
    key: tuple[str, str], before: tuple[str | None, str | None], after: tuple[str | None, str | None], rollout: str
) -> DeploymentDiff:
    manifests = (before[1], after[1])
    if manifests[0] is None or manifests[1] is None:
        return DeploymentDiff(*key, before[0], after[0], rollout, [])
    components = diff_releases(json.loads(manifests[0]), json.loads(manifests[1]))
    return DeploymentDiff(*key, before[0], after[0], rollout, components)
