"""The admin port: nobody in without a permission, nothing read that was not declared, one shape of refusal."""

import http.client
import json
import re
import socket
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import pytest

from lineclear.api.application import build_application
from lineclear.client.admin import AdminError, AdminUnreachable, Server, path_of
from lineclear.control.endpoint import Call, Endpoint, Reach, check_endpoints
from lineclear.domain.access import PLATFORM, Grant, Principal, Role
from lineclear.domain.permissions import Permission
from lineclear.testing.control_plane import TOKEN, ControlPlane, ServedAPI, authenticate_tests

TEAM = {"files": [{"name": "m.yaml", "text": "kind: Team\nname: sales\n"}]}


def ask(
    served: ServedAPI, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, Any, http.client.HTTPMessage]:
    url = urlsplit(served.url)
    connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=10)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, json.loads(content) if content[:1] in (b"{", b"[") else content, response.headers


def concrete(path: str) -> str:
    return re.sub(r"\{[a-z_]+\}", "x", path)


def test_every_endpoint_asks_for_its_permission(plane: ControlPlane, served: ServedAPI) -> None:
    for endpoint in plane.endpoints():
        path = concrete(endpoint.path)
        without, body, headers = ask(served, endpoint.method, path)
        if endpoint.path == "/sign-in":
            assert (without, body["code"]) == (400, "invalid_request")
            continue
        if endpoint.permission is Permission.PUBLIC:
            assert without == 200
            assert not path.startswith("/api/")
            continue
        assert (without, body["code"], headers["www-authenticate"]) == (401, "unauthenticated", "Bearer"), path
        wrong, _, _ = ask(served, endpoint.method, path, authorization="Bearer wrong")
        assert wrong == 401, path
        basic, _, _ = ask(served, endpoint.method, path, authorization=f"Basic {TOKEN}")
        assert basic == 401, path
        powerless, body, _ = ask(served, endpoint.method, path, authorization="Bearer nobody")
        if endpoint.reach is Reach.OWN:
            assert endpoint.permission is Permission.SELF
            continue
        assert (powerless, body["code"]) == (403, "forbidden"), path
        assert endpoint.permission.value in body["message"]


