"""Faults of callers, through real sockets and the running platform: rows C1 to C5 of the fault matrix.

A caller who leaves stops the vendor's work at once, pays for what was delivered, and holds nothing back.
"""

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from lineclear.testing import manifests, proc
from lineclear.testing.load import Call, chat_call
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

CANCEL_MS_MAX = 100
"""Within this the vendor sees the hang-up."""
SLACK_MS = 400
"""What a busy machine may add."""
BIG_TOKENS = 6000
BIG_TOKEN_BYTES = 4000
"""24 MB of stream: far more than any buffer may hold."""
RSS_SLACK_BYTES = 6 * 2**20
STALL_S = 60.0


def documents(port: int) -> list[Document]:
    budget = {"usd_per_month": "100", "mode": "strict"}
    return [
        manifests.team(),
        manifests.provider("vendor", port),
        manifests.model("target", "vendor"),
        manifests.route("plain", "target", budget=budget),
        manifests.route("untouched", "target", budget=budget),
    ]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("callers"), documents, environment=child_environment) as stage:
        yield stage


def connect(stage: Stage, receive_bytes: int | None = None) -> socket.socket:
    parts = urlsplit(stage.platform.gateway_url)
    sock = socket.socket()
    if receive_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.settimeout(20)
    sock.connect((parts.hostname, parts.port))
    return sock


def raw(call: Call, extra: str = "") -> bytes:
    lines = [f"POST {call.path} HTTP/1.1", "host: lineclear.test"]
    lines += [f"{name}: {value}" for name, value in call.headers.items()]
    return ("\r\n".join([*lines, f"content-length: {len(call.body)}"]) + f"\r\n{extra}\r\n").encode() + call.body


