"""Signing in through a real OpenID Connect provider, and what a browser must not get past on the way."""

import html
import http.client
import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from lineclear.testing.console_visitor import Answer, Visitor
from lineclear.testing.platform import Platform

PACKAGE = "oidc-provider@9.13.3"
SECRET = "a secret/of+the client"
SCRIPT = Path(__file__).parent / "oidc_server.mjs"
INSTALL_S = 180


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the provider is installed."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("the OpenID Connect provider of this test is a package of npm, which is not installed")
    directory = tmp_path_factory.mktemp("oidc")
    (directory / "package.json").write_text('{"private": true, "type": "module"}')
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {PACKAGE} here: {done.stderr[-300:]}")
    shutil.copy(SCRIPT, directory)
    return directory


@dataclass(frozen=True)
class World:
    """A platform, and the provider that its people sign in through."""

    platform: Platform
    issuer: str


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str], package: Path
) -> Iterator[World]:
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    environment = {
        **child_environment,
        "LINECLEAR_OIDC_ISSUER": issuer,
        "LINECLEAR_OIDC_CLIENT_SECRET": SECRET,
        "LINECLEAR_OIDC_PRIVATE_NETWORK": "1",
    }
    with Platform(tmp_path_factory.mktemp("platform"), environment=environment) as platform:
        back = f"{platform.admin_url}/console/oidc/callback"
        command = ["node", SCRIPT.name, str(port), back, SECRET]
        # The provider is asked for nothing before the first sign-in.
        with subprocess.Popen(
            command, cwd=package, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as provider:
            assert provider.stdout is not None
            try:
                assert "ready" in provider.stdout.readline()
                grant = {"principal": "group:ml-approvers", "role": "approver", "scope": "platform"}
                platform.admin("POST", "/api/v1/grants", grant)
                yield World(platform, issuer)
            finally:
                provider.terminate()


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows the provider's redirects and stops at ours."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if "/console/oidc/callback" in newurl:
            raise _Back(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Back(Exception):
    """The provider sends the browser back."""


def at_the_provider(url: str, name: str) -> str:
    """What a person does there: a name, any password, consent. Gives the address that leads back."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()), _Stay())
    try:
        page = browser.open(url, timeout=30)
        for _ in range(4):
            text = page.read().decode()
            action = re.search(r'action="([^"]+)"', text)
            assert action is not None, text[:500]
            prompt = re.search(r'name="prompt" value="([a-z]+)"', text)
            assert prompt is not None, text[:500]
            fields = {"prompt": prompt[1], "login": name, "password": "any"}
            page = browser.open(html.unescape(action[1]), urlencode(fields).encode(), timeout=30)
    except _Back as back:
        return str(back)
    raise AssertionError("the provider did not send the browser back")


def begun(world: World, onward: str = "") -> tuple[Visitor, str]:
    visitor = Visitor(world.platform.admin_url + "/console/sign-in")
    assert "/console/oidc" in visitor.get("/sign-in").text
    answer = visitor.get("/oidc" + (f"?next={onward}" if onward else ""))
    assert answer.status == 303
    assert answer.location.startswith(world.issuer)
    return visitor, answer.location


def back_at(visitor: Visitor, url: str) -> Answer:
    parts = urlsplit(url)
    return visitor.ask("GET", f"{parts.path}?{parts.query}", sec_fetch_site="cross-site")


def signed_in(world: World, name: str, onward: str = "") -> tuple[Visitor, Answer]:
    visitor, url = begun(world, onward)
    return visitor, back_at(visitor, at_the_provider(url, name))


def test_the_way_there_asks_for_what_the_standard_says(world: World) -> None:
    _, url = begun(world)
    query = parse_qs(urlsplit(url).query)
    assert query["response_type"] == ["code"]
    assert query["code_challenge_method"] == ["S256"]
    assert all(len(query[name][0]) == 43 for name in ("state", "nonce", "code_challenge"))
    assert SECRET not in url


def test_somebody_with_a_granted_group_is_let_in_with_its_role(world: World) -> None:
    visitor, answer = signed_in(world, "ann", "/requests")
    assert answer.status == 200, answer.text
    assert "/console/requests" in answer.text
    assert visitor.get("/requests").status == 200
    members = {item["name"]: item for item in world.platform.admin("GET", "/api/v1/members")["members"]}
    assert members["ann"]["signs_in_with"] == ["identity provider"]
    assert members["ann"]["groups"] == ["everybody", "ml-approvers"]
    decision = world.platform.cli("can", "ann", "change:approve", "platform")
    assert (decision.returncode, "through the group 'ml-approvers'" in decision.stdout) == (0, True)
    visitor.post("/sign-out", {"form_token": visitor.form_token()})
    assert visitor.get("/requests").status == 303


def test_somebody_without_a_role_is_known_and_not_let_in(world: World) -> None:
    visitor, answer = signed_in(world, "bob")
    assert answer.status == 403
    assert "has no role here" in answer.text
    assert visitor.get("/").status == 303
    world.platform.admin("POST", "/api/v1/grants", {"principal": "bob", "role": "viewer"})
    assert signed_in(world, "bob")[1].status == 200
    assert world.platform.cli("access", "disable", "bob").returncode == 0
    assert signed_in(world, "bob")[1].status == 403


def test_a_name_that_is_taken_is_not_taken_over(world: World) -> None:
    world.platform.admin("POST", "/api/v1/members", {"name": "eve-nfit"})
    world.platform.admin("POST", "/api/v1/grants", {"principal": "eve-nfit", "role": "admin"})
    _, answer = signed_in(world, "Eve Ünfit")
    assert answer.status == 409
    assert "already" in answer.text


def test_an_answer_counts_once_and_only_in_the_browser_that_asked(world: World) -> None:
    visitor, url = begun(world)
    back = at_the_provider(url, "ann")
    stranger = Visitor(visitor.link)
    assert back_at(stranger, back).status == 401, "somebody else's browser"
    assert back_at(visitor, back).status == 401, "and then it is used up"
    fresh, url = begun(world)
    back = at_the_provider(url, "ann")
    assert back_at(fresh, back).status == 200
    assert back_at(fresh, back).status == 401


@pytest.mark.parametrize(
    "change",
    [
        {"state": "x"},
        {"code": "x"},
        {"code": ""},
        {"iss": "https://evil.example"},
        {"error": "access_denied"},
    ],
)
def test_an_answer_that_was_altered_is_refused(world: World, change: dict[str, str]) -> None:
    visitor, url = begun(world)
    back = urlsplit(at_the_provider(url, "ann"))
    query = {name: values[0] for name, values in parse_qs(back.query).items()}
    answer = back_at(visitor, f"{back.path}?{urlencode({**query, **change})}")
    assert answer.status in (401, 503)
    assert visitor.get("/").status == 303


def test_a_code_of_another_sign_in_is_of_no_use(world: World) -> None:
    one, url_one = begun(world)
    two, url_two = begun(world)
    back_one, back_two = (parse_qs(urlsplit(at_the_provider(url, "ann")).query) for url in (url_one, url_two))
    mixed = {"code": back_one["code"][0], "state": back_two["state"][0], "iss": world.issuer}
    assert back_at(two, f"/console/oidc/callback?{urlencode(mixed)}").status in (401, 503), "PKCE and nonce differ"
    assert two.get("/").status == 303
    assert http.client.responses[one.get("/").status] == "See Other"
