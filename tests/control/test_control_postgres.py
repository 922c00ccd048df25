"""The same control plane on PostgreSQL: first start, change, keys, restart, audit."""

from collections.abc import Callable

import pytest

from lineclear.control.audit import verify
from lineclear.control.bootstrap import make_first_keys
from lineclear.control.endpoint import Refused
from lineclear.domain.change_request import ChangeState
from lineclear.store import control_rows as rows
from lineclear.testing.control_plane import ControlPlane
from lineclear.testing.postgres import PostgresCluster

ROUTE = """
kind: Model
name: toy
owner: default
versions: [{version: "1", engine: simulated, status: approved}]
---
kind: Route
name: toy
team: default
environments:
  live: {targets: [{model: toy@1, weight: WEIGHT}]}
"""


def test_control_lives_on_postgresql(open_plane: Callable[..., ControlPlane], postgres: PostgresCluster) -> None:
    url = postgres.fresh_url()
    plane = open_plane(database_url=url).start()
    texts = make_first_keys(plane.publisher, plane.keys)
    assert texts is not None
    for weight in (1, 2, 3):
        assert plane.apply(ROUTE.replace("WEIGHT", str(weight))).state is ChangeState.APPLIED
    assert plane.apply(ROUTE.replace("WEIGHT", "3")).state is ChangeState.UNCHANGED
    with pytest.raises(Refused):
        plane.apply("kind: App\nname: a\nteam: nobody\n")
    made = plane.keys.create("ann", "default", "live")
    plane.keys.revoke("ann", made.id)
    revision = plane.load().manifest.revision
    again = open_plane(database_url=url).start()
    assert again.load().manifest.revision == revision
    assert make_first_keys(again.publisher, again.keys) is None
    with again.database.read() as tx:
        deployment = rows.read_deployments(tx)["live", "toy"]
        assert (deployment.generation, len(deployment.previous)) == (3, 2)
        assert verify(rows.read_audit(tx, 0, 1000)).ok
    again.close()
