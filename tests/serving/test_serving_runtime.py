"""A runtime's life as the supervisor sees it: states, queue, cancellation, stall, drain, succession."""

import socket
import stat
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lineclear.testing.hosted import HostedModel, simulated_spec, smollm2_spec

CHAT = "/v1/chat/completions"
Start = Callable[..., HostedModel]


def body(**more: object) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "hello"}], **more}


def simulate(directives: str) -> dict[str, str]:
    return {"x-lineclear-simulate": directives}


def until(runtime: HostedModel, **facts: object) -> dict[str, Any]:
    """The runtime's facts once they hold these values."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        seen = runtime.facts()
        if all(seen[name] == value for name, value in facts.items()):
            return seen
        time.sleep(0.01)
    raise AssertionError(f"{facts} never came; last seen: {runtime.facts()}")


def test_a_simulated_runtime_goes_through_its_states_and_leaves(start: Start) -> None:
    runtime = start(simulated_spec("life"))
    ready = runtime.wait_for("ready")

    assert ready["facts"] == {"model": "simulated@1", "engine": "simulated"}
    assert "golden" in ready["reason"]
    assert stat.S_IMODE(runtime.socket_path.stat().st_mode) == 0o600
    assert runtime.call("/livez").status == 200
    assert runtime.facts()["state"] == "ready"
    assert runtime.drain() == 0
    runtime.wait_for("unloaded")
    assert runtime.names() == ["waiting", "queued", "loading", "warming", "ready", "draining", "unloaded"]
    assert not runtime.socket_path.exists()


def test_a_full_queue_is_overloaded_and_the_queue_keeps_its_order(start: Start) -> None:
    runtime = start(simulated_spec("queue", slots=1, queue_max=2))
    runtime.wait_for("ready")
    running = runtime.open(CHAT, body(stream=True), simulate("tokens=3,event-delay-ms=10,hang-after=2"))
    until(runtime, running=1)
    first = runtime.open(CHAT, body(), simulate("tokens=1"))
    until(runtime, queued=1)
    second = runtime.open("/v1/messages", body(max_tokens=9), simulate("tokens=2"))
    until(runtime, queued=2)

    refused = runtime.call("/v1/messages", body(max_tokens=9))
    assert refused.status == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json["error"]["type"] == "overloaded_error"
    assert until(runtime, queued=2)["refused"] == 1

    running.close()  # the caller hangs up: its slot goes to the next in the queue
    assert first.read().json["usage"]["completion_tokens"] == 1
    assert second.read().json["usage"]["output_tokens"] == 2
    assert until(runtime, running=0, queued=0)["cancelled"] == 1
    first.close()
    second.close()


def test_who_hangs_up_in_the_queue_leaves_it(start: Start) -> None:
    runtime = start(simulated_spec("leave", slots=1, queue_max=1))
    runtime.wait_for("ready")
    running = runtime.open(CHAT, body(), simulate("hang"))
    until(runtime, running=1)
    waiting = runtime.open(CHAT, body())
    until(runtime, queued=1)
    waiting.close()

    until(runtime, running=1, queued=0, cancelled=1)
    running.close()
    until(runtime, running=0, queued=0, cancelled=2)
    assert runtime.call(CHAT, body()).status == 200


def test_a_stalled_engine_ends_the_process_and_a_hang_does_not(start: Start) -> None:
    runtime = start(simulated_spec("stall", stall_s=1))
    runtime.wait_for("ready")
    hanging = runtime.open(CHAT, body(), simulate("hang"))
    until(runtime, running=1)
    with pytest.raises(subprocess.TimeoutExpired):
        runtime.process.wait(2.0)  # two stall times

    stalling = runtime.open(CHAT, body(), simulate("stall"))
    assert "no completed step" in runtime.wait_for("failed")["reason"]
    assert runtime.process.wait(20) == 3
    hanging.close()
    stalling.close()


def test_draining_finishes_what_runs_and_takes_nothing_new(start: Start) -> None:
    runtime = start(simulated_spec("drain"))
    runtime.wait_for("ready")
    with ThreadPoolExecutor() as pool:
        running = runtime.open(CHAT, body(stream=True), simulate("tokens=40,event-delay-ms=20"))
        until(runtime, running=1)
        left = pool.submit(runtime.drain)
        runtime.wait_for("draining")
        answer = running.read()
        assert answer.body.endswith(b"data: [DONE]\n\n")
        running.close()
        assert left.result() == 0
    with pytest.raises(OSError, match=r"."), socket.socket(socket.AF_UNIX) as late:
        late.connect(str(runtime.socket_path))


def test_a_successor_takes_the_socket_when_it_is_ready(start: Start) -> None:
    first = start(simulated_spec("next"))
    first.wait_for("ready")
    inode = first.socket_path.stat().st_ino
    second = start(simulated_spec("next"), life=1)
    second.wait_for("ready")

    assert second.socket_path.stat().st_ino != inode
    assert first.drain() == 0
    assert second.call(CHAT, body()).status == 200


def test_a_dead_predecessors_socket_is_no_obstacle(start: Start) -> None:
    first = start(simulated_spec("dead"))
    first.wait_for("ready")
    first.process.kill()
    first.process.wait()
    assert first.socket_path.exists()

    second = start(simulated_spec("dead"), life=1)
    second.wait_for("ready")
    assert second.call(CHAT, body()).status == 200


def test_a_tampered_file_refuses_to_serve(start: Start, tmp_path: Path) -> None:
    spec = smollm2_spec("tampered")
    copy = tmp_path / "model.gguf"
    content = bytearray(Path(str(spec["artifact"])).read_bytes()[:100_000])
    content[5000] ^= 1
    copy.write_bytes(content)
    runtime = start({**spec, "artifact": str(copy)})

    assert "sha256" in runtime.wait_for("failed")["reason"]
    assert runtime.process.wait(20) == 1
    assert runtime.names()[-2:] == ["verifying", "failed"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"artifact": "/nowhere/model.gguf"}, "cannot be read"),
        ({"sha256": None}, "no sha256"),
        ({"settings": {"thread": 2}}, "no setting 'thread'"),
        ({"settings": {"slots": 0}}, "from 1 to 64"),
        ({"artifact": None}, "names no model file"),
    ],
)
def test_what_cannot_be_served_is_said(start: Start, change: dict[str, object], reason: str) -> None:
    runtime = start({**smollm2_spec("wrong"), **change})

    assert reason in runtime.wait_for("failed")["reason"]
    assert runtime.process.wait(20) == 1


def test_a_golden_sample_that_fails_is_not_ready(start: Start) -> None:
    runtime = start(simulated_spec("golden", golden_expect="never said"))

    assert "'never said'" in runtime.wait_for("failed")["reason"]
    assert runtime.process.wait(20) == 1
    assert "ready" not in runtime.names()
