"""The admin API's endpoints for notices: inbox, acknowledgement, deliveries, tests of channels, and the changelog.

In: calls. Out: facts. A team's notices are for those who may read notices there; of a notice for several teams a
caller sees those parts that are theirs.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from lineclear.base.clock import Clock
from lineclear.control.deployments.http import asked
from lineclear.control.deployments.seen import seen_history
from lineclear.control.endpoint import (
    API_ROOT,
    AdminCode,
    Call,
    Endpoint,
    QueryParameter,
    Reach,
    Refused,
    at_most,
    row_limit,
)
from lineclear.control.notices.changelog import ChangelogEntry, changelog
from lineclear.control.notices.service import Notices, Told, facts_of, unknown_delivery, unknown_notice
from lineclear.control.publish import read_desired
from lineclear.domain.access import Scope
from lineclear.domain.notices import DeliveryState, NoticeKind
from lineclear.domain.permissions import Permission
from lineclear.observe.behaviour import Behaviour
from lineclear.observe.period import time_text
from lineclear.store.database import Database
from lineclear.store.notice_rows import LIST_ROWS_MAX, AddressRow, DeliveryRow, NoticeFilter

LIST_DEFAULT = 50
CHANGELOG_DEFAULT, CHANGELOG_MAX = 20, 200
TESTS_AT_ONCE = 2
STATES = ("open", "acknowledged", "all")

BehaviourOf = Callable[[str, str], dict[str, Behaviour]]
"""How each release of a deployment behaved, by release id."""


@dataclass(frozen=True)
class AddressFacts:
    """One team that is told."""

    team: str
    """Empty = what belongs to no team; for whoever looks after the platform."""
    part: str
    """`owner`, `caller` or `operator`."""
    apps: dict[str, int]
    """The team's apps that called it, with requests of 30 days."""
    acknowledged_at: str | None
    acknowledged_by: str | None


@dataclass(frozen=True)
class NoticeFacts:
    """Something that happened, for the teams that the caller sees."""

    id: str
    at: str
    kind: str
    title: str
    object: str
    environment: str
    route: str
    facts: dict[str, Any]
    """What else is known. Any: JSON."""
    repeats: int
    """How often the same was said again shortly after."""
    is_open: bool
    """One of these teams has not taken note."""
    addresses: list[AddressFacts]


@dataclass(frozen=True)
class NoticeList:
    notices: list[NoticeFacts]
    open: int
    """Notices that the caller sees and that are open, whatever was asked for."""


@dataclass(frozen=True)
class DeliveryFacts:
    """A notice on its way to one channel."""

    id: str
    notice: str
    team: str
    channel: str
    state: str
    attempts: int
    problem: str
    """Why the last attempt failed; empty if none did."""
    created_at: str
    next_at: str | None
    """When it is tried next; None = never."""
    ended_at: str | None


@dataclass(frozen=True)
class DeliveryList:
    deliveries: list[DeliveryFacts]


@dataclass(frozen=True)
class NoticeDetail:
    notice: NoticeFacts
    deliveries: list[DeliveryFacts]
    """Those to the teams that the caller sees."""


@dataclass(frozen=True)
class Acknowledgement:
    """For whom somebody takes note."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    team: str | None = None
    """None = every team of the notice that the caller sees."""


@dataclass(frozen=True)
class ChannelTest:
    """Which channel to try."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    team: str
    channel: str | None = None
    """None = all of the team's."""


@dataclass(frozen=True)
class Changelog:
    route: str
    environment: str
    entries: list[ChangelogEntry]
    """Newest first."""


