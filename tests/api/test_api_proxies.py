"""Whose address counts behind proxies: what they append is believed, what callers write themselves is not."""

import json
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lineclear.api.proxies import HOPS_MAX, behind_proxies, caller_of
from lineclear.config.settings import read_settings
from lineclear.control.access.patience import FAILURES_FREE
from lineclear.testing.access_house import PASSWORD, AccessHouse
from lineclear.testing.control_plane import ServedAPI

TRUSTED = read_settings({"HOME": "/h", "LINECLEAR_TRUSTED_PROXIES": "10.1.0.0/16,fd00::5,127.0.0.2"}).trusted_proxies
PROXY, CALLER, OTHER = "127.0.0.2", "198.51.100.7", "203.0.113.9"
WRONG = {"name": "ann", "password": "x" * 12}


@pytest.mark.parametrize(
    ("peer", "fields", "caller"),
    [
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.2.0.1", ["198.51.100.7"], "10.2.0.1"),
        ("10.1.0.1", [], "10.1.0.1"),
        ("10.1.0.1", [""], "10.1.0.1"),
        ("10.1.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.1.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ("10.1.0.1", ["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
        ("10.1.0.1", ["198.51.100.7", "10.1.9.9"], "198.51.100.7"),
        ("10.1.0.1", ["203.0.113.9,198.51.100.7 ,\t10.1.9.9, fd00::5"], "198.51.100.7"),
        ("10.1.0.1", ["10.1.0.2, 10.1.0.3"], "10.1.0.2"),
        ("::ffff:10.1.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("fd00::5", ["2001:db8::7"], "2001:db8::7"),
        ("fd00::6", ["2001:db8::7"], "fd00::6"),
        ("10.1.0.1", ["198.51.100.7:5000"], "198.51.100.7"),
        ("10.1.0.1", ["[2001:db8::7]:5000"], "2001:db8::7"),
        ("10.1.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.1.0.1", ["unknown"], "10.1.0.1"),
        ("10.1.0.1", ["198.51.100.7, unknown"], "10.1.0.1"),
        ("10.1.0.1", ["198.51.100.7,"], "10.1.0.1"),
        ("10.1.0.1", ["198.51.100.7, , 10.1.0.2"], "10.1.0.2"),
        ("10.1.0.1", ["198.51.100.007"], "10.1.0.1"),
        ("10.1.0.1", ["198.51.100.7:port"], "10.1.0.1"),
        ("10.1.0.1", ["198.51.100.7:500000"], "10.1.0.1"),
        ("10.1.0.1", ["[198.51.100.7]"], "10.1.0.1"),
        ("10.1.0.1", ["fe80::1%eth0"], "10.1.0.1"),
        ("10.1.0.1", ["198.51.100.7\xa0"], "10.1.0.1"),
        ("10.1.0.1", ["1" * 10_000], "10.1.0.1"),
        ("10.1.0.1", [", ".join(["198.51.100.7", *["10.1.0.2"] * (HOPS_MAX - 1)])], "198.51.100.7"),
        ("10.1.0.1", [", ".join(["198.51.100.7", *["10.1.0.2"] * HOPS_MAX])], "10.1.0.2"),
        ("not an address", ["198.51.100.7"], "not an address"),
    ],
)
def test_the_caller_is_the_rightmost_who_is_not_believed(peer: str, fields: list[str], caller: str) -> None:
    assert caller_of(peer, [field.encode("latin-1") for field in fields], TRUSTED) == caller


def test_nobody_is_believed_unless_somebody_says_so() -> None:
    async def application(*_: object) -> None:
        """Never asked here."""

    assert behind_proxies(application, ()) is application
    assert caller_of("10.1.0.1", [b"198.51.100.7"], [ip_network("10.1.0.2/32")]) == "10.1.0.1"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[AccessHouse]:
    made = AccessHouse(tmp_path)
    made.person("ann", "viewer")
    yield made
    made.close()


@pytest.fixture
def sign_in(house: AccessHouse) -> Iterator[Callable[[dict[str, str], str, str], int]]:
    """The status of a sign-in over a connection from one of loopback's addresses, with what is said there."""
    served = ServedAPI(house.plane.endpoints(), house.plane.authenticate, trusted_proxies=TRUSTED)

    def go(body: dict[str, str], peer: str, said: str) -> int:
        parts = urlsplit(served.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, source_address=(peer, 0), timeout=60)
        fields = {"content-type": "application/json", "x-forwarded-for": said}
        connection.request("POST", "/sign-in", json.dumps(body), fields)
        status = connection.getresponse().status
        connection.close()
        return status

    yield go
    served.close()


def test_who_guesses_behind_a_proxy_slows_nobody_else_there_down(
    sign_in: Callable[[dict[str, str], str, str], int],
) -> None:
    statuses = [sign_in(WRONG, PROXY, CALLER) for _ in range(FAILURES_FREE + 1)]
    assert statuses == [401] * FAILURES_FREE + [429]
    assert sign_in({"name": "ann", "password": PASSWORD}, PROXY, OTHER) == 201
    assert sign_in(WRONG, PROXY, f"{OTHER}, {CALLER}") == 429, "what the caller itself wrote counts for nothing"


def test_who_comes_past_the_proxy_is_who_is_connected(sign_in: Callable[[dict[str, str], str, str], int]) -> None:
    statuses = [sign_in(WRONG, "127.0.0.3", f"198.51.100.{number}") for number in range(FAILURES_FREE + 1)]
    assert statuses == [401] * FAILURES_FREE + [429]
    assert sign_in(WRONG, PROXY, "198.51.100.0") == 401, "nobody was kept out in the name of another"
