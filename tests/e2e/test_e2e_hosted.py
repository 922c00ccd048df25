"""Hosted models on the running platform: a file of one's own, an altered file, hangs, several replicas."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pytest

from lineclear.config.settings import read_settings
from lineclear.serving.bundled import MAGIKA, VENDOR_DIR, find_artifact
from lineclear.testing import manifests, proc
from lineclear.testing.load import Call, LoadReport, chat_call, classify_call, closed_loop, messages_call
from lineclear.testing.platform import Platform
from lineclear.testing.stage import one_call

REPLICAS = 3
CONNECTIONS = 12
SILENCE_S = 10
AT_ONCE_S = 30.0
"""Of a restart that cannot be done: far from the 600 s that a large model may take, and time to replace the others."""
IN_FLIGHT_NS = 50_000_000
"""A call that began so shortly before a kill may have been on its way to the process that died."""


def hosted(name: str, **version: Any) -> dict[str, Any]:
    version = {"version": "1", "engine": "simulated", "status": "approved", **version}
    return {"kind": "Model", "name": name, "owner": manifests.TEAM, "versions": [version]}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Platform]:
    directory = tmp_path_factory.mktemp("hosted")
    documents = [
        manifests.team(),
        hosted("trio", replicas=REPLICAS),
        hosted("brief", settings={"stall_s": 1}),
        manifests.route("trio", "trio", environments=("test",)),
        manifests.route("brief", "brief", environments=("test",)),
    ]
    manifest = directory / "hosted.yaml"
    manifest.write_text(manifests.text_of(documents))
    with Platform(directory, manifests=[manifest], environment=child_environment) as platform:
        platform.wait_for(lambda: len(ready(platform, "trio@1")) == REPLICAS, "every replica")
        yield platform


def parts(platform: Platform, model: str) -> list[dict[str, Any]]:
    state = platform.admin("GET", "/api/v1/status")["processes"]
    return [part for part in state["parts"] if part.get("model") == model]


def ready(platform: Platform, model: str) -> list[dict[str, Any]]:
    return [part for part in parts(platform, model) if part["state"] == "ready"]


def work(platform: Platform, model: str) -> dict[str, Any]:
    listed = platform.admin("GET", "/api/v1/processes")["processes"]
    return next(item["work"] or {} for item in listed if item["model"] == model)


def chat(platform: Platform, route: str, directives: str = "") -> Call:
    call = chat_call(platform.keys["test"], route, "hello")
    return replace(call, headers={**call.headers, "x-lineclear-simulate": directives}) if directives else call


def replaced(platform: Platform, model: str, pid: int) -> bool:
    return any(part["pid"] != pid for part in ready(platform, model))


async def load_while(platform: Platform, disturb: Any) -> tuple[LoadReport, Any]:
    """Calls to `trio` while something happens in a thread."""
    stop = asyncio.Event()
    call = chat(platform, "trio", "tokens=2,delay-ms=3")
    load = asyncio.create_task(closed_loop(platform.gateway_url, lambda _: call, connections=CONNECTIONS, stop=stop))
    await asyncio.sleep(0.3)
    outcome = await asyncio.to_thread(disturb)
    await asyncio.sleep(0.3)
    stop.set()
    return await load, outcome


def test_a_dying_replica_fails_no_new_request(platform: Platform) -> None:
    def kill_each() -> list[int]:
        def is_back(dead: dict[str, Any]) -> bool:
            now = ready(platform, "trio@1")
            return len(now) == REPLICAS and dead["pid"] not in [part["pid"] for part in now]

        moments = []
        for part in parts(platform, "trio@1"):
            os.kill(part["pid"], signal.SIGKILL)
            moments.append(time.monotonic_ns())
            platform.wait_for(partial(is_back, part), "its successor")
        return moments

    report, moments = asyncio.run(load_while(platform, kill_each))
    begun_after = [
        answer
        for answer in report.results
        if answer.failure and not any(moment - IN_FLIGHT_NS < answer.started_ns < moment for moment in moments)
    ]
    assert begun_after == []
    assert len(report.ok) > 100
    platform.wait_for(lambda: len(ready(platform, "trio@1")) == REPLICAS, "every replica again")
    assert {part["last_end"] for part in parts(platform, "trio@1")} == {"killed by SIGKILL"}


def test_every_replica_takes_its_share_and_a_rolling_restart_fails_nothing(platform: Platform) -> None:
    before = {part["pid"] for part in parts(platform, "trio@1")}
    shares = {part["name"]: part["facts"].get("answered", 0) for part in parts(platform, "trio@1")}

    def restart() -> int:
        return platform.cli("restart").returncode

    report, code = asyncio.run(load_while(platform, restart))
    assert code == 0
    assert report.failures == {}
    after = ready(platform, "trio@1")
    assert len(after) == REPLICAS
    assert not before & {part["pid"] for part in after}

    async def some_calls() -> LoadReport:
        call = chat(platform, "trio", "tokens=2")
        return await closed_loop(platform.gateway_url, lambda _: call, connections=CONNECTIONS, count=300)

    assert asyncio.run(some_calls()).failures == {}
    platform.wait_for(
        lambda: all(part["facts"].get("answered", 0) >= 50 for part in parts(platform, "trio@1")),
        f"an even share for each, and not {shares}",
    )


def test_an_error_inside_a_stream_is_told_as_the_ledger_has_it_and_hurts_nobody_else(platform: Platform) -> None:
    for dialect in (chat_call, messages_call) * 4:
        call = dialect(platform.keys["test"], "simulated", "hello", stream=True)
        fault = replace(call, headers={**call.headers, "x-lineclear-simulate": "error-after=2"})
        answer = one_call(platform.gateway_url, fault)
        assert answer.status == 200
        assert b"This" in answer.body
        said = json.loads(answer.body.rpartition(b"data: ")[2])["error"]
        explained = platform.cli_json("explain", said["request_id"])
        assert (explained["id"], explained["error_code"]) == (answer.request_id, said["code"])
        assert explained["usage"]["output_tokens"] > 0
        assert platform.cli_json("explain", f"{answer.request_id}.1")["id"] == answer.request_id
    assert one_call(platform.gateway_url, chat(platform, "simulated")).status == 200


def test_a_silent_process_is_killed_and_replaced(platform: Platform) -> None:
    (part,) = ready(platform, "simulated@1")
    os.kill(part["pid"], signal.SIGSTOP)
    stopped = time.monotonic()
    platform.wait_for(lambda: replaced(platform, "simulated@1", part["pid"]), "a successor", SILENCE_S + 15)

    assert time.monotonic() - stopped > SILENCE_S - 3
    (part,) = parts(platform, "simulated@1")
    assert "no heartbeat for 10 s" in part["last_end"]
    (listed,) = [item for item in platform.cli_json("ps")["processes"] if item["model"] == "simulated@1"]
    assert listed["last_end"] == part["last_end"]
    platform.wait_for(lambda: work(platform, "simulated@1"), "its heartbeat")
    assert work(platform, "simulated@1")["running"] == 0
    assert one_call(platform.gateway_url, chat(platform, "simulated")).failure == ""


def test_a_stalled_engine_is_replaced_and_says_why(platform: Platform) -> None:
    (part,) = ready(platform, "brief@1")
    began = time.monotonic()
    stalled = one_call(platform.gateway_url, chat(platform, "brief", "stall"))
    assert stalled.failure
    platform.wait_for(lambda: replaced(platform, "brief@1", part["pid"]), "a successor")

    assert time.monotonic() - began < 15
    (part,) = parts(platform, "brief@1")
    assert "no completed step" in part["last_end"]
    platform.wait_for(lambda: one_call(platform.gateway_url, chat(platform, "brief")).failure == "", "an answer")


@pytest.fixture
def own_model(tmp_path: Path) -> Path:
    """A real net in a folder of its own, with its labels beside it."""
    artifact = find_artifact(MAGIKA, read_settings().model_store)
    assert artifact is not None, "magika is not on this machine: run `lineclear models pull magika`"
    (tmp_path / "kinds.onnx").write_bytes(artifact.read_bytes())
    (tmp_path / "labels.json").write_bytes((VENDOR_DIR / "magika-labels.json").read_bytes())
    return tmp_path / "kinds.onnx"


def serve(platform: Platform, path: Path, *more: str) -> dict[str, Any]:
    settings = ("--set", "task=classification", "--set", "reads=bytes")
    return dict(platform.cli_json("models", "serve", str(path), "--name", "kinds", *settings, *more))


def test_a_file_of_ones_own_from_serve_to_tampering_to_unloading(platform: Platform, own_model: Path) -> None:
    served = serve(platform, own_model)
    assert (served["state"], served["engine"], served["environment"]) == ("ready", "onnx", "test")
    assert served["url"] == f"{platform.gateway_url}/v1/classify"
    call = classify_call(platform.keys["test"], "kinds", "import os\n\n\ndef main():\n    print(os.name)\n")
    answer = one_call(platform.gateway_url, call)
    assert answer.json["data"][0]["label"] == "python"
    assert answer.headers["x-lineclear-model"] == served["model"]

    content = bytearray(own_model.read_bytes())
    content[-1] ^= 1
    own_model.write_bytes(content)
    (part,) = ready(platform, served["model"])
    os.kill(part["pid"], signal.SIGKILL)
    refused = "is not the one in the catalogue"
    platform.wait_for(lambda: refused in parts(platform, served["model"])[0]["last_end"], "the refusal in status")
    assert refused in platform.cli("status").stdout
    assert one_call(platform.gateway_url, call).status in (502, 503)
    content[-1] ^= 1
    own_model.write_bytes(content)
    platform.wait_for(lambda: ready(platform, served["model"]), "the restored file to be served", 30.0)

    (part,) = ready(platform, served["model"])
    newer = onnx.load_model(str(own_model))
    newer.producer_name = "another"
    onnx.save_model(newer, str(own_model.with_name("newer.onnx")))
    again = serve(platform, own_model.with_name("newer.onnx"), "--replicas", "2")
    assert again["model"] != served["model"]
    assert len(ready(platform, again["model"])) == 2
    assert one_call(platform.gateway_url, call).headers["x-lineclear-model"] == again["model"]
    # The version that no route names any more is unloaded: its process ends, and its memory is free.
    platform.wait_for(lambda: not proc.is_running(part["pid"]), "the old version's end")
    card = platform.cli_json("models", "show", "kinds")["manifest"]
    assert len(card["versions"]) == 2


def test_what_cannot_be_served_is_said_before_anything_changes(platform: Platform, own_model: Path) -> None:
    revision = platform.admin("GET", "/api/v1/status")["revision"]
    pickled = own_model.with_name("model.pt")
    pickled.write_bytes(b"PK\x03\x04" + bytes(100))
    disguised = own_model.with_name("model.gguf")
    disguised.write_bytes(b"\x80\x04" + bytes(100))

    for path, words in ((pickled, "may run code"), (disguised, "a pickle"), (own_model, "tokenizer.json is missing")):
        refused = platform.cli("models", "serve", str(path), "--name", "never")
        assert refused.returncode in (1, 2)
        assert words in refused.stderr
    live = platform.cli("models", "serve", str(own_model), "--name", "never", "--env", "live", "--set", "reads=bytes",
                        "--set", "task=classification")  # fmt: skip
    assert live.returncode == 2
    assert "--status approved" in live.stderr
    assert platform.admin("GET", "/api/v1/status")["revision"] == revision


def test_a_restart_says_at_once_which_file_is_spoilt_and_the_old_process_serves_on(
    platform: Platform, own_model: Path
) -> None:
    served = serve(platform, own_model, "--name", "spoilt")
    call = classify_call(platform.keys["test"], "spoilt", "import os\n")
    (before,) = ready(platform, served["model"])
    content = own_model.read_bytes()
    own_model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    def restart() -> str:
        began = time.monotonic()
        done = platform.cli("restart")
        assert time.monotonic() - began < AT_ONCE_S
        assert done.returncode == 1
        assert "is not the one in the catalogue" in done.stderr
        assert "`lineclear restart` tries again" in done.stderr
        return done.stderr

    told = restart()
    assert f"the successor of {before['name']} did not become ready: " in told
    assert "the old one goes on" in told
    assert [part["pid"] for part in ready(platform, served["model"])] == [before["pid"]]
    assert one_call(platform.gateway_url, call).status == 200

    os.kill(before["pid"], signal.SIGKILL)
    refused = "is not the one in the catalogue"
    platform.wait_for(lambda: refused in parts(platform, served["model"])[0]["last_end"], "the refusal of the next")
    assert "the old one goes on" not in restart()
    own_model.write_bytes(content)
    assert platform.cli("restart").returncode == 0
    assert one_call(platform.gateway_url, call).status == 200
