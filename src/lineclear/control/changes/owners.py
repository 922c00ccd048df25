"""Who stands behind a caller of the admin API besides the name it calls under.

In: a principal. Out: names. Whoever made a service account or handed out the token that is used could act as its
principal, so they count as authors of what it writes, and it does not approve what they wrote.
"""

from lineclear.domain.access import Principal, PrincipalKind
from lineclear.store import access_rows
from lineclear.store.database import Database

OWNERS_OF_THE_SERVER = ("admin",)
"""Who holds the data directory also writes the files that a start of the server applies."""


def owners_of(database: Database, principal: Principal) -> tuple[str, ...]:
    """Everybody else who could have made this call."""
    with database.read() as tx:
        row = access_rows.read_principal(tx, principal.name)
        token = access_rows.read_token(tx, principal.session) if principal.session else None
    names = [token.created_by] if token is not None else []
    if row is not None and row.kind == PrincipalKind.SERVICE_ACCOUNT.value:
        names.append(row.created_by)
    return tuple(sorted({name for name in names if name and name != principal.name}))