def handler(_call: Call) -> None:
    return None


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (Endpoint("GET", "/api/v1/x", None, handler, ""), "declares no permission"),  # type: ignore[arg-type]  # the mistake
        (Endpoint("GET", "/api/v1/x", Permission.PUBLIC, handler, ""), "is public"),
        (Endpoint("PATCH", "/api/v1/x", Permission.KEY_READ, handler, ""), "is not a method"),
        (Endpoint("GET", "/api/v1/X", Permission.KEY_READ, handler, ""), "lower-case path"),
    ],
)
def test_control_does_not_start_with_an_unsafe_endpoint(endpoint: Endpoint, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build_application([endpoint], authenticate_tests)


def test_one_path_is_served_once() -> None:
    twice = [
        Endpoint("GET", "/api/v1/x/{a}", Permission.KEY_READ, handler, ""),
        Endpoint("GET", "/api/v1/x/{b}", Permission.KEY_READ, handler, ""),
    ]
    with pytest.raises(ValueError, match="stands twice"):
        check_endpoints(twice)


def test_a_change_goes_through_the_port(served: ServedAPI) -> None:
    client = served.client()
    plan = client.post(path_of("plans"), TEAM)
    assert plan["has_changes"]
    done = client.post(path_of("changes"), {**TEAM, "plan": plan["digest"], "note": "new team"})
    assert done["state"] == "applied"
    (change, *_) = client.get(path_of("changes"), {"limit": 1})["changes"]
    assert (change["id"], change["note"], change["author"]) == (done["change"], "new team", "tester")
    assert client.get(path_of("teams", "sales"))["manifest"]["name"] == "sales"


def test_findings_come_with_their_places(served: ServedAPI) -> None:
    with pytest.raises(AdminError) as caught:
        served.client().post(path_of("plans"), {"files": [{"name": "m.yaml", "text": "kind: Team\nnme: x\n"}]})
    assert (caught.value.status, caught.value.code) == (422, "invalid_manifest")
    assert [(item["file"], item["line"], item["column"]) for item in caught.value.findings] == [
        ("m.yaml", 1, 1),
        ("m.yaml", 2, 1),
    ]


BAD_REQUESTS = [
    ("POST", "/api/v1/keys", b"{", "body"),
    ("POST", "/api/v1/keys", b"", "app"),
    ("POST", "/api/v1/keys", b'{"app":"default","environment":"live","expires":1}', "expires"),
    ("POST", "/api/v1/keys", b'{"app":1,"environment":"live"}', "app"),
    ("POST", "/api/v1/keys", b'{"app":"default","environment":"live","expires_in_days":"3"}', "expires_in_days"),
    ("GET", "/api/v1/keys", b"{}", "takes no body"),
    ("GET", "/api/v1/keys?appp=x", b"", "'appp'"),
    ("GET", "/api/v1/keys?app=x&app=y", b"", "stands twice"),
    ("GET", "/api/v1/keys?app=" + "x" * 5000, b"", "too long"),
    ("GET", "/api/v1/changes?limit=0", b"", "limit"),
    ("GET", "/api/v1/changes?limit=1e3", b"", "limit"),
    ("GET", "/api/v1/changes?limit=%C2%B2", b"", "limit"),
    ("GET", "/api/v1/audit-events?after=-1", b"", "after"),
]


@pytest.mark.parametrize(("method", "path", "body", "words"), BAD_REQUESTS)
def test_what_was_not_declared_is_refused(served: ServedAPI, method: str, path: str, body: bytes, words: str) -> None:
    status, answer, _ = ask(served, method, path, body or None, authorization=f"Bearer {TOKEN}")
    assert (status, answer["code"]) == (400, "invalid_request")
    assert words in answer["message"]


def test_a_body_above_the_limit_is_refused_early(served: ServedAPI) -> None:
    status, answer, _ = ask(
        served, "POST", "/api/v1/plans", b"x" * (8 * 1024 * 1024 + 1), authorization=f"Bearer {TOKEN}"
    )
    assert (status, answer["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/api/v1/nothing", 404), ("PUT", "/api/v1/keys", 405)])
def test_what_is_not_there_is_said_in_the_same_shape(served: ServedAPI, method: str, path: str, status: int) -> None:
    got, answer, _ = ask(served, method, path)
    assert got == status
    assert set(answer) == {"code", "message", "hint", "findings"}


def test_a_failure_inside_tells_the_caller_nothing_of_it(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_call: Call) -> None:
        raise RuntimeError("password=hunter2")

    served = ServedAPI([Endpoint("GET", "/api/v1/broken", Permission.KEY_READ, fail, "Broken")])
    status, answer, _ = ask(served, "GET", "/api/v1/broken", authorization=f"Bearer {TOKEN}")
    served.close()
    assert (status, answer["code"]) == (500, "internal_error")
    assert "hunter2" not in json.dumps(answer)
    assert "hunter2" in caplog.text


def test_the_description_names_every_endpoint_and_resolves(plane: ControlPlane, served: ServedAPI) -> None:
    status, document, _ = ask(served, "GET", "/api/openapi.json")
    assert status == 200
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert described == {(endpoint.method, endpoint.path) for endpoint in plane.endpoints()}
    names = set(document["components"]["schemas"])
    text = json.dumps(document)
    referred = {part.split('"', 1)[0] for part in text.split('"$ref": "#/components/schemas/')[1:]}
    assert referred <= names
    assert '"$ref": "#/$defs' not in text
    key = document["paths"]["/api/v1/keys"]["post"]
    assert (key["x-permission"], key["security"]) == ("key:create", [{"bearer": []}])


def test_an_endpoint_has_no_method_but_its_own(served: ServedAPI) -> None:
    for method, path in (
        ("HEAD", "/livez"),
        ("POST", "/livez"),
        ("POST", "/api/openapi.json"),
        ("HEAD", "/api/v1/keys"),
    ):
        assert ask(served, method, path)[0] == 405, (method, path)


