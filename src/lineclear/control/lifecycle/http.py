"""The admin API's endpoints for the life of model versions: verbs, callers, inventory, replacement."""

from collections.abc import Callable
from dataclasses import dataclass, field

from lineclear.base.clock import Clock
from lineclear.control.changes.apply import Applied, Author, Changes
from lineclear.control.changes.owners import owners_of
from lineclear.control.changes.plan import ChangeTerms, Plan
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, Reach, Refused
from lineclear.control.lifecycle import verbs
from lineclear.control.lifecycle.callers import CallerFacts, Callers, callers_words
from lineclear.control.lifecycle.inventory import Inventory, inventory
from lineclear.control.lifecycle.replacement import with_successor
from lineclear.control.lifecycle.status_history import StatusHistory, read_status_history
from lineclear.control.publish import Publisher, read_desired
from lineclear.domain.access import Scope
from lineclear.domain.catalogue import ModelStatus, instant_text
from lineclear.domain.manifest import ManagedBy, Manifest, Model, ModelVersion
from lineclear.domain.permissions import Permission
from lineclear.domain.status_moves import STATUS_MOVES

ONE = f"{API_ROOT}/model-versions/{{version}}"


@dataclass(frozen=True)
class StatusRequest:
    """Why a version is moved, and where the change is kept from then on."""

    reason: str = ""
    managed_by: str = ManagedBy.CLI.value
    """`cli` or `console`."""


@dataclass(frozen=True)
class DeprecationRequest:
    """What callers of a deprecated version are told."""

    sunset: str = ""
    """`2027-06-01` or an instant; empty = the card's own."""
    successor: str = ""
    """`name@version`; empty = the card's own."""
    reason: str = ""
    managed_by: str = ManagedBy.CLI.value


@dataclass(frozen=True)
class RetirementRequest:
    """How a version is retired."""

    reason: str = ""
    force: bool = False
    """Although apps called it in the last 30 days; takes an approver."""
    managed_by: str = ManagedBy.CLI.value


@dataclass(frozen=True)
class ReplaceRequest:
    """Which version takes the place of which on every route."""

    new: str
    """`name@version`."""
    reason: str = ""
    plan: str | None = None
    """Digest of the plan that was looked at; None = plan only."""
    managed_by: str = ManagedBy.CLI.value


@dataclass(frozen=True)
class CallerList:
    """Who called a version in the last 30 days."""

    model: str
    callers: list[CallerFacts] = field(default_factory=list)


@dataclass(frozen=True)
class Replacement:
    """What replacing a version does to the routes that name it."""

    old: str
    new: str
    routes: list[str]
    """Routes that change."""
    plan: Plan
    applied: Applied | None
    """None while it was only planned."""