def read_until(sock: socket.socket, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        piece = sock.recv(65536)
        if not piece:
            raise AssertionError(f"the connection ended before {mark!r}: {data!r}")
        data += piece
    return data


def header(data: bytes, name: str) -> str:
    for line in data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n"):
        if line.lower().startswith(f"{name}:"):
            return line.partition(":")[2].strip()
    raise AssertionError(f"no {name} in {data!r}")


def wait_for_dispatch(stage: Stage, tag: str, count: int) -> str:
    """The exchange id of the dispatch after the first `count`."""
    stage.platform.wait_for(lambda: len(stage.upstream.dispatches()) > count, f"the dispatch of {tag}")
    return str(stage.upstream.dispatches()[count]["x_request_id"]).rpartition(".")[0]


def hang_up_ms(stage: Stage, request_id: str, left_unix_us: int) -> float:
    """How long after `left_unix_us` the vendor saw its client leave."""

    def seen() -> list[dict[str, Any]]:
        return [line for line in stage.upstream.facts()["hung_up"] if line["x_request_id"].startswith(request_id)]

    stage.platform.wait_for(seen, "the vendor to see the hang-up", 10.0)
    return float(seen()[0]["t_us"] - left_unix_us) / 1000


def outcome(stage: Stage, request_id: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def ended() -> bool:
        done = stage.platform.cli("explain", request_id, "-o", "json")
        if done.returncode == 0 and json.loads(done.stdout).get("outcome"):
            found.append(json.loads(done.stdout))
        return bool(found)

    stage.platform.wait_for(ended, f"the settle of {request_id}", 15.0)
    return found[0]


def remaining_usd(stage: Stage, route: str) -> float:
    answer = stage.call(chat_call(stage.key, route, "[[tokens=1]]", max_tokens=1))
    assert answer.failure == ""
    return float(answer.headers["x-lineclear-budget-remaining-usd"])


def test_c1_a_caller_who_leaves_before_dispatch_costs_nothing(stage: Stage) -> None:
    before_usd = remaining_usd(stage, "untouched")
    before = len(stage.upstream.dispatches())
    for cut in (0.3, 0.9):
        with connect(stage) as sock:
            request = raw(chat_call(stage.key, "untouched", "never sent"))
            sock.sendall(request[: int(len(request) * cut)])
            time.sleep(0.05)  # the bytes reach the server before the end of file does
    after_usd = remaining_usd(stage, "untouched")
    assert len(stage.upstream.dispatches()) == before + 1, "only the call that asks for the remaining budget"
    assert before_usd - after_usd < 0.001


@pytest.mark.parametrize("stream", [True, False], ids=["c2-stream", "c4-whole"])
def test_c2_c4_a_caller_who_leaves_while_waiting_cancels_the_vendor(stage: Stage, stream: bool) -> None:
    count = len(stage.upstream.dispatches())
    with connect(stage) as sock:
        sock.sendall(raw(chat_call(stage.key, "plain", "[[hang]]", stream=stream)))
        request_id = wait_for_dispatch(stage, "a hanging call", count)
        left_us = time.time_ns() // 1000
    assert hang_up_ms(stage, request_id, left_us) <= CANCEL_MS_MAX + SLACK_MS
    explained = outcome(stage, request_id)
    assert explained["outcome"] == "client_gone"
    assert len(stage.dispatches_of(request_id)) == 1


def test_c3_a_caller_who_leaves_inside_a_stream_pays_for_what_came(stage: Stage) -> None:
    with connect(stage) as sock:
        sock.sendall(raw(chat_call(stage.key, "plain", "[[tokens=500,event-delay-ms=20]]", stream=True)))
        data = read_until(sock, b"w9 ")
        request_id = header(data, "x-request-id")
        left_us = time.time_ns() // 1000
    assert hang_up_ms(stage, request_id, left_us) <= CANCEL_MS_MAX + SLACK_MS
    explained = outcome(stage, request_id)
    assert explained["outcome"] == "client_gone"
    assert explained["cost_basis"] == "estimated"
    assert 1 <= explained["usage"]["output_tokens"] < 250
    assert float(explained["cost_usd"]) > 0


def test_c5_a_slow_reader_slows_the_vendor_and_gets_everything(stage: Stage) -> None:
    (gateway,) = stage.platform.processes("gateway")
    text = f"[[tokens={BIG_TOKENS},token-bytes={BIG_TOKEN_BYTES}]]"
    before = proc.rss_bytes(gateway)
    with connect(stage, receive_bytes=32 * 1024) as sock:
        sock.sendall(raw(chat_call(stage.key, "plain", text, stream=True)))
        data = bytearray(read_until(sock, b"w0 "))
        rss = settled(lambda: proc.rss_bytes(gateway))
        assert rss - before <= RSS_SLACK_BYTES, "the stream is held back, not buffered"
        while b"data: [DONE]" not in data[-200:]:
            piece = sock.recv(1 << 20)
            assert piece, "the stream ended early"
            data += piece
    assert data.count(b"data: {") >= BIG_TOKENS
    explained = outcome(stage, header(bytes(data), "x-request-id"))
    assert explained["outcome"] == "ok"


def test_c5_a_reader_who_stops_for_good_is_cut_and_billed(stage: Stage, full_form: bool) -> None:
    if not full_form:
        pytest.skip(f"waits {STALL_S:g} s for the stalled write; LINECLEAR_TEST_FULL=1 runs it")
    text = f"[[tokens={BIG_TOKENS},token-bytes={BIG_TOKEN_BYTES}]]"
    with connect(stage, receive_bytes=32 * 1024) as sock:
        sock.sendall(raw(chat_call(stage.key, "plain", text, stream=True)))
        request_id = header(read_until(sock, b"w0 "), "x-request-id")
        stage.platform.wait_for(
            lambda: [line for line in stage.upstream.facts()["hung_up"] if line["x_request_id"].startswith(request_id)],
            "the stalled stream to be cut",
            STALL_S + 20,
        )
    assert outcome(stage, request_id)["outcome"] == "client_gone"


def settled(read: Callable[[], int]) -> int:
    """The reading once it stays the same for half a second."""
    deadline = time.monotonic() + 8
    last, since = read(), time.monotonic()
    while time.monotonic() - since < 0.5 and time.monotonic() < deadline:
        value = read()
        if abs(value - last) > 64 * 1024:
            last, since = value, time.monotonic()
        time.sleep(0.02)
    return last
