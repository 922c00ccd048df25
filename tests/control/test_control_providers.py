"""Tests of a provider over a real socket: what proves a key, what does not, and what each failure says to do."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lineclear.base.secret import Secret
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.providers.trial import ProviderTrial, ProviderTrials, Verdict
from lineclear.store import control_rows as rows
from lineclear.testing.control_plane import ControlPlane, ServedAPI
from lineclear.testing.upstream_process import UpstreamProcess

KEY = "sk-good-0123456789"
MODELS = ("small-1", "large-1")


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpstreamProcess]:
    with UpstreamProcess(tmp_path_factory.mktemp("vendor") / "log.jsonl") as upstream:
        yield upstream


def add(plane: ControlPlane, base_url: str, *, dialect: str = "openai", key: str = KEY, model: str = "") -> None:
    """A provider `acme` with a secret, and perhaps a version at it."""
    plane.secrets.put("ann", "acme", Secret(key))
    versions = f"versions: [{{version: '1', provider: acme, upstream_id: {model}}}]\n"
    plane.apply(
        f"kind: Provider\nname: acme\ndialects: [{dialect}]\nbase_url: {base_url}\nprivate_network: true\n"
        "credential: secret:acme\n" + (f"---\nkind: Model\nname: m\nowner: default\n{versions}" if model else "")
    )


def trial(plane: ControlPlane, model: str | None = None) -> ProviderTrial:
    return ProviderTrials(plane.publisher).test("ann", "acme", "test", model)


def told(found: ProviderTrial) -> list[tuple[str, int | None]]:
    return [(step.what, step.status) for step in found.steps]


def test_a_list_that_needs_the_key_proves_it(plane: ControlPlane, vendor: UpstreamProcess) -> None:
    vendor.account(KEY, MODELS)
    add(plane, vendor.base_url, model="small-1")
    found = trial(plane)
    assert (found.ok, found.message, found.models) == (True, "it answers and lists 2 models", MODELS)
    assert told(found) == [("list of models", 200), ("list of models without the credential", 401)]
    assert all(step.latency_ms > 0 for step in found.steps)


def test_a_public_list_proves_nothing_and_a_model_is_asked(plane: ControlPlane, vendor: UpstreamProcess) -> None:
    vendor.account(KEY, MODELS, is_list_public=True)
    add(plane, vendor.base_url)
    unproven = trial(plane)
    assert (unproven.verdict, "--model MODEL" in unproven.hint) == (Verdict.UNPROVEN, True)
    assert trial(plane, "small-1").message == "small-1 answered"
    plane.secrets.put("ann", "acme", Secret("sk-wrong"))
    wrong = trial(plane, "small-1")
    assert (wrong.verdict, wrong.hint) == (Verdict.REFUSED, "set the key anew: `lineclear secrets set acme`")


def test_a_vendor_without_a_list_is_asked_for_a_model_of_the_catalogue(
    plane: ControlPlane, vendor: UpstreamProcess
) -> None:
    vendor.account(KEY, ())
    add(plane, vendor.base_url, model="small-1")
    assert told(trial(plane)) == [("list of models", 404), ("one short answer of small-1", 200)]


def test_the_other_name_of_the_limit_is_tried(plane: ControlPlane, vendor: UpstreamProcess) -> None:
    vendor.account(KEY, ())
    vendor.script("thinker", following=["status=400"])
    add(plane, vendor.base_url, model="thinker")
    found = trial(plane)
    assert (found.ok, [status for _, status in told(found)]) == (True, [404, 400, 200])


def test_a_wrong_key_is_told_with_the_next_command(plane: ControlPlane, vendor: UpstreamProcess) -> None:
    vendor.account(KEY, MODELS)
    add(plane, vendor.base_url, key="sk-wrong")
    found = trial(plane)
    assert (found.verdict, found.message) == (Verdict.REFUSED, "it refused the credential")
    assert found.hint == "set the key anew: `lineclear secrets set acme`"
    assert "sk-wrong" not in repr(found)


def test_anthropics_dialect_is_spoken(plane: ControlPlane, vendor: UpstreamProcess) -> None:
    vendor.account(KEY, ())
    add(plane, vendor.base_url.removesuffix("/v1"), dialect="anthropic", model="claude")
    assert told(trial(plane)) == [("list of models", 404), ("one short answer of claude", 200)]
    assert vendor.dispatches()[-1]["path"] == "/v1/messages"


def test_models_that_the_list_does_not_name_are_told(plane: ControlPlane, vendor: UpstreamProcess) -> None:
    vendor.account(KEY, MODELS)
    add(plane, vendor.base_url, model="gone-1")
    found = trial(plane)
    assert (found.ok, found.missing_models) == (True, ("gone-1",))
    assert "does not name gone-1" in found.hint


@pytest.mark.parametrize(
    ("script", "words"),
    [("status=402", "out of money"), ("status=429", "limits this account"), ("status=500", "fault")],
)
def test_each_status_of_a_model_means_something(
    plane: ControlPlane, vendor: UpstreamProcess, script: str, words: str
) -> None:
    vendor.account(KEY, ())
    vendor.script("flaky", always=script)
    add(plane, vendor.base_url, model="flaky")
    found = trial(plane)
    assert (found.verdict, words in found.message, bool(found.hint)) == (Verdict.REFUSED, True, True)


def test_nobody_there_and_nobody_allowed(plane: ControlPlane) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    add(plane, f"http://127.0.0.1:{port}/v1")
    nobody = trial(plane)
    assert (nobody.verdict, nobody.message) == (Verdict.UNREACHABLE, "the target refused the connection")
    plane.apply(
        f"kind: Provider\nname: acme\ndialects: [openai]\nbase_url: https://127.0.0.1:{port}\ncredential: secret:acme\n"
    )
    refused = trial(plane)
    assert (refused.verdict, "private_network: true" in refused.hint) == (Verdict.UNREACHABLE, True)


def test_a_secret_that_was_taken_away_is_told_before_anything_is_called(
    plane: ControlPlane, vendor: UpstreamProcess
) -> None:
    add(plane, vendor.base_url)
    plane.secrets.remove("ann", "acme", is_forced=True)
    found = trial(plane)
    assert (found.verdict, found.steps, found.hint) == (Verdict.REFUSED, (), "`lineclear secrets set acme`")


def test_a_test_is_on_record_without_the_key(plane: ControlPlane, vendor: UpstreamProcess) -> None:
    vendor.account(KEY, MODELS)
    add(plane, vendor.base_url)
    trial(plane)
    with plane.database.read() as tx:
        last = rows.read_audit(tx, 0, 1000)[-1]
    assert (last.actor, last.action, last.object) == ("ann", "provider.tested", "Provider/acme")
    assert last.after == "works: list of models 200; list of models without the credential 401"


def test_an_unknown_provider_is_told_the_near_one(plane: ControlPlane, vendor: UpstreamProcess) -> None:
    add(plane, vendor.base_url)
    with pytest.raises(Refused) as refused:
        ProviderTrials(plane.publisher).test("ann", "acne", "test")
    assert (refused.value.code, refused.value.hint) == (AdminCode.NOT_FOUND, "did you mean `acme`?")


@pytest.mark.parametrize("body", ["<html>", "[]", "{}", '{"data": 5}', '{"data": [5, {"id": 7}]}', '[{"id": "x"}]'])
def test_strange_lists_are_read_as_far_as_they_are_lists(plane: ControlPlane, body: str) -> None:
    with FixedAnswer(body) as base_url:
        add(plane, base_url)
        found = trial(plane)
    assert found.models == (("x",) if "x" in body else ())
    assert found.verdict is Verdict.UNPROVEN


class FixedAnswer:
    """A server that answers everything with one text."""

    def __init__(self, body: str) -> None:
        self._body = body.encode()
        self._socket = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(self._body)}\r\nconnection: close\r\n\r\n"
                connection.sendall(head.encode() + self._body)

    def __exit__(self, *_: Any) -> None:
        self._socket.close()


def test_the_answer_of_the_endpoint_is_what_the_test_showed(plane: ControlPlane, vendor: UpstreamProcess) -> None:
    vendor.account(KEY, MODELS)
    add(plane, vendor.base_url)
    served = ServedAPI(plane.endpoints())
    try:
        answer = served.client().post("/api/v1/providers/acme/test", {})
    finally:
        served.close()
    assert (answer["ok"], answer["verdict"], answer["credential"]) == (True, "works", "secret:acme")
    assert json.dumps(answer).count(KEY) == 0
