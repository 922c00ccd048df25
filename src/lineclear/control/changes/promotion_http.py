"""The admin API's endpoint that carries a release to another environment: a change like any other, worked out here.

In: the endpoints that plan and apply. Out: what they answer. Approval, freeze windows and ownership are theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from lineclear.control.changes.apply import Applied
from lineclear.control.changes.http import ChangeRequest, SentFile
from lineclear.control.changes.promotion import promotion
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, Reach, Refused
from lineclear.control.publish import read_desired
from lineclear.domain.access import Scope
from lineclear.domain.manifest import ManagedBy
from lineclear.domain.permissions import Permission
from lineclear.store import control_rows as rows
from lineclear.store.database import Database

DOCUMENT = "promotion"
"""What stands for a file's name in findings."""


@dataclass(frozen=True)
class PromotionRequest:
    """Which release goes where."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    route: str
    from_environment: str
    to_environment: str
    note: str = ""
    """Why; kept with the change."""


@dataclass(frozen=True)
class Promoted:
    """What became of it."""

    route: str
    from_environment: str
    to_environment: str
    release: str
    digest: str
    """Of the release, the same in both environments."""
    applied: Applied
    """As of a change of files; its `change` is None if the environment had the release already."""


def endpoints(database: Database, changes: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """Promote.

    Args:
        database: control's.
        changes: the endpoints of changes, of which `plans` and `changes` are asked.
    """
    handlers = {(item.method, item.path): item.handler for item in changes}
    plan, apply = handlers["POST", f"{API_ROOT}/plans"], handlers["POST", f"{API_ROOT}/changes"]

    def promote(call: Call) -> Promoted:
        asked: PromotionRequest = call.body
        with database.read() as tx:
            last, desired, deployments = rows.last_revision(tx), read_desired(tx), rows.read_deployments(tx)
            known = desired.routes.get(asked.route)
            team = known.team if known is not None else ""
            unknown = Refused(
                AdminCode.NOT_FOUND, f"there is no route {asked.route!r}", hint="`lineclear routes list` shows them"
            )
            for permission, environment in (
                (Permission.ROUTE_READ, asked.from_environment),
                (Permission.RELEASE_PROMOTE, asked.to_environment),
            ):
                call.require(permission, Scope(team, environment, asked.route), unknown)
            manifests = {digest: row.manifest for digest, row in rows.read_releases(tx).items()}
        found = promotion(desired, deployments, manifests, asked.route, asked.from_environment, asked.to_environment)
        why = asked.note or f"promote {found.release} from {asked.from_environment} to {asked.to_environment}"
        request = ChangeRequest([SentFile(DOCUMENT, found.document)], note=why, managed_by=ManagedBy.CLI.value)
        planned: Any = plan(replace(call, body=request))  # Any: a handler's answer; here a Plan
        if planned.base_revision != (last.revision if last else 0):
            raise Refused(AdminCode.STALE_PLAN, "something else changed meanwhile", hint="promote again")
        applied: Any = apply(replace(call, body=replace(request, plan=planned.digest)))  # Any: as above; here Applied
        return Promoted(asked.route, asked.from_environment, asked.to_environment, found.release, found.digest, applied)

    return (
        Endpoint(
            "POST", f"{API_ROOT}/promotions", Permission.RELEASE_PROMOTE, promote,
            "Carry a route's release to another environment, digest and all",
            body=PromotionRequest, answer=Promoted, reach=Reach.OBJECT,
        ),
    )  # fmt: skip
