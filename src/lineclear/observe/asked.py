"""What control asked itself in an app's name, in replays, evals and judgements: it makes nobody a caller.

In: a connection to a day of the ledger. Out: the rollups that hold nothing else. Rollups do not know keys, and facets
do: where an app and control asked the same release of the same model for the same, with the same outcome, both are in
one rollup, which counts as the app's.
"""

from collections.abc import Mapping

from sqlalchemy import Connection, select

from lineclear.domain.ledger import INNER_KEY_PREFIX
from lineclear.store.ledger_tables import DIMENSIONS, facets
from lineclear.store.rollup import RollupKey

_COLUMNS = tuple(facets.c[name] for name in DIMENSIONS)
_IS_INNER = facets.c.key_id.startswith(INNER_KEY_PREFIX, autoescape=True)


def asked_by_control(connection: Connection, only: Mapping[str, str]) -> frozenset[RollupKey]:
    """Keys, without their hour or day, of rollups in which no app's own call is; `only` those of these dimensions."""
    wanted = [facets.c[name] == value for name, value in only.items()]
    inner = {tuple(row) for row in connection.execute(select(*_COLUMNS).where(_IS_INNER, *wanted).distinct())}
    if not inner:
        # As on most days.
        return frozenset()
    own = {tuple(row) for row in connection.execute(select(*_COLUMNS).where(~_IS_INNER, *wanted).distinct())}
    return frozenset(inner - own)
