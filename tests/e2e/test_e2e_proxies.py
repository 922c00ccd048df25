"""A proxy in front of the admin port of a real platform: the environment says whose word counts for who asks."""

import json
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from lineclear.control.access.patience import FAILURES_FREE
from lineclear.testing.platform import Platform

VARIABLE = "LINECLEAR_TRUSTED_PROXIES"
WRONG = {"name": "ann", "password": "x" * 12}


def sign_in(platform: Platform, peer: str, said: str) -> int:
    parts = urlsplit(platform.admin_url)
    connection = HTTPConnection(parts.hostname or "", parts.port, source_address=(peer, 0), timeout=60)
    fields = {"content-type": "application/json", "x-forwarded-for": said}
    connection.request("POST", "/sign-in", json.dumps(WRONG), fields)
    status = connection.getresponse().status
    connection.close()
    return status


def test_people_behind_a_proxy_are_told_apart(tmp_path: Path, child_environment: Mapping[str, str]) -> None:
    with Platform(tmp_path, environment={**child_environment, VARIABLE: "127.0.0.2/31"}) as platform:
        statuses = [sign_in(platform, "127.0.0.2", "198.51.100.7, 127.0.0.3") for _ in range(FAILURES_FREE + 1)]
        assert statuses == [401] * FAILURES_FREE + [429]
        assert sign_in(platform, "127.0.0.3", "203.0.113.9") == 401
        assert sign_in(platform, "127.0.0.1", "198.51.100.7") == 401, "whoever is no proxy speaks for itself"


def test_a_list_that_is_none_ends_the_start(tmp_path: Path, child_environment: Mapping[str, str]) -> None:
    platform = Platform(tmp_path, environment={**child_environment, VARIABLE: "10.0.0.5/8"})
    done = platform.cli("up")
    assert done.returncode == 2
    assert f"{VARIABLE}: '10.0.0.5/8' is not a network" in done.stderr