def test_control_starts_without_what_only_a_few_calls_need() -> None:
    # A start is slow by what it loads; each of these took a thirtieth of it or more.
    heavy = ("fastapi", "alembic", "joserfc")
    script = f"import sys, lineclear.compose.control\nprint([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_health_needs_no_token(served: ServedAPI) -> None:
    assert ask(served, "GET", "/livez")[:2] == (200, b"ok\n")
    assert ask(served, "GET", "/readyz")[:2] == (200, b"ready\n")


def test_control_without_a_snapshot_is_not_ready(tmp_path_factory: pytest.TempPathFactory) -> None:
    plane = ControlPlane(tmp_path_factory.mktemp("empty"))
    served = ServedAPI(plane.endpoints())
    status, answer, _ = ask(served, "GET", "/readyz")
    served.close()
    plane.close()
    assert (status, answer["code"]) == (503, "unavailable")


def test_a_server_that_is_away_is_said_so(served: ServedAPI) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = served.client()
    away = type(client)(Server(f"http://127.0.0.1:{port}", client._server.token), timeout_s=2)
    with pytest.raises(AdminUnreachable, match=f"127.0.0.1:{port}"):
        away.get(path_of("keys"))


def test_a_limited_principal_gets_what_it_may(plane: ControlPlane) -> None:
    reader = Principal("reader", grants=(Grant(Role.VIEWER, PLATFORM),))
    served = ServedAPI(plane.endpoints(), lambda token: reader if token == "r" else None)
    client = served.client("r")
    assert client.get(path_of("keys")) == {"keys": []}
    with pytest.raises(AdminError) as caught:
        client.post(path_of("keys"), {"app": "default", "environment": "live"})
    served.close()
    assert caught.value.status == 403


def test_an_answer_about_objects_that_asked_for_nothing_is_a_defect() -> None:
    def careless(_call: Call) -> dict[str, str]:
        return {"secret": "of another team"}

    endpoint = Endpoint("GET", "/api/v1/careless", Permission.KEY_READ, careless, "Careless", reach=Reach.OBJECT)
    served = ServedAPI([endpoint])
    status, answer, _ = ask(served, "GET", "/api/v1/careless", authorization=f"Bearer {TOKEN}")
    served.close()
    assert (status, answer["code"]) == (500, "internal_error")


def test_a_method_that_a_path_does_not_take_is_told_those_it_takes(served: ServedAPI) -> None:
    for method, path, allowed in (
        ("PUT", "/api/v1/keys", "GET, POST"),
        ("POST", "/livez", "GET"),
        ("POST", "/api/openapi.json", "GET"),
    ):
        status, answer, headers = ask(served, method, path)
        assert (status, answer["code"], headers["allow"]) == (405, "method_not_allowed", allowed)
        assert answer["message"] == f"there is no {method} {path}; that path takes {allowed}"


def test_a_call_meant_for_the_data_port_is_told_where_that_is(plane: ControlPlane, served: ServedAPI) -> None:
    status, answer, _ = ask(served, "POST", "/v1/chat/completions", b"{}")
    assert (status, answer["code"]) == (404, "not_found")
    assert "this is the admin port" in answer["message"]
    assert "`lineclear status` tells where the data port is" in answer["hint"]
    told = ServedAPI(plane.endpoints(), gateway_url="https://ai.example.com")
    for path in ("/v1/messages", "/v1"):
        _, answer, _ = ask(told, "POST", path, b"{}")
        assert answer["hint"].startswith("the data port is https://ai.example.com;"), path
    assert ask(told, "GET", "/v1beta")[1]["hint"] == "see /api/openapi.json"
    told.close()


def test_a_page_taken_for_the_address_is_left_out(served: ServedAPI) -> None:
    status, answer, _ = ask(served, "GET", "/console/api/v1/status")
    assert (status, answer["hint"]) == (404, "the admin API begins at /api/v1: leave /console out")
