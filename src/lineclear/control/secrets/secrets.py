"""The life of a secret: set, used by providers, set anew, removed.

In: names and values. Out: facts about secrets, never a value. A new value is in force at the gateways when `put`
returns. Must not log, return or audit a value.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from lineclear.base.secret import Secret
from lineclear.config.manifest_fields import near_words
from lineclear.config.manifest_names import reference_of, secret_name
from lineclear.config.manifest_rules import NAME
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.compile import credential_references
from lineclear.control.credentials import flaw_of
from lineclear.control.desired import Desired
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.publish import Acknowledgement, Publisher, read_desired
from lineclear.control.vault import SECRET_PREFIX
from lineclear.store import control_rows as rows

VALUE_CHARS_MAX = 8_192
"""A credential is part of one header line, and no server reads longer ones."""


@dataclass(frozen=True)
class SecretFacts:
    """What may be told about a secret."""

    name: str
    set_at: str
    """ISO 8601 UTC; when it got the value it has."""
    set_by: str
    used_by: tuple[str, ...]
    """`PROVIDER/ENVIRONMENT` of every credential that names it, `Team/NAME/CHANNEL` of every channel of notices."""


@dataclass(frozen=True)
class SecretChange:
    """A secret that has a new value, or is gone."""

    name: str
    set_at: str | None
    """None = removed."""
    used_by: tuple[str, ...]
    gateways: Acknowledgement


class Secrets:
    """Sets, lists and removes."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def put(self, actor: str, name: str, value: Secret) -> SecretChange:
        """Give a secret a value; providers that name it are called with it from now on.

        Raises:
            Refused: `invalid_request` for a name or a value that cannot be; the value is not repeated.
        """
        if not NAME.fullmatch(name):
            raise Refused(
                AdminCode.INVALID_REQUEST, f"{name!r} is not a name: lower-case letters, digits, . _ -, at most 63"
            )
        flaw = "is too long" if len(value.reveal()) > VALUE_CHARS_MAX else flaw_of(value)
        if flaw:
            raise Refused(
                AdminCode.INVALID_REQUEST,
                f"the secret {name!r} cannot be sent as a credential: its value {flaw}",
                hint="give the key alone: visible ASCII characters without spaces, quotes or a line end",
            )

        def work(tx: Connection) -> SecretFacts:
            self._publisher.vault.put_credential(tx, SECRET_PREFIX + name, value, actor)
            event = AuditEvent(AuditAction.SECRET_SET, f"secret/{name}")
            audit.record(tx, self._publisher.clock, actor, [event])
            return next(item for item in _facts(tx) if item.name == name)

        facts, revision = self._publisher.commit("secret set", work)
        return SecretChange(name, facts.set_at, facts.used_by, self._publisher.wait_acknowledged(revision))

    def remove(self, actor: str, name: str, reason: str = "", *, is_forced: bool = False) -> SecretChange:
        """Forget a secret. Providers that name it are then called without a credential.

        Raises:
            Refused: `not_found`; `conflict` if providers name it and this is not forced.
        """

        def work(tx: Connection) -> SecretFacts:
            known = {item.name: item for item in _facts(tx)}
            found = known.get(name)
            if found is None:
                raise Refused(
                    AdminCode.NOT_FOUND,
                    f"there is no secret {name!r}",
                    hint=near_words(name, known) or "`lineclear secrets list` shows names",
                )
            if found.used_by and not is_forced:
                raise Refused(
                    AdminCode.CONFLICT,
                    f"the secret {name!r} is used by {', '.join(found.used_by)}",
                    hint=f"name another credential there first, or take it away all the same: "
                    f"`lineclear secrets rm {name} --force`",
                )
            rows.delete_secret(tx, SECRET_PREFIX + name)
            event = AuditEvent(AuditAction.SECRET_REMOVED, f"secret/{name}", reason=reason)
            audit.record(tx, self._publisher.clock, actor, [event])
            return found

        facts, revision = self._publisher.commit("secret removed", work)
        return SecretChange(name, None, facts.used_by, self._publisher.wait_acknowledged(revision))

    def facts(self) -> list[SecretFacts]:
        """Every secret by name."""
        with self._publisher.database.read() as tx:
            return list(_facts(tx))


def _facts(tx: Connection) -> Iterable[SecretFacts]:
    desired = read_desired(tx)
    for row in rows.read_secret_rows(tx):
        name = secret_name(row.name)
        if name is not None:
            yield SecretFacts(name, _iso(row.updated_us), row.set_by, _users(desired, row.name))


def _users(desired: Desired, reference: str) -> tuple[str, ...]:
    channels = (
        f"Team/{team.name}/{channel.name}"
        for team in desired.teams.values()
        for channel in team.notices
        if reference in (channel.secret, channel.slack)
    )
    providers = (
        f"{provider.name}/{place}"
        for provider in desired.providers.values()
        for place, named in {
            **credential_references(provider, desired.environments),
            "egress_proxy": reference_of(provider.egress_proxy_credential or ""),
        }.items()
        if named == reference
    )
    return (*providers, *channels)


def _iso(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat().replace("+00:00", "Z")
