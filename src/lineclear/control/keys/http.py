"""The admin API's endpoints for keys."""

from dataclasses import dataclass
from typing import ClassVar

from lineclear.control.endpoint import API_ROOT, Call, Endpoint, QueryParameter
from lineclear.control.keys.keys import CreatedKey, KeyFacts, Keys, RevokedKey
from lineclear.domain.permissions import Permission


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
        return keys.create(call.principal.name, request.app, request.environment, request.expires_in_days)

    def list_keys(call: Call) -> KeyList:
        return KeyList(keys.facts(call.query.get("app"), call.query.get("environment")))

    def revoke(call: Call) -> RevokedKey:
        return keys.revoke(call.principal.name, call.path["key_id"], call.query.get("reason", ""))

    root = f"{API_ROOT}/keys"
    return (
        Endpoint(
            "POST", root, Permission.KEY_CREATE, create, "Create a key; its text is in this answer only",
            body=KeyRequest, answer=CreatedKey, status=201,
        ),
        Endpoint(
            "GET", root, Permission.KEY_READ, list_keys, "List keys without their texts", answer=KeyList,
            query=(
                QueryParameter("app", "Only keys of this app."),
                QueryParameter("environment", "Only keys of this environment."),
            ),
        ),
        Endpoint(
            "DELETE", f"{root}/{{key_id}}", Permission.KEY_REVOKE, revoke, "Revoke a key everywhere",
            answer=RevokedKey, query=(QueryParameter("reason", "Why; kept in the audit trail."),),
        ),
    )  # fmt: skip
