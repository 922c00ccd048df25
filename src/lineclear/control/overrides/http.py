"""The admin API's endpoints for overrides. None of them needs the database to act.

In: calls. Out: what the desk did, with which gateways have it. Whether somebody may is asked on the scope that the
snapshot on disk tells.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from lineclear.base.clock import Clock
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, QueryParameter, Reach, Refused, row_limit
from lineclear.control.folding import Overrides
from lineclear.control.overrides.drills import Drills
from lineclear.domain.access import PLATFORM, Scope
from lineclear.domain.overrides import scope_parts
from lineclear.domain.permissions import Permission
from lineclear.handover.override_desk import Overridden
from lineclear.handover.snapshot_dir import SnapshotRefused
from lineclear.handover.standing import DeploymentReadiness, Standing
from lineclear.observe.period import time_text
from lineclear.store import override_rows
from lineclear.store.database import Database
from lineclear.store.override_rows import OverrideRow

T = TypeVar("T")

LIST_DEFAULT = 100
LIST_MAX = 1_000


@dataclass(frozen=True)
class RollbackRequest:
    """Which route goes back, and to what."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    route: str
    environment: str
    to: str | None = None
    """Release id; None = the newest ready one."""
    reason: str = ""
    expires_at_us: int | None = None
    """Unix microseconds after which whoever asked has given up and perhaps done it another way; None = never."""


@dataclass(frozen=True)
class DrillRequest:
    """Which route's rollback is tried out."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    route: str
    environment: str
    reason: str = ""
    expires_at_us: int | None = None
    """Unix microseconds after which whoever asked has given up and perhaps done it another way; None = never."""


@dataclass(frozen=True)
class BlockRequest:
    """Which model version is called no more."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    model: str
    """`name@version`."""
    cut_streams: bool = False
    """Whether its open answers end too; otherwise they run to their end."""
    reason: str = ""
    expires_at_us: int | None = None
    """Unix microseconds after which whoever asked has given up and perhaps done it another way; None = never."""


@dataclass(frozen=True)
class StopRequest:
    """Whose calls are refused."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    scope: str
    """`all`, `app:NAME`, `route:ENVIRONMENT/NAME` or `provider:NAME`."""
    cut_streams: bool = False
    """Whether open answers end too; otherwise they run to their end."""
    reason: str = ""
    expires_at_us: int | None = None
    """Unix microseconds after which whoever asked has given up and perhaps done it another way; None = never."""


@dataclass(frozen=True)
class StartRequest:
    """Whose calls are served again."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    scope: str
    """As it was stopped."""
    reason: str = ""
    expires_at_us: int | None = None
    """Unix microseconds after which whoever asked has given up and perhaps done it another way; None = never."""


@dataclass(frozen=True)
class ReadinessList:
    deployments: list[DeploymentReadiness]


@dataclass(frozen=True)
class DrillRow:
    """One drill whose result control saw."""

    environment: str
    route: str
    at: str
    actor: str
    """`drill-schedule`, or who asked for it."""
    release: str
    """What was prepared; empty if no earlier release was ready."""
    passed: bool
    acknowledged: int
    """Gateways that said in time that they could serve it."""
    silent: int
    """Gateways that live and did not."""
    in_s: float
    reason: str
    """Why it failed; empty if it passed."""


@dataclass(frozen=True)
class DrillList:
    drills: list[DrillRow]


@dataclass(frozen=True)
class StopFacts:
    scope: str
    actor: str
    reason: str
    at: str


@dataclass(frozen=True)
class StopList:
    stops: list[StopFacts]


@dataclass(frozen=True)
class OverrideFacts:
    """One entry of the journal as the database holds it."""

    sequence: int
    at: str
    actor: str
    kind: str
    object: str
    before: str
    after: str
    reason: str
    problem: str
    """Why it changed nothing; empty if it did."""


@dataclass(frozen=True)
class OverrideList:
    overrides: list[OverrideFacts]