def endpoints(
    notices: Notices, database: Database, clock: Clock, behaviour: Callable[[str, str, int], dict[str, Behaviour]]
) -> tuple[Endpoint, ...]:
    """Every endpoint of notices."""
    desk = NoticeDesk(notices, database, lambda environment, route: behaviour(environment, route, clock.unix_us()))
    limit = QueryParameter("limit", f"1 to {LIST_ROWS_MAX}; default {LIST_DEFAULT}")
    return (
        Endpoint(
            "GET", f"{API_ROOT}/notices", Permission.NOTICE_READ, desk.listed, "What happened, newest first",
            query=(
                limit,
                QueryParameter("state", "open, acknowledged or all; default all"),
                QueryParameter("team", "only what this team is told"),
                QueryParameter("kind", "only this kind, such as deprecation"),
            ),
            answer=NoticeList, reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", f"{API_ROOT}/notices/{{notice_id}}", Permission.NOTICE_READ, desk.show,
            "One notice: whom it is for, who took note, how far it got", answer=NoticeDetail, reach=Reach.OBJECT,
        ),
        Endpoint(
            "POST", f"{API_ROOT}/notices/{{notice_id}}/acknowledgements", Permission.NOTICE_READ, desk.acknowledge,
            "Take note of a notice", body=Acknowledgement, answer=NoticeDetail, reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", f"{API_ROOT}/notice-deliveries", Permission.NOTICE_READ, desk.deliveries,
            "Notices on their way to channels, newest first",
            query=(limit, QueryParameter("state", "pending, delivered, dead or dropped"),
                   QueryParameter("team", "only to this team")),
            answer=DeliveryList, reach=Reach.OBJECT,
        ),
        Endpoint(
            "POST", f"{API_ROOT}/notice-deliveries/{{delivery_id}}/retries", Permission.NOTICE_SEND, desk.send_again,
            "Send again what did not arrive", answer=DeliveryFacts, reach=Reach.OBJECT,
        ),
        Endpoint(
            "POST", f"{API_ROOT}/notice-tests", Permission.NOTICE_SEND, at_most(TESTS_AT_ONCE, desk.test),
            "Try the channels of a team, now and once", body=ChannelTest, answer=DeliveryList, reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", f"{API_ROOT}/changelogs", Permission.ROUTE_READ, desk.changelog,
            "The releases of a route, what differs, and how they behaved", answer=Changelog, reach=Reach.OBJECT,
            query=(
                QueryParameter("route", "The route.", required=True),
                QueryParameter("environment", "The environment.", required=True),
                QueryParameter("limit", f"1 to {CHANGELOG_MAX}; default {CHANGELOG_DEFAULT}"),
            ),
        ),
    )  # fmt: skip


class NoticeDesk:
    """Answers."""

    def __init__(self, notices: Notices, database: Database, behaviour: BehaviourOf) -> None:
        self._notices = notices
        self._database = database
        self._behaviour = behaviour

    def listed(self, call: Call) -> NoticeList:
        state, kind, team = (call.query.get(name, "") for name in ("state", "kind", "team"))
        _one_of("state", state, STATES)
        _one_of("kind", kind, [item.value for item in NoticeKind])
        limit = row_limit(call, LIST_DEFAULT, LIST_ROWS_MAX)
        call.only(Permission.NOTICE_READ, (), lambda scope: scope)  # there may be no notice to ask it of
        teams, is_open = _teams(call), {"open": True, "acknowledged": False}.get(state)
        wanted = [
            facts
            for facts in self._seen(call, NoticeFilter(teams, team, kind, is_open))
            if (not team or team in (address.team for address in facts.addresses)) and is_open in (None, facts.is_open)
        ]
        still_open = self._seen(call, NoticeFilter(teams, is_open=True))
        return NoticeList(wanted[:limit], sum(facts.is_open for facts in still_open))

    def _seen(self, call: Call, wanted: NoticeFilter) -> list[NoticeFacts]:
        return [facts for told in self._notices.listed(wanted) if (facts := _facts(call, told)) is not None]

    def show(self, call: Call) -> NoticeDetail:
        told, deliveries = self._notices.show(call.path["notice_id"])
        facts = _seen_facts(call, told)
        teams = {address.team for address in facts.addresses}
        return NoticeDetail(facts, [_delivery(row) for row in deliveries if row.team in teams])

    def acknowledge(self, call: Call) -> NoticeDetail:
        told, _ = self._notices.show(call.path["notice_id"])
        teams = [address.team for address in _seen_facts(call, told).addresses]
        if call.body.team is not None:
            teams = [team for team in teams if team == call.body.team]
            if not teams:
                raise Refused(
                    AdminCode.NOT_FOUND, f"the notice {told.row.id} is not for a team {call.body.team!r}",
                    hint=f"`lineclear notices show {told.row.id}` names its teams",
                )  # fmt: skip
        self._notices.acknowledge(told.row.id, teams, call.principal.name)
        return self.show(call)

    def deliveries(self, call: Call) -> DeliveryList:
        state, team = call.query.get("state", ""), call.query.get("team", "")
        _one_of("state", state, [item.value for item in DeliveryState])
        limit = row_limit(call, LIST_DEFAULT, LIST_ROWS_MAX)
        teams = _teams(call)
        if team:
            teams = frozenset({team}) if teams is None else teams & {team}
        found = call.only(Permission.NOTICE_READ, self._notices.deliveries(state, teams), lambda row: Scope(row.team))
        return DeliveryList([_delivery(row) for row in found[:limit]])

    def send_again(self, call: Call) -> DeliveryFacts:
        row = self._notices.delivery(call.path["delivery_id"])
        call.require(Permission.NOTICE_SEND, Scope(row.team), unknown_delivery(row.id))
        return _delivery(self._notices.send_again(row, call.principal.name))

    def test(self, call: Call) -> DeliveryList:
        team = call.body.team
        unknown = Refused(AdminCode.NOT_FOUND, f"there is no team {team!r}", hint="`lineclear export Team` shows teams")
        call.require(Permission.NOTICE_SEND, Scope(team), unknown)
        with self._database.read() as tx:
            if team not in read_desired(tx).teams:
                raise unknown
        tried = self._notices.try_channels(team, call.body.channel, call.principal.name)
        return DeliveryList([_delivery(row) for row in tried])

    def changelog(self, call: Call) -> Changelog:
        environment, route = asked(call, "environment"), asked(call, "route")
        limit = row_limit(call, CHANGELOG_DEFAULT, CHANGELOG_MAX)
        with self._database.read() as tx:
            found = seen_history(call, tx, environment, route)
            entries = changelog(tx, found[: limit + 1], self._behaviour(environment, route))
        return Changelog(route, environment, entries[:limit])


