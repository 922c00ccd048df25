"""The admin port lets in whom the reviewed table says, at every endpoint, role by role and scope by scope."""

import http.client
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lineclear.control.endpoint import Endpoint, Reach
from lineclear.domain.access import PLATFORM, Grant, Principal, PrincipalKind, Role, Scope
from lineclear.domain.permissions import Permission
from lineclear.testing.access_table import let_in, opened, table
from lineclear.testing.control_plane import ServedAPI

GOLDEN = Path(__file__).parent / "golden/endpoints.txt"
SCOPES = {
    "platform": PLATFORM,
    "team": Scope(team="a"),
    "environment": Scope(environment="live"),
    "route": Scope(environment="live", route="a"),
}


def principal_of(token: str) -> Principal | None:
    """`role@scope`, `robot`, or nobody."""
    role, _, scope = token.partition("@")
    if token == "robot":
        grants = tuple(Grant(each, PLATFORM) for each in Role)
        return Principal("robot", PrincipalKind.SERVICE_ACCOUNT, grants)
    return Principal("p", grants=(Grant(Role(role), SCOPES[scope]),)) if scope else None


class Port:
    """The whole admin port."""

    def __init__(self, directory: Path) -> None:
        self._core, self.endpoints = opened(directory)
        self._served = ServedAPI(self.endpoints, principal_of)
        url = urlsplit(self._served.url)
        self._address = (str(url.hostname), url.port)

    def status(self, endpoint: Endpoint, token: str) -> int:
        path = re.sub(r"\{[a-z_]+\}", "zzz", endpoint.path)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        connection = http.client.HTTPConnection(*self._address, timeout=30)
        try:
            connection.request(endpoint.method, path, headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def close(self) -> None:
        self._served.close()
        self._core.ledger.close()
        self._core.database.close()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Port]:
    made = Port(tmp_path_factory.mktemp("port"))
    yield made
    made.close()


def test_the_table_is_the_reviewed_one(port: Port) -> None:
    assert table(port.endpoints) == GOLDEN.read_text(encoding="utf-8"), (
        "who may do what changed: run `python -m lineclear.testing.access_table > tests/access/golden/endpoints.txt` "
        "and have the difference reviewed"
    )


@pytest.mark.parametrize("scope", list(SCOPES))
def test_every_role_is_let_in_where_the_table_says(port: Port, scope: str) -> None:
    for endpoint in port.endpoints:
        if endpoint.permission is Permission.PUBLIC:
            continue
        everywhere, on_part = let_in(endpoint)
        for role in Role:
            status = port.status(endpoint, f"{role.value}@{scope}")
            name = f"{role.value} on {scope}: {endpoint.method} {endpoint.path}"
            if role not in (everywhere if scope == "platform" else on_part):
                assert status == 403, name
            elif endpoint.reach is not Reach.OWN and (scope == "platform" or endpoint.reach is not Reach.OBJECT):
                assert status not in (401, 403), name
            else:
                # The handler goes on to ask for the object, which may lie elsewhere, or whether one is a member.
                assert status != 401, name


def test_nobody_is_let_in_without_an_identity(port: Port) -> None:
    for endpoint in port.endpoints:
        for token in ("", "wrong"):
            status = port.status(endpoint, token)
            assert (status == 401) != (endpoint.permission is Permission.PUBLIC), endpoint.path


def test_a_service_account_with_every_role_approves_nowhere(port: Port) -> None:
    approving = [item for item in port.endpoints if "approv" in item.path or "break-glass/{" in item.path]
    assert len(approving) > 3
    for endpoint in approving:
        status = port.status(endpoint, "robot")
        assert status == (403 if endpoint.reach is not Reach.OWN else 404), endpoint.path
