"""The inbox in the console: what happened stands there until somebody takes note; what did not arrive is sent again."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest

from lineclear.testing import manifests
from lineclear.testing.console_visitor import Visitor
from lineclear.testing.hook_receiver import HookReceiver
from lineclear.testing.platform import Platform

WAIT_S = 60.0


@pytest.fixture(scope="module")
def hook() -> Iterator[HookReceiver]:
    with HookReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def platform(
    tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str], hook: HookReceiver
) -> Iterator[Platform]:
    directory = tmp_path_factory.mktemp("notices")
    environment = {**child_environment, "LINECLEAR_NOTICES_PRIVATE_NETWORK": "1"}
    with Platform(directory, environment=environment) as made:
        assert made.cli("secrets", "set", "hook", stdin="a-key").returncode == 0
        channel = {"name": "hook", "webhook": hook.url, "secret": "secret:hook"}
        file = directory / "team.yaml"
        file.write_text(manifests.text_of([manifests.team("owners", notices=[channel]), manifests.app("a", "owners")]))
        assert made.cli("apply", "-f", str(file)).returncode == 0
        yield made


def until(visitor: Visitor, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The page's twin, once it is so."""
    deadline = time.monotonic() + WAIT_S
    while not is_so(twin := visitor.get("/notices.json?team=owners").json()):
        assert time.monotonic() < deadline, twin
        time.sleep(0.1)
    return dict(twin)


def test_a_notice_stands_there_until_somebody_takes_note(
    platform: Platform, visitor: Visitor, hook: HookReceiver
) -> None:
    hook.statuses = [410]
    assert platform.cli("stop", "app:a", "--reason", "<b>it leaks</b>").returncode == 0
    twin = until(visitor, lambda value: bool(value["dead"]))
    (notice,), (dead,) = twin["rows"], twin["dead"]
    assert notice["title"] == "AI is stopped for app:a: calls are refused"
    page = visitor.get("/notices").text
    assert notice["title"] in page
    assert "&lt;b&gt;it leaks" in page
    assert "127.0.0.1 answered 410: it wants nothing more" in page
    assert "1 notice did not arrive" in visitor.get("/").text
    assert visitor.get("/notices.csv").text.count("\n") >= 2

    token = {"form_token": visitor.form_token()}
    assert visitor.post(f"/notices/{notice['id']}/acknowledge", token).status == 303
    assert visitor.get("/notices.json?team=owners").json()["rows"] == []
    (noted,) = visitor.get("/notices.json?state=acknowledged&team=owners").json()["rows"]
    assert noted["addresses"][0]["acknowledged_by"]

    assert visitor.post(f"/notices/deliveries/{dead['id']}/again", token).status == 303
    until(visitor, lambda value: not value["dead"])
    assert len(hook.wait(2)) == 2
    assert "did not arrive" not in visitor.get("/").text


def test_the_command_to_copy_quotes_what_the_query_says(visitor: Visitor) -> None:
    twin = visitor.get(f"/notices.json?team={quote('a; rm -rf ~')}").json()
    assert twin["command"] == "lineclear notices list --team 'a; rm -rf ~'"


def test_who_may_not_is_told_so(visitor: Visitor) -> None:
    token = {"form_token": visitor.form_token()}
    assert visitor.post("/notices/ntc_none/acknowledge", token).status == 404
    assert visitor.get("/notices?state=strange").status == 400
