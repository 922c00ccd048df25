"""The admin API's endpoints for plans and changes."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from lineclear.base.secret import Secret
from lineclear.config.manifest import ManifestFile
from lineclear.config.manifest_names import secret_name
from lineclear.config.manifest_rules import SECRET_SCHEME
from lineclear.config.manifest_schema import manifest_schema
from lineclear.control.changes.apply import Applied, Author, Changes
from lineclear.control.changes.drift import Drift
from lineclear.control.changes.export import ExportedManifests, export_manifests
from lineclear.control.changes.plan import ChangeTerms, Plan
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, QueryParameter, Refused, row_limit
from lineclear.domain.access import PLATFORM
from lineclear.domain.manifest import ManagedBy
from lineclear.domain.permissions import Permission
from lineclear.store import control_rows as rows
from lineclear.store.database import Database

FILES_MAX = 1_000
ROW_LIMIT_DEFAULT = 50


@dataclass(frozen=True)
class SentFile:
    """A manifest file as the caller read it."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    name: str
    """As the person wrote it; findings repeat it."""
    text: str
    directory: str = ""
    """Absolute path that relative artefact paths start from, on the server's machine."""


@dataclass(frozen=True)
class ChangeRequest:
    """What to plan or apply."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    files: list[SentFile]
    variables: dict[str, str] = field(default_factory=dict, repr=False)
    """Values of credential variables, sealed on arrival; the server's own environment fills in others."""
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    """New values of secrets that the documents name, sealed with the change itself."""
    note: str = ""
    plan: str | None = None
    """Digest of the plan that was looked at; applying another one is refused."""
    managed_by: str = ManagedBy.FILE.value
    """Where the documents are kept: `file`, `console` or `cli`."""
    take_ownership: bool = False
    """Files win over what was changed elsewhere; without it that is told as drift and stays."""
    prune: bool = False
    """What files keep and these leave out is deleted."""


@dataclass(frozen=True)
class ChangeFacts:
    """A change that was made."""

    id: str
    created_at: str
    author: str
    approver: str
    state: str
    note: str
    revision: int
    plan: Any  # Any: the plan as it was stored


@dataclass(frozen=True)
class ChangeList:
    changes: list[ChangeFacts]


@dataclass(frozen=True)
class DriftList:
    drift: list[Drift]


def endpoints(changes: Changes, database: Database) -> tuple[Endpoint, ...]:
    """Plan, apply, list, drift, export, schema."""

    def plan(call: Call) -> Plan:
        request: ChangeRequest = call.body
        return changes.plan(changes.read(_files(request)), _credentials(call, request), _terms(request))

    def apply(call: Call) -> Applied:
        request: ChangeRequest = call.body
        reading = changes.read(_files(request))
        author = Author(call.principal.name, _terms(request))
        return changes.apply(reading, _credentials(call, request), author, note=request.note, plan_digest=request.plan)

    def list_changes(call: Call) -> ChangeList:
        with database.read() as tx:
            found = rows.read_changes(tx, row_limit(call, ROW_LIMIT_DEFAULT, rows.LIST_ROWS_MAX))
        return ChangeList([_facts(row) for row in found])

    def drift(_call: Call) -> DriftList:
        return DriftList(list(changes.drift()))

    def export(call: Call) -> ExportedManifests:
        with database.read() as tx:
            return export_manifests(rows.read_manifests(tx), call.query.get("kind"), call.query.get("name"))

    return (
        Endpoint(
            "POST", f"{API_ROOT}/plans", Permission.CHANGE_PLAN, plan, "What applying manifests would change",
            body=ChangeRequest, answer=Plan,
        ),
        Endpoint(
            "POST", f"{API_ROOT}/changes", Permission.CHANGE_APPLY, apply, "Apply manifests",
            body=ChangeRequest, answer=Applied,
        ),
        Endpoint(
            "GET", f"{API_ROOT}/changes", Permission.CHANGE_READ, list_changes, "Changes made, newest first",
            answer=ChangeList, query=(QueryParameter("limit", f"At most so many; default {ROW_LIMIT_DEFAULT}."),),
        ),
        Endpoint(
            "GET", f"{API_ROOT}/drift", Permission.CHANGE_READ, drift, "What stands otherwise than files say",
            answer=DriftList,
        ),
        Endpoint(
            "GET", f"{API_ROOT}/manifests", Permission.CHANGE_READ, export, "Every noun as a manifest",
            answer=ExportedManifests,
            query=(QueryParameter("kind", "Only this kind."), QueryParameter("name", "Only this name.")),
        ),
        Endpoint(
            "GET", f"{API_ROOT}/manifest-schema", Permission.CATALOGUE_READ, lambda _call: manifest_schema(),
            "JSON Schema of manifests",
        ),
    )  # fmt: skip


def _files(request: ChangeRequest) -> list[ManifestFile]:
    if len(request.files) > FILES_MAX:
        raise Refused(AdminCode.INVALID_REQUEST, f"more than {FILES_MAX} files in one change")
    return [ManifestFile(file.name, file.text, file.directory) for file in request.files]


def _terms(request: ChangeRequest) -> ChangeTerms:
    asked = {item.value: item for item in ManagedBy if item is not ManagedBy.BOOTSTRAP}
    managed_by = asked.get(request.managed_by)
    if managed_by is None:
        raise Refused(
            AdminCode.INVALID_REQUEST, f"managed_by must be one of {', '.join(asked)}, not {request.managed_by!r}"
        )
    if request.prune and managed_by is not ManagedBy.FILE:
        raise Refused(AdminCode.INVALID_REQUEST, "prune deletes what files keep; only a change of files may ask for it")
    return ChangeTerms(managed_by, request.take_ownership, request.prune)


def _credentials(call: Call, request: ChangeRequest) -> dict[str, Secret]:
    """The values that came along, by reference."""
    if request.secrets:
        call.require(Permission.SECRET_SET, PLATFORM)
    wrong = [name for name in request.variables if secret_name(name) is not None]
    if wrong:
        raise Refused(AdminCode.INVALID_REQUEST, f"{wrong[0]!r} is no variable; values of secrets stand in `secrets`")
    sent = {**request.variables, **{SECRET_SCHEME + name: value for name, value in request.secrets.items()}}
    return {name: Secret(value) for name, value in sent.items()}


def _facts(row: rows.ChangeRow) -> ChangeFacts:
    created_at = datetime.fromtimestamp(row.created_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")
    return ChangeFacts(
        row.id, created_at, row.author, row.approver, row.state, row.note, row.revision, json.loads(row.plan)
    )
