"""The admin API's endpoints for plans and changes."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from lineclear.base.secret import Secret
from lineclear.config.manifest import ManifestFile
from lineclear.control.changes.apply import Applied, Author, Changes
from lineclear.control.changes.plan import Plan
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, QueryParameter, Refused
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
    note: str = ""
    plan: str | None = None
    """Digest of the plan that was looked at; applying another one is refused."""


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


def endpoints(changes: Changes, database: Database) -> tuple[Endpoint, ...]:
    """Plan, apply, list."""

    def plan(call: Call) -> Plan:
        request: ChangeRequest = call.body
        return changes.plan(changes.read(_files(request)), _variables(request))

    def apply(call: Call) -> Applied:
        request: ChangeRequest = call.body
        documents = changes.read(_files(request))
        author = Author(call.principal.name)
        return changes.apply(documents, _variables(request), author, note=request.note, plan_digest=request.plan)

    def list_changes(call: Call) -> ChangeList:
        with database.read() as tx:
            found = rows.read_changes(tx, row_limit(call))
        return ChangeList([_facts(row) for row in found])

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
    )  # fmt: skip


def row_limit(call: Call) -> int:
    """The `limit` parameter.

    Raises:
        Refused: `invalid_request` if it is not a number from 1 to LIST_ROWS_MAX.
    """
    text = call.query.get("limit", str(ROW_LIMIT_DEFAULT))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= rows.LIST_ROWS_MAX:
        raise Refused(AdminCode.INVALID_REQUEST, f"limit must be a number from 1 to {rows.LIST_ROWS_MAX}, not {text!r}")
    return int(text)


def _files(request: ChangeRequest) -> list[ManifestFile]:
    if len(request.files) > FILES_MAX:
        raise Refused(AdminCode.INVALID_REQUEST, f"more than {FILES_MAX} files in one change")
    return [ManifestFile(file.name, file.text, file.directory) for file in request.files]


def _variables(request: ChangeRequest) -> dict[str, Secret]:
    return {name: Secret(value) for name, value in request.variables.items()}


def _facts(row: rows.ChangeRow) -> ChangeFacts:
    created_at = datetime.fromtimestamp(row.created_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")
    return ChangeFacts(
        row.id, created_at, row.author, row.approver, row.state, row.note, row.revision, json.loads(row.plan)
    )