def _teams(call: Call) -> frozenset[str] | None:
    """The teams outside which the caller sees nothing; None where a grant is not held to one."""
    grants = [grant for grant in call.principal.grants if Permission.NOTICE_READ in grant.permissions]
    teams = frozenset(grant.scope.team for grant in grants)
    return None if "" in teams else teams


def _facts(call: Call, told: Told) -> NoticeFacts | None:
    """A notice as the caller sees it; None if it is for others."""
    seen = [
        address
        for address in told.addresses
        if call.only(Permission.NOTICE_READ, told.scopes(address), lambda scope: scope)
    ]
    row = told.row
    if not seen:
        return None
    return NoticeFacts(
        id=row.id,
        at=time_text(row.at_us),
        kind=row.kind,
        title=row.title,
        object=row.object,
        environment=row.environment,
        route=row.route,
        facts=facts_of(row),
        repeats=row.repeats,
        is_open=any(not address.acked_us for address in seen),
        addresses=[_address(address) for address in seen],
    )


def _seen_facts(call: Call, told: Told) -> NoticeFacts:
    """A notice as the caller sees it; one for others looks like one that is not there."""
    found = _facts(call, told)
    if found is None:
        raise unknown_notice(told.row.id)
    return found


def _address(row: AddressRow) -> AddressFacts:
    at = time_text(row.acked_us) if row.acked_us else None
    return AddressFacts(row.team, row.part, json.loads(row.apps), at, row.acked_by or None)


def _delivery(row: DeliveryRow) -> DeliveryFacts:
    is_pending = row.state == DeliveryState.PENDING.value
    return DeliveryFacts(
        id=row.id,
        notice=row.notice_id,
        team=row.team,
        channel=row.channel,
        state=row.state,
        attempts=row.attempts,
        problem=row.problem,
        created_at=time_text(row.created_us),
        next_at=time_text(row.next_us) if is_pending else None,
        ended_at=time_text(row.ended_us) if row.ended_us else None,
    )


def _one_of(name: str, text: str, known: list[str] | tuple[str, ...]) -> None:
    if text and text not in known:
        raise Refused(AdminCode.INVALID_REQUEST, f"{name} must be one of {', '.join(known)}, not {text!r}")
