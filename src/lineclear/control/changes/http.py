"""The admin API's endpoints for plans and changes."""

from dataclasses import dataclass, field
from typing import ClassVar

from lineclear.base.secret import Secret
from lineclear.config.manifest import ManifestFile
from lineclear.config.manifest_names import secret_name
from lineclear.config.manifest_rules import SECRET_SCHEME
from lineclear.config.manifest_schema import manifest_schema
from lineclear.control.changes import deciding_http
from lineclear.control.changes.apply import Applied, Author, Changes
from lineclear.control.changes.drift import Drift
from lineclear.control.changes.export import ExportedManifests, export_manifests
from lineclear.control.changes.opening import Named
from lineclear.control.changes.owners import owners_of
from lineclear.control.changes.plan import ChangeTerms, Plan
from lineclear.control.changes.requests import ChangeRequests
from lineclear.control.changes.requests_http import endpoints as request_endpoints
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, QueryParameter, Reach, Refused
from lineclear.domain.access import PLATFORM, Scope, parse_scope
from lineclear.domain.change_request import ChangeState
from lineclear.domain.manifest import ManagedBy
from lineclear.domain.permissions import Permission
from lineclear.store import control_rows as rows
from lineclear.store.database import Database

FILES_MAX = 1_000


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
    prune: str = ""
    """What files keep in this scope and these leave out is deleted: `platform` or `team:NAME`; empty = nothing."""
    co_authors: list[str] = field(default_factory=list)
    """Who else worked on it; like the author they may not approve it."""
    force: bool = False
    """Delete also what apps called in the last 30 days."""


@dataclass(frozen=True)
class DriftList:
    drift: list[Drift]


def endpoints(changes: Changes, database: Database, named: Named) -> tuple[Endpoint, ...]:
    """Plan, apply, drift, export, schema, and the requests that wait."""
    requests = ChangeRequests(changes, named)

    def author(call: Call) -> Author:
        request: ChangeRequest = call.body
        # What the documents touch is known only once they are worked out; each of it is asked for then.
        call.asked.append(Permission.CHANGE_PLAN)
        owners = owners_of(database, call.principal)
        return Author(
            call.principal.name, _terms(request), tuple(request.co_authors), owners, call.require, call.principal
        )

    def plan(call: Call) -> Plan:
        request: ChangeRequest = call.body
        who = author(call)
        return changes.plan(changes.read(_files(request)), _credentials(call, request), who.terms, author=who)

    def apply(call: Call) -> Applied:
        request: ChangeRequest = call.body
        done = changes.apply(
            changes.read(_files(request)),
            _credentials(call, request),
            author(call),
            note=request.note,
            plan_digest=request.plan,
            is_forced=request.force,
        )
        if done.state is ChangeState.APPROVED and done.change is not None:
            # The same was asked for before, and has been approved since.
            return requests.apply(done.change, call.principal, call.require)
        return done

    def drift(_call: Call) -> DriftList:
        return DriftList(list(changes.drift()))

    def export(call: Call) -> ExportedManifests:
        with database.read() as tx:
            return export_manifests(call, rows.read_manifests(tx), call.query.get("kind"), call.query.get("name"))

    return (
        Endpoint(
            "POST", f"{API_ROOT}/plans", Permission.CHANGE_PLAN, plan, "What applying manifests would change",
            body=ChangeRequest, answer=Plan, reach=Reach.OBJECT,
        ),
        Endpoint(
            "POST", f"{API_ROOT}/changes", Permission.CHANGE_APPLY, apply,
            "Apply manifests, or open a change that somebody else has to approve",
            body=ChangeRequest, answer=Applied, reach=Reach.OBJECT,
        ),
        *request_endpoints(requests, database),
        *deciding_http.endpoints(changes, database, named),
        Endpoint(
            "GET", f"{API_ROOT}/drift", Permission.CHANGE_READ, drift, "What stands otherwise than files say",
            answer=DriftList,
        ),
        Endpoint(
            "GET", f"{API_ROOT}/manifests", Permission.CHANGE_READ, export, "Every noun as a manifest",
            answer=ExportedManifests, reach=Reach.OBJECT,
            query=(QueryParameter("kind", "Only this kind."), QueryParameter("name", "Only this name.")),
        ),
        Endpoint(
            "GET", f"{API_ROOT}/manifest-schema", Permission.CATALOGUE_READ, lambda _call: manifest_schema(),
            "JSON Schema of manifests", reach=Reach.SHARED,
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
    if not request.prune:
        return ChangeTerms(managed_by, request.take_ownership)
    if managed_by is not ManagedBy.FILE:
        raise Refused(AdminCode.INVALID_REQUEST, "prune deletes what files keep; only a change of files may ask for it")
    return ChangeTerms(managed_by, request.take_ownership, _prune_scope(request.prune))


def _prune_scope(text: str) -> Scope:
    try:
        scope = parse_scope(text)
    except ValueError as error:
        raise Refused(AdminCode.INVALID_REQUEST, f"prune: {error}") from error
    if scope.environment or scope.route:
        raise Refused(AdminCode.INVALID_REQUEST, f"prune takes platform or team:NAME, not {text!r}")
    return scope


def _credentials(call: Call, request: ChangeRequest) -> dict[str, Secret]:
    """The values that came along, by reference; both kinds are what calls of every team are made with."""
    if request.secrets or request.variables:
        call.require(Permission.SECRET_SET, PLATFORM)
    wrong = [name for name in request.variables if secret_name(name) is not None]
    if wrong:
        raise Refused(AdminCode.INVALID_REQUEST, f"{wrong[0]!r} is no variable; values of secrets stand in `secrets`")
    sent = {**request.variables, **{SECRET_SCHEME + name: value for name, value in request.secrets.items()}}
    return {name: Secret(value) for name, value in sent.items()}
