"""Values that must not stand in the database in clear: the key pepper, credential variables and secrets.

Of the server's own environment it keeps a digest of each value last taken, so that a value is taken once.

In: the master key's `Keys`. Out: sealed bytes for the `secrets` table and back. Must not read the environment.
"""

import secrets
from collections.abc import Mapping

from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.base.seal import Keys, Purpose
from lineclear.base.secret import Secret
from lineclear.store import control_rows as rows
from lineclear.store.control_rows import SecretRow

PEPPER = "pepper"
PEPPER_BYTES = 32
_VARIABLE_PREFIX = "variable:"
_TAKEN_PREFIX = "taken:"
SECRET_PREFIX = "secret:"  # noqa: S105 - how names of secrets begin, as in manifests
_SECTION_PREFIX = "control/secrets/"
_CONTENT_PREFIX = "control/changes/"
_PRIVATE_PREFIX = "control/private/"


class Vault:
    """Seals and opens rows of the `secrets` table."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock

    def pepper(self, tx: Connection) -> str:
        """Hex of the pepper; made at the first call in a write transaction.

        Raises:
            SealBroken: if the database was written under another master key.
        """
        sealed = rows.read_secrets(tx).get(PEPPER)
        if sealed is not None:
            return self._open(PEPPER, sealed)
        made = secrets.token_hex(PEPPER_BYTES)
        self._put(tx, PEPPER, made, "")
        return made

    def credentials(self, tx: Connection) -> dict[str, Secret]:
        """The value of every secret and the last one of every credential variable, by reference.

        Raises:
            SealBroken: if the database was written under another master key.
        """
        return {
            name.removeprefix(_VARIABLE_PREFIX): Secret(self._open(name, sealed))
            for name, sealed in rows.read_secrets(tx).items()
            if name.startswith((_VARIABLE_PREFIX, SECRET_PREFIX))
        }

    def put_credential(self, tx: Connection, reference: str, value: Secret, set_by: str) -> None:
        """Remember the value of `VARIABLE` or of `secret:NAME`, and who gave it."""
        name = reference if reference.startswith(SECRET_PREFIX) else _VARIABLE_PREFIX + reference
        self._put(tx, name, value.reveal(), set_by)

    def seal_content(self, change_id: str, content: bytes) -> bytes:
        """What came with a change request, as it is stored while the request waits."""
        return self._keys.seal(_CONTENT_PREFIX + change_id, 0, content)

    def open_content(self, change_id: str, sealed: bytes) -> bytes:
        """What `seal_content` made.

        Raises:
            SealBroken: if the database was written under another master key, or altered.
        """
        return self._keys.unseal(_CONTENT_PREFIX + change_id, 0, sealed)

    def seal_private(self, place: str, content: bytes) -> bytes:
        """What a dataset asks, or what a replay was answered; opens only for the same place."""
        return self._keys.seal(_PRIVATE_PREFIX + place, 0, content)

    def open_private(self, place: str, sealed: bytes) -> bytes:
        """What `seal_private` made.

        Raises:
            SealBroken: if the database was written under another master key, or altered.
        """
        return self._keys.unseal(_PRIVATE_PREFIX + place, 0, sealed)

    def approval_mac(self, approval: bytes) -> str:
        """Proves that this platform wrote an approval."""
        return self._keys.mac(Purpose.APPROVAL_MAC, approval)

    def changed_values(self, tx: Connection, environment: Mapping[str, Secret]) -> dict[str, Secret]:
        """The variables of the server's own environment that say something else than when they were last taken."""
        taken = rows.read_secrets(tx)
        return {
            name: value
            for name, value in environment.items()
            if taken.get(_TAKEN_PREFIX + name) != self._digest(name, value)
        }

    def mark_taken(self, tx: Connection, name: str, value: Secret, set_by: str) -> None:
        """Remember that the server's own environment said this: not again before it says something else."""
        rows.put_secret(tx, SecretRow(_TAKEN_PREFIX + name, self._digest(name, value), self._clock.unix_us(), set_by))

    def _digest(self, name: str, value: Secret) -> bytes:
        # surrogateescape: an environment may hold bytes that are no UTF-8; they are refused elsewhere, in words.
        said = f"{name}\0{value.reveal()}".encode("utf-8", "surrogateescape")
        return self._keys.mac(Purpose.ENVIRONMENT_MAC, said).encode()

    def _open(self, name: str, sealed: bytes) -> str:
        return self._keys.unseal(_SECTION_PREFIX + name, 0, sealed).decode()

    def _put(self, tx: Connection, name: str, text: str, set_by: str) -> None:
        sealed = self._keys.seal(_SECTION_PREFIX + name, 0, text.encode())
        rows.put_secret(tx, SecretRow(name, sealed, self._clock.unix_us(), set_by))
