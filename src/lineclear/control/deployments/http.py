"""The admin API's endpoints for the history of deployments and for what differs between releases."""

import json
from dataclasses import dataclass

from lineclear.base.clock import Clock
from lineclear.control.deployments.history import Stretch, in_force_at
from lineclear.control.deployments.seen import seen_history, sees_route
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, QueryParameter, Reach, Refused
from lineclear.control.publish import read_desired
from lineclear.control.release_diff import ComponentDiff, diff_releases
from lineclear.domain.permissions import Permission
from lineclear.observe.period import instant_us, time_text
from lineclear.store import control_rows as rows
from lineclear.store.control_rows import ReleaseRow
from lineclear.store.database import Database


@dataclass(frozen=True)
class StretchFacts:
    """A time in which one release was the stable one."""

    release: str | None
    """None = the route was not deployed."""
    from_at: str
    until_at: str | None
    """None = still."""
    how: str
    """`deployment.moved`, `deployment.rolled-back` or `deployment.removed`."""
    changed_by: str
    approved_by: str | None
    note: str
    change: str | None
    """A change request (`chg_…`) or an override (`ovr_…`)."""
    audit_event: int
    """Its number in the audit trail."""


@dataclass(frozen=True)
class History:
    """What was in force of one route in one environment."""

    route: str
    environment: str
    at: str | None
    """The instant that was asked for; None = the whole history."""
    stretches: list[StretchFacts]
    """Newest first; at an instant the one that holds it, or none before the first deployment."""


@dataclass(frozen=True)
class ReleaseDiff:
    """What differs between two releases; nothing if they are the same."""

    before: str
    after: str
    components: list[ComponentDiff]


_PAIR = ("before", "after")


def endpoints(database: Database, clock: Clock) -> tuple[Endpoint, ...]:
    """History and release diffs."""
    desk = DeploymentDesk(database, clock)
    return (
        Endpoint(
            "GET", f"{API_ROOT}/deployment-history", Permission.ROUTE_READ, desk.history,
            "Which release was in force when, and who changed it", answer=History, reach=Reach.OBJECT,
            query=(
                QueryParameter("route", "The route."),
                QueryParameter("environment", "The environment."),
                QueryParameter("at", "Only what was in force then: ISO 8601, or a span back from now such as 24h."),
            ),
        ),
        Endpoint(
            "GET", f"{API_ROOT}/release-diffs", Permission.ROUTE_READ, desk.release_diff,
            "What differs between two releases, component by component", answer=ReleaseDiff, reach=Reach.OBJECT,
            query=(
                QueryParameter("before", "A release's id or digest."),
                QueryParameter("after", "A release's id or digest."),
            ),
        ),
    )  # fmt: skip


class DeploymentDesk:
    """Answers."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def history(self, call: Call) -> History:
        environment, route = asked(call, "environment"), asked(call, "route")
        with self._database.read() as tx:
            found = seen_history(call, tx, environment, route)
        at = call.query.get("at")
        if at is None:
            return History(route, environment, None, [_stretch(item) for item in found])
        try:
            at_us = instant_us(at, self._clock.unix_us())
        except ValueError as error:
            raise Refused(AdminCode.INVALID_REQUEST, f"at: {error}") from error
        held = in_force_at(found, at_us)
        return History(route, environment, time_text(at_us), [] if held is None else [_stretch(held)])

    def release_diff(self, call: Call) -> ReleaseDiff:
        wanted = [asked(call, name) for name in _PAIR]
        with self._database.read() as tx:
            desired, found = read_desired(tx), list(rows.read_releases(tx).values())
        before, after = (
            _release([row for row in found if sees_route(call, desired, row.route)], id_) for id_ in wanted
        )
        return ReleaseDiff(before.id, after.id, diff_releases(json.loads(before.manifest), json.loads(after.manifest)))


def asked(call: Call, name: str) -> str:
    """A query parameter that has to be there.

    Raises:
        Refused: `invalid_request` if it is not.
    """
    found = call.query.get(name, "")
    if not found:
        raise Refused(AdminCode.INVALID_REQUEST, f"the query has to name {name!r}")
    return found


def _release(releases: list[ReleaseRow], wanted: str) -> ReleaseRow:
    for row in releases:
        if wanted in (row.id, row.digest):
            return row
    raise _no_release(wanted)


def _no_release(wanted: str) -> Refused:
    return Refused(AdminCode.NOT_FOUND, f"there is no release {wanted!r}", hint="`lineclear releases list` shows ids")


def _stretch(item: Stretch) -> StretchFacts:
    return StretchFacts(
        release=item.release,
        from_at=time_text(item.from_us),
        until_at=None if item.until_us is None else time_text(item.until_us),
        how=item.how,
        changed_by=item.changed_by,
        approved_by=item.approved_by or None,
        note=item.note,
        change=item.change or None,
        audit_event=item.audit_number,
    )
