"""Everything of access on one database: what control makes once, and what it hands to doors.

In: database, clock, vault. Out: endpoints, who a token belongs to, who a name is. The admin token's holder is no
member: it is known by the token in the data directory, and may do everything.
"""

import hmac
from collections.abc import Callable

from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.base.secret import Secret
from lineclear.control.access import http, own_http
from lineclear.control.access.decision import Decisions
from lineclear.control.access.emergencies import Emergencies
from lineclear.control.access.grants import Grants
from lineclear.control.access.members import Members
from lineclear.control.access.passwords import Passwords
from lineclear.control.access.principals import ADMIN_NAME
from lineclear.control.access.token_text import TOKEN_PREFIX
from lineclear.control.access.tokens import Tokens
from lineclear.control.endpoint import Endpoint
from lineclear.control.vault import Vault
from lineclear.domain.access import Principal, PrincipalKind, with_every_role
from lineclear.store.database import Database

ADMIN = with_every_role(ADMIN_NAME, PrincipalKind.ADMIN_TOKEN)
"""Who holds the admin token, or a link that its holder made."""


class Access:
    """Members, grants, tokens, passwords, emergencies."""

    def __init__(self, database: Database, clock: Clock, vault: Vault) -> None:
        self.members = Members(database, clock)
        self.grants = Grants(database, clock)
        self.tokens = Tokens(database, clock, vault)
        self.passwords = Passwords(database, clock)
        self.emergencies = Emergencies(database, clock)
        self.decisions = Decisions(database, clock)

    def principal(self, name: str) -> Principal | None:
        """Who a name is, as they stand now; None if they are unknown or disabled."""
        return ADMIN if name == ADMIN_NAME else self.members.principal(name)

    def principal_in(self, tx: Connection, name: str) -> Principal | None:
        """Who a name is, as the transaction sees them."""
        return ADMIN if name == ADMIN_NAME else self.members.principal_in(tx, name)

    def authenticator(self, admin_token: Secret) -> Callable[[str], Principal | None]:
        """Knows the admin token and every token that was made here."""
        expected = admin_token.reveal().encode()

        def authenticate(token: str) -> Principal | None:
            if token.startswith(TOKEN_PREFIX):
                return self.tokens.find(token)
            return ADMIN if hmac.compare_digest(token.encode("utf-8", "replace"), expected) else None

        return authenticate

    def endpoints(self, admin_url: str, root_path: str) -> tuple[Endpoint, ...]:
        """The admin API of access."""
        parts = http.AccessParts(self.members, self.grants, self.tokens, self.decisions, self.emergencies)
        return (
            *http.endpoints(parts, admin_url, root_path),
            *own_http.endpoints(self.members, self.tokens, self.passwords, self.emergencies),
        )