class LifecycleDesk:
    """Answers the endpoints."""

    def __init__(self, changes: Changes, publisher: Publisher, callers: Callers, clock: Clock) -> None:
        self._changes = changes
        self._publisher = publisher
        self._callers = callers
        self._clock = clock

    def approve(self, call: Call) -> Applied:
        """Test or deprecated → approved."""
        return self._move(call, call.body, ModelStatus.APPROVED)

    def unblock(self, call: Call) -> Applied:
        """Blocked → test: it is looked at again before it serves."""
        _, _, version = self._found(call, Permission.MODEL_APPROVE)
        if version.status is not ModelStatus.BLOCKED:
            raise Refused(AdminCode.CONFLICT, f"{call.path['version']} is {version.status.value}, not blocked")
        return self._move(call, call.body, ModelStatus.TEST)

    def deprecate(self, call: Call) -> Applied:
        """Approved → deprecated, with what callers are told."""
        body: DeprecationRequest = call.body
        now = instant_text(self._clock.unix_us() // 1_000_000)
        dates = {"successor": body.successor or None, "sunset": body.sunset or None, "deprecated_at": now}
        return self._move(call, body, ModelStatus.DEPRECATED, **dates)

    def retire(self, call: Call) -> Applied:
        """→ retired, if nobody called it lately."""
        body: RetirementRequest = call.body
        id_, model, _ = self._found(call, Permission.MODEL_RETIRE)
        if body.force:
            call.require(Permission.MODEL_APPROVE, Scope(team=model.owner))
        callers = self._callers.of(id_)
        if callers and not body.force:
            raise Refused(
                AdminCode.CONFLICT,
                f"{id_} is still called: {callers_words(callers)}",
                hint="`lineclear models replace OLD NEW` moves their routes; an approver may retire it with --force",
            )
        return self._move(call, body, ModelStatus.RETIRED)

    def callers(self, call: Call) -> CallerList:
        """Who called it lately."""
        id_, _, _ = self._found(call, Permission.CATALOGUE_READ)
        return CallerList(id_, self._callers.of(id_))

    def history(self, call: Call) -> StatusHistory:
        """Every status it had."""
        id_, model, version = self._found(call, Permission.CATALOGUE_READ)
        with self._publisher.database.read() as tx:
            return StatusHistory(id_, read_status_history(tx, model.name, version.version))

    def inventory(self, call: Call) -> Inventory:
        """Every version that the principal may see."""
        with self._publisher.database.read() as tx:
            desired = read_desired(tx)
        found = inventory(desired, self._callers.by_model(), self._clock.unix_us() // 1_000_000)
        visible = call.only(Permission.CATALOGUE_READ, found.versions, lambda item: Scope(team=item.owner))
        return Inventory(visible)

    def replace(self, call: Call) -> Replacement:
        """Put another version in its place on every route that names it."""
        body: ReplaceRequest = call.body
        old, managed_by = call.path["version"], _managed_by(body.managed_by)
        with self._publisher.database.read() as tx:
            desired = read_desired(tx)
        for id_ in (old, body.new):
            model, _ = verbs.find_version(desired, id_)
            call.require(Permission.CATALOGUE_READ, Scope(team=model.owner), verbs.unknown_version(id_))
        if old == body.new:
            raise Refused(AdminCode.INVALID_REQUEST, f"{old} cannot replace itself")
        needed = Permission.CHANGE_PLAN if body.plan is None else Permission.CHANGE_APPLY
        routes: list[Manifest] = []
        for route in desired.routes.values():
            changed = with_successor(route, old, body.new)
            if changed != route:
                call.require(needed, Scope(route.team))
                routes.append(changed)
        if not routes:
            raise Refused(AdminCode.CONFLICT, f"no route names {old}")
        plan = verbs.plan_of(self._changes, routes, managed_by)
        applied = None
        if body.plan is not None:
            if body.plan != plan.digest:
                raise Refused(AdminCode.STALE_PLAN, "the routes were changed meanwhile", hint="plan it again")
            note = body.reason or f"replace {old} by {body.new}"
            applied = verbs.make(self._changes, routes, self._author(call, managed_by), note=note)
        return Replacement(old, body.new, sorted(route.name for route in routes), plan, applied)

    def _found(self, call: Call, permission: Permission) -> tuple[str, Model, ModelVersion]:
        id_ = call.path["version"]
        with self._publisher.database.read() as tx:
            model, version = verbs.find_version(read_desired(tx), id_)
        call.require(permission, Scope(team=model.owner), verbs.unknown_version(id_))
        return id_, model, version

    def _move(
        self,
        call: Call,
        body: StatusRequest | DeprecationRequest | RetirementRequest,
        after: ModelStatus,
        **dates: str | None,
    ) -> Applied:
        id_, model, version = self._found(call, Permission.CATALOGUE_READ)
        verbs.demand_move(id_, version, after)
        call.require(STATUS_MOVES[version.status, after], Scope(team=model.owner))
        card = verbs.with_version(model, verbs.moved(version, after, **dates))
        note = body.reason or f"{id_}: {version.status.value} to {after.value}"
        is_forced = isinstance(body, RetirementRequest) and body.force
        author = self._author(call, _managed_by(body.managed_by))
        return verbs.make(self._changes, [card], author, note=note, is_forced=is_forced)

    def _author(self, call: Call, managed_by: ManagedBy) -> Author:
        # What the principal may do was asked by the verb's own permission; a verb needs no leave to write manifests.
        owners = owners_of(self._publisher.database, call.principal)
        return Author(call.principal.name, ChangeTerms(managed_by), owners=owners)


def _managed_by(text: str) -> ManagedBy:
    if text not in (ManagedBy.CLI, ManagedBy.CONSOLE):
        raise Refused(AdminCode.INVALID_REQUEST, f"managed_by must be cli or console, not {text!r}")
    return ManagedBy(text)


def endpoints(changes: Changes, publisher: Publisher, callers: Callers, clock: Clock) -> tuple[Endpoint, ...]:
    """Verbs, callers, inventory, replacement."""
    desk = LifecycleDesk(changes, publisher, callers, clock)

    def verb(
        name: str,
        permission: Permission,
        handler: Callable[[Call], object],
        summary: str,
        body: type,
        answer: type = Applied,
    ) -> Endpoint:
        return Endpoint(
            "POST", f"{ONE}/{name}", permission, handler, summary, body=body, answer=answer, reach=Reach.OBJECT
        )

    return (
        verb("approve", Permission.MODEL_APPROVE, desk.approve, "Approve a version for live", StatusRequest),
        verb("unblock", Permission.MODEL_APPROVE, desk.unblock, "Let a blocked version be tested again", StatusRequest),
        verb("deprecate", Permission.MODEL_DEPRECATE, desk.deprecate, "Tell callers to move on", DeprecationRequest),
        verb("retire", Permission.MODEL_RETIRE, desk.retire, "Serve a version no more", RetirementRequest),
        verb("replace", Permission.CHANGE_PLAN, desk.replace, "Put another version in its place on every route",
             ReplaceRequest, Replacement),
        Endpoint("GET", f"{ONE}/callers", Permission.CATALOGUE_READ, desk.callers, "Who called a version lately",
                 answer=CallerList, reach=Reach.OBJECT),
        Endpoint("GET", f"{ONE}/history", Permission.CATALOGUE_READ, desk.history,
                 "Every status that a version had, and who brought it about", answer=StatusHistory, reach=Reach.OBJECT),
        Endpoint("GET", f"{API_ROOT}/inventory", Permission.CATALOGUE_READ, desk.inventory,
                 "Every version: owner, callers with trend, cost, dates, replacement", answer=Inventory,
                 reach=Reach.OBJECT),
    )  # fmt: skip
