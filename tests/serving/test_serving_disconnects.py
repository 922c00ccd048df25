"""Callers that hang up leave nothing behind: 200 of them, at every engine, by the engine's own counts."""

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from lineclear.serving.bundled import MINILM
from lineclear.testing.hosted import HostedModel, bundled_spec, simulated_spec, smollm2_spec

DISCONNECTS = 200
AT_ONCE = 25
SETTLED_S = 60.0
Start = Callable[..., HostedModel]


def chat(number: int) -> dict[str, Any]:
    return {
        "model": "m",
        "messages": [{"role": "user", "content": f"{number}: tell a long story."}],
        "stream": number % 2 == 0,
        "max_tokens": 400,
        "ignore_eos": True,
    }


def embeddings(number: int) -> dict[str, Any]:
    return {"model": "m", "input": [f"{number} {'word ' * 60}"] * 64}


def settled(runtime: HostedModel) -> dict[str, Any]:
    """The facts once nothing is left of the callers."""
    deadline = time.monotonic() + SETTLED_S
    facts = runtime.facts()
    while facts["running"] or facts["queued"] or facts["working"]:
        assert time.monotonic() < deadline, f"work is left over: {facts}"
        time.sleep(0.05)
        facts = runtime.facts()
    return facts


@pytest.mark.parametrize(
    ("spec", "path", "body", "headers"),
    [
        (simulated_spec("gone-simulated", slots=8, queue_max=64), "/v1/chat/completions", chat,
         {"x-lineclear-simulate": "tokens=50,event-delay-ms=200"}),
        (smollm2_spec("gone-gguf", queue_max=64), "/v1/chat/completions", chat, {}),
        (bundled_spec(MINILM, "gone-onnx", slots=2), "/v1/embeddings", embeddings, {}),
    ],
    ids=["simulated", "gguf", "onnx"],
)  # fmt: skip
def test_nothing_is_left_of_callers_that_hung_up(
    start: Start,
    spec: dict[str, object],
    path: str,
    body: Callable[[int], dict[str, Any]],
    headers: dict[str, str],
) -> None:
    runtime = start(spec)
    runtime.wait_for("ready")
    for first in range(0, DISCONNECTS, AT_ONCE):
        callers = [runtime.open(path, body(number), headers) for number in range(first, first + AT_ONCE)]
        time.sleep(0.05)  # some wait, some run, some have begun to answer
        for caller in callers:
            if first % 2:  # half of them are cut, half say goodbye first
                caller.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            caller.close()

    facts = settled(runtime)
    # Every caller is accounted for; a few answers may have been complete before the caller's end was seen.
    assert facts["cancelled"] + facts["answered"] + facts["refused"] == DISCONNECTS
    assert facts["failed"] == 0
    assert facts["cancelled"] > DISCONNECTS // 2
    steps = facts["steps"]
    time.sleep(1.0)
    assert runtime.facts()["steps"] == steps, "the engine works on although nobody waits"
    assert (
        runtime.call(path, {**body(0), "stream": False, "max_tokens": 2}, dict.fromkeys(headers, "tokens=1")).status
        == 200
    )
    assert runtime.drain() == 0
