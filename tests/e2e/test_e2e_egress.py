"""A provider behind an egress proxy: calls and trials go through it, and what it refuses is explained."""

from collections.abc import Iterator, Mapping

import pytest

from lineclear.testing import manifests
from lineclear.testing.load import chat_call
from lineclear.testing.manifests import Document
from lineclear.testing.proxy import ProxyScript, ScriptedProxy
from lineclear.testing.stage import Stage

CREDENTIAL = "ann:s3cret/way+out"
TARGET = "vendor.example:8000"


@pytest.fixture(scope="module")
def proxy() -> Iterator[ScriptedProxy]:
    with ScriptedProxy(ProxyScript(credential=CREDENTIAL)) as found:
        yield found


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str], proxy: ScriptedProxy
) -> Iterator[Stage]:
    def documents(port: int) -> list[Document]:
        # The name exists for the proxy alone.
        proxy.script.leads[TARGET] = ("127.0.0.1", port)
        way = {"egress_proxy": proxy.url, "egress_proxy_credential": "${WAY_OUT}"}
        far = {**manifests.provider("far", 8000), **way, "base_url": f"http://{TARGET}/v1"}
        return [
            manifests.team(),
            far,
            manifests.provider("near", port),
            manifests.model("through", "far"),
            manifests.model("straight", "near"),
            manifests.route("chat", "through"),
            manifests.route("careful", "through", fallback=["straight"]),
        ]

    directory = tmp_path_factory.mktemp("egress")
    secret = directory / "way-out"
    secret.write_text(CREDENTIAL + "\n")
    # Wherever these lead to, nothing may go there.
    wrong = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:1")
    environment = {**child_environment, "WAY_OUT_FILE": str(secret), **wrong}
    with Stage(directory, documents, environment=environment) as stage:
        yield stage


def test_calls_go_through_the_proxy_whole_and_streamed(stage: Stage, proxy: ScriptedProxy) -> None:
    for stream in (False, True):
        answer = stage.call(chat_call(stage.key, "chat", "hello", stream=stream))
        assert (answer.status, answer.failure) == (200, "")
        assert len(stage.dispatches_of(answer.request_id)) == 1
    assert set(proxy.script.asked) == {TARGET}
    assert proxy.script.other == []


def test_a_trial_of_the_provider_goes_the_same_way(stage: Stage, proxy: ScriptedProxy) -> None:
    before = len(proxy.script.asked)
    done = stage.platform.cli("providers", "test", "far", "--model", "through", "-o", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert proxy.script.asked[before:] == [TARGET] * (len(proxy.script.asked) - before)
    assert len(proxy.script.asked) > before


def test_what_the_proxy_refuses_is_explained_and_the_fallback_answers(stage: Stage, proxy: ScriptedProxy) -> None:
    assert stage.platform.cli("restart").returncode == 0  # no tunnel is open any more
    proxy.script.credential = "other:credential"
    try:
        refused = stage.call(chat_call(stage.key, "chat", "hello"))
        assert refused.status >= 500
        assert stage.dispatches_of(refused.request_id) == []
        attempts = stage.explain(refused.request_id)["attempts"]
        assert {attempt["attempt_class"] for attempt in attempts} == {"not_sent"}
        assert "the egress proxy refuses these credentials" in refused.json["error"]["message"]
        saved = stage.call(chat_call(stage.key, "careful", "hello"))
        assert saved.status == 200
        assert saved.headers["x-lineclear-provider"] == "near"
    finally:
        proxy.script.credential = CREDENTIAL


def test_its_credential_stands_nowhere_in_clear(stage: Stage) -> None:
    data = stage.platform.data_dir
    for path in [path for path in data.rglob("*") if path.is_file()]:
        assert b"s3cret/way" not in path.read_bytes(), path
    assert "s3cret/way" not in stage.platform.log_tail()
    exported = stage.platform.cli("export").stdout
    assert "egress_proxy_credential: ${WAY_OUT}" in exported
