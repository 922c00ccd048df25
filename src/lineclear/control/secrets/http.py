"""The admin API's endpoints for secrets."""

from dataclasses import dataclass, field
from typing import ClassVar

from lineclear.base.secret import Secret
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, QueryParameter, Refused
from lineclear.control.secrets.secrets import SecretChange, SecretFacts, Secrets
from lineclear.domain.permissions import Permission

FORCE_VALUES = {"": False, "false": False, "true": True}


@dataclass(frozen=True)
class SecretValue:
    """What a secret is to be."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    value: str = field(repr=False)


@dataclass(frozen=True)
class SecretList:
    secrets: list[SecretFacts]


def endpoints(secrets: Secrets) -> tuple[Endpoint, ...]:
    """Set, list, remove."""

    def put(call: Call) -> SecretChange:
        sent: SecretValue = call.body
        return secrets.put(call.principal.name, call.path["name"], Secret(sent.value))

    def list_secrets(_call: Call) -> SecretList:
        return SecretList(secrets.facts())

    def remove(call: Call) -> SecretChange:
        force = call.query.get("force", "")
        if force not in FORCE_VALUES:
            raise Refused(AdminCode.INVALID_REQUEST, f"force is true or false, not {force!r}")
        reason = call.query.get("reason", "")
        return secrets.remove(call.principal.name, call.path["name"], reason, is_forced=FORCE_VALUES[force])

    root = f"{API_ROOT}/secrets"
    return (
        Endpoint(
            "GET", root, Permission.SECRET_READ, list_secrets, "List secrets and their users, never a value",
            answer=SecretList,
        ),
        Endpoint(
            "POST", f"{root}/{{name}}", Permission.SECRET_SET, put, "Give a secret a value, everywhere at once",
            body=SecretValue, answer=SecretChange,
        ),
        Endpoint(
            "DELETE", f"{root}/{{name}}", Permission.SECRET_REMOVE, remove, "Remove a secret that nobody uses",
            answer=SecretChange,
            query=(
                QueryParameter("force", "`true` removes one that is used; its providers go without a credential."),
                QueryParameter("reason", "Why; kept in the audit trail."),
            ),
        ),
    )  # fmt: skip