class OverridesDesk:
    """Carries out overrides for whoever may, and tells what could be done."""

    def __init__(self, overrides: Overrides, drills: Drills, database: Database, clock: Clock) -> None:
        self._overrides = overrides
        self._drills = drills
        self._clock = clock
        self._desk = overrides.desk
        self._database = database

    def roll_back(self, call: Call) -> Overridden:
        asked: RollbackRequest = call.body
        self._demand_in_time(asked.expires_at_us)
        call.require(Permission.ROLLBACK_MAKE, self._route_scope(asked.environment, asked.route))
        who = call.principal.name
        return self._overrides.do(
            lambda desk: desk.rollback(asked.environment, asked.route, asked.to, who, asked.reason)
        )

    def drill(self, call: Call) -> Overridden:
        asked: DrillRequest = call.body
        self._demand_in_time(asked.expires_at_us)
        call.require(Permission.DRILL_RUN, self._route_scope(asked.environment, asked.route))
        return self._drills.drill(asked.environment, asked.route, call.principal.name, asked.reason)

    def block(self, call: Call) -> Overridden:
        asked: BlockRequest = call.body
        self._demand_in_time(asked.expires_at_us)
        who = call.principal.name
        return self._overrides.do(
            lambda desk: desk.block(asked.model, who, asked.reason, cut_streams=asked.cut_streams)
        )

    def stop(self, call: Call) -> Overridden:
        asked: StopRequest = call.body
        self._demand_in_time(asked.expires_at_us)
        call.require(Permission.STOP_MAKE, self._stop_scope(asked.scope))
        who = call.principal.name
        return self._overrides.do(lambda desk: desk.stop(asked.scope, who, asked.reason, cut_streams=asked.cut_streams))

    def start(self, call: Call) -> Overridden:
        asked: StartRequest = call.body
        self._demand_in_time(asked.expires_at_us)
        call.require(Permission.STOP_MAKE, self._stop_scope(asked.scope))
        return self._overrides.do(lambda desk: desk.start(asked.scope, call.principal.name, asked.reason))

    def list_readiness(self, call: Call) -> ReadinessList:
        found = self._read(self._drills.readiness)
        return ReadinessList(
            call.only(Permission.ROUTE_READ, found, lambda row: self._route_scope(row.environment, row.route))
        )

    def list_drills(self, call: Call) -> DrillList:
        limit, found = row_limit(call, LIST_DEFAULT, LIST_MAX), self._drills.listed(LIST_MAX)
        seen = call.only(Permission.ROUTE_READ, found, lambda row: self._route_scope(row.environment, row.route))
        return DrillList(
            [
                DrillRow(
                    row.environment,
                    row.route,
                    time_text(row.at_us),
                    row.actor,
                    row.release,
                    row.has_passed,
                    row.acknowledged,
                    row.silent,
                    row.in_s,
                    row.reason,
                )
                for row in seen[:limit]
            ]
        )

    def list_stops(self, call: Call) -> StopList:
        stops = [item for _, item in sorted(self._standing().ground.stops.stops.items())]
        seen = call.only(Permission.STATUS_READ, stops, lambda item: self._stop_scope(item.scope))
        return StopList([StopFacts(item.scope, item.actor, item.reason, time_text(item.at_us)) for item in seen])

    def list_overrides(self, call: Call) -> OverrideList:
        with self._database.read() as tx:
            found = override_rows.read_overrides(tx, row_limit(call, LIST_DEFAULT, LIST_MAX))
        return OverrideList([_facts(row) for row in found])

    def _demand_in_time(self, expires_at_us: int | None) -> None:
        """A call that lay in a dead control's queue is not carried out: its caller took another way meanwhile."""
        if expires_at_us is not None and self._clock.unix_us() > expires_at_us:
            raise Refused(AdminCode.CONFLICT, "this call came too late: whoever made it waits no more")

    def _standing(self) -> Standing:
        return self._read(self._desk.standing)

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except SnapshotRefused as error:
            raise Refused(AdminCode.UNAVAILABLE, error.message, hint=error.hint) from error

    def _route_scope(self, environment: str, route: str) -> Scope:
        section = self._standing().route(environment, route)
        return Scope(section.team if section is not None else "", environment, route)

    def _stop_scope(self, text: str) -> Scope:
        try:
            kind, name = scope_parts(text)
        except ValueError as error:
            raise Refused(AdminCode.INVALID_REQUEST, str(error)) from error
        if kind == "route":
            environment, _, route = name.partition("/")
            return self._route_scope(environment, route)
        app = self._standing().apps.apps.get(name) if kind == "app" else None
        return PLATFORM if app is None else Scope(team=app.team)


def _facts(row: OverrideRow) -> OverrideFacts:
    return OverrideFacts(
        row.sequence,
        time_text(row.at_us),
        row.actor,
        row.kind,
        row.object,
        row.before,
        row.after,
        row.reason,
        row.problem,
    )


def endpoints(overrides: Overrides, drills: Drills, database: Database, clock: Clock) -> tuple[Endpoint, ...]:
    """Act, and see what could be acted on."""
    desk = OverridesDesk(overrides, drills, database, clock)
    root = API_ROOT
    return (
        Endpoint(
            "POST", f"{root}/rollbacks", Permission.ROLLBACK_MAKE, desk.roll_back,
            "Let a route serve an earlier release, at once", body=RollbackRequest, answer=Overridden,
            reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", f"{root}/rollbacks", Permission.ROUTE_READ, desk.list_readiness,
            "Which deployments could go back at once, and to what", answer=ReadinessList,
            reach=Reach.OBJECT,
        ),
        Endpoint(
            "POST", f"{root}/drills", Permission.DRILL_RUN, desk.drill,
            "Have every gateway prepare a rollback, and measure it", body=DrillRequest, answer=Overridden,
            reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", f"{root}/drills", Permission.ROUTE_READ, desk.list_drills,
            "Drills of rollbacks and how they went, newest first", answer=DrillList,
            query=(QueryParameter("limit", "Most rows, up to 1000."),), reach=Reach.OBJECT,
        ),
        Endpoint(
            "POST", f"{root}/blocks", Permission.MODEL_BLOCK, desk.block, "Let a model version be called no more",
            body=BlockRequest, answer=Overridden,
        ),
        Endpoint(
            "POST", f"{root}/stops", Permission.STOP_MAKE, desk.stop, "Stop AI for a scope",
            body=StopRequest, answer=Overridden, reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", f"{root}/stops", Permission.STATUS_READ, desk.list_stops, "What is stopped", answer=StopList,
            reach=Reach.OBJECT,
        ),
        Endpoint(
            "POST", f"{root}/starts", Permission.STOP_MAKE, desk.start, "Lift a stop",
            body=StartRequest, answer=Overridden, reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", f"{root}/overrides", Permission.AUDIT_READ, desk.list_overrides, "Overrides so far, newest first",
            answer=OverrideList, query=(QueryParameter("limit", "Most rows, up to 1000."),),
        ),
    )  # fmt: skip
