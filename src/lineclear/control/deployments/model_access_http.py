"""The admin API's endpoint that says who could call a model at some instant. Reading the trail is an event of it."""

from dataclasses import dataclass

from lineclear.base.clock import Clock
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.deployments.http import asked
from lineclear.control.deployments.model_access import ModelAccess, Then
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, QueryParameter, Refused, at_most
from lineclear.domain.permissions import Permission
from lineclear.observe.period import instant_us, time_text
from lineclear.store.database import Database

QUESTIONS_AT_ONCE = 1
"""Each walks through the audit trail."""


@dataclass(frozen=True)
class ModelAccessList:
    """Who could call a model then."""

    model: str
    environment: str
    at: str
    access: list[ModelAccess]
    """By route and app; empty if no route led to it."""


def endpoints(database: Database, clock: Clock) -> tuple[Endpoint, ...]:
    """Who could call a model, when."""

    def who_could(call: Call) -> ModelAccessList:
        model, environment, at = asked(call, "model"), asked(call, "environment"), call.query.get("at")
        try:
            at_us = clock.unix_us() if at is None else instant_us(at, clock.unix_us())
        except ValueError as error:
            raise Refused(AdminCode.INVALID_REQUEST, f"at: {error}") from error
        words = f"who could call {model} in {environment} at {time_text(at_us)}"
        with database.write() as tx:
            audit.record(tx, clock, call.principal.name, [AuditEvent(AuditAction.AUDIT_READ, "audit", after=words)])
        with database.read() as tx:
            found = [
                ModelAccess(
                    app,
                    team,
                    keys,
                    way.route,
                    way.release,
                    way.way,
                    way.model,
                    status,
                    time_text(way.since_us),
                    way.changed_by,
                    way.approved_by or None,
                    way.change,
                    way.audit_event,
                )
                for way, app, team, keys, status in Then(tx, environment, at_us).access(model)
            ]
        return ModelAccessList(model, environment, time_text(at_us), found)

    return (
        Endpoint(
            "GET", f"{API_ROOT}/model-access", Permission.AUDIT_READ, at_most(QUESTIONS_AT_ONCE, who_could),
            "Who could call a model then, through which release, and who approved that", answer=ModelAccessList,
            query=(
                QueryParameter("model", "A model's name, or name@version.", required=True),
                QueryParameter("environment", "The environment.", required=True),
                QueryParameter("at", "ISO 8601, or a span back from now such as 24h; default now."),
            ),
        ),
    )  # fmt: skip
