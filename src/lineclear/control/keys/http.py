"""The admin API's endpoints for keys."""

from dataclasses import dataclass
from typing import ClassVar

from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, QueryParameter, Reach, Refused
from lineclear.control.keys.keys import CreatedKey, KeyFacts, Keys, RevokedKey
from lineclear.domain.access import PLATFORM
from lineclear.domain.permissions import Permission

FLAG_VALUES = {"": False, "false": False, "true": True}


@dataclass(frozen=True)
class KeyRequest:
    """Which key to create."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    app: str
    environment: str
    expires_in_days: int | None = None


@dataclass(frozen=True)
class KeyList:
    keys: list[KeyFacts]


def endpoints(keys: Keys) -> tuple[Endpoint, ...]:
    """Create, list, revoke."""

    def create(call: Call) -> CreatedKey:
        request: KeyRequest = call.body
        if not call.principal.may(Permission.KEY_CREATE, PLATFORM):
            call.require(
                Permission.KEY_CREATE, keys.scope_of_app(request.app, request.environment), _unknown_app(request.app)
            )
        call.asked.append(Permission.KEY_CREATE)
        return keys.create(call.principal.name, request.app, request.environment, request.expires_in_days)

    def list_keys(call: Call) -> KeyList:
        found = keys.facts(call.query.get("app"), call.query.get("environment"))
        scope_of = keys.scopes()
        return KeyList(call.only(Permission.KEY_READ, found, lambda key: scope_of(key.app, key.environment)))

    def revoke(call: Call) -> RevokedKey:
        # Who may revoke any key needs no look at this one: it has to work with the database unusable too.
        if not call.principal.may(Permission.KEY_REVOKE, PLATFORM):
            key_id = call.path["key_id"]
            call.require(Permission.KEY_REVOKE, keys.scope_of_key(key_id), _unknown_key(key_id))
        call.asked.append(Permission.KEY_REVOKE)
        return keys.revoke(
            call.principal.name,
            call.path["key_id"],
            call.query.get("reason", ""),
            cut_streams=_flag(call.query.get("cut_streams", "")),
        )

    root = f"{API_ROOT}/keys"
    return (
        Endpoint(
            "POST", root, Permission.KEY_CREATE, create, "Create a key; its text is in this answer only",
            body=KeyRequest, answer=CreatedKey, status=201, reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", root, Permission.KEY_READ, list_keys, "List keys without their texts", answer=KeyList,
            reach=Reach.OBJECT,
            query=(
                QueryParameter("app", "Only keys of this app."),
                QueryParameter("environment", "Only keys of this environment."),
            ),
        ),
        Endpoint(
            "DELETE", f"{root}/{{key_id}}", Permission.KEY_REVOKE, revoke, "Revoke a key everywhere",
            answer=RevokedKey, reach=Reach.OBJECT,
            query=(
                QueryParameter("reason", "Why; kept in the audit trail."),
                QueryParameter("cut_streams", "`true` ends its open answers too; otherwise they run to their end."),
            ),
        ),
    )  # fmt: skip


def _flag(text: str) -> bool:
    if text not in FLAG_VALUES:
        raise Refused(AdminCode.INVALID_REQUEST, f"cut_streams is true or false, not {text!r}")
    return FLAG_VALUES[text]


def _unknown_app(app: str) -> Refused:
    return Refused(AdminCode.NOT_FOUND, f"there is no app {app!r}", hint="`lineclear apps list` shows those you see")


def _unknown_key(key_id: str) -> Refused:
    return Refused(AdminCode.NOT_FOUND, f"there is no key {key_id!r}", hint="`lineclear keys list` shows ids")
