"""The admin port answers whoever has something to say, whoever else says nothing or waits for somebody slow."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from lineclear.api.connection import BODY_BYTES_PER_S_LEAST, CONNECTIONS_MAX, REQUEST_WAIT_S
from lineclear.control.endpoint import WAITING_CALLS_MAX
from lineclear.control.keys import http as keys_http
from lineclear.control.trials import http as trials_http
from lineclear.testing.control_plane import TOKEN, ControlPlane, ServedAPI

HEAD = f"POST /api/v1/plans HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n".encode()
BODY = json.dumps({"files": [{"name": "m.yaml", "text": "kind: Team\nname: sales\n"}]}).encode()


def connect(served: ServedAPI) -> socket.socket:
    url = urlsplit(served.url)
    return socket.create_connection((str(url.hostname), url.port), timeout=REQUEST_WAIT_S + 10)


def status_of(served: ServedAPI) -> int:
    url = urlsplit(served.url)
    connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=10)
    try:
        connection.request("GET", "/api/v1/status", headers={"authorization": f"Bearer {TOKEN}"})
        return connection.getresponse().status
    finally:
        connection.close()


def read_to_end(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_silent_connections_do_not_put_the_port_out_of_service(served: ServedAPI) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(served)) for _ in range(CONNECTIONS_MAX + 8)]
        assert status_of(served) == 200
        # The oldest of them gave way.
        assert silent[0].recv(1) == b""
        silent[-1].settimeout(0.2)
        with pytest.raises(TimeoutError):
            silent[-1].recv(1)


@pytest.mark.parametrize(
    ("sent", "is_told"),
    [
        (b"", False),
        (b"\r\n\r\n", False),
        (b"GET /livez HT", True),
        (HEAD + b"content-length: 100\r\n\r\n{", True),
    ],
)
def test_request_that_does_not_come_ends_its_connection(
    served: ServedAPI, caplog: pytest.LogCaptureFixture, sent: bytes, is_told: bool
) -> None:
    with connect(served) as connection:
        began = time.monotonic()
        connection.sendall(sent)
        answer = read_to_end(connection)
        assert time.monotonic() - began < REQUEST_WAIT_S + 5
        assert (b"HTTP/1.1 408" in answer) is is_told
        if is_told:
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "request_timeout"
    assert not caplog.records


def test_line_ends_after_an_answer_keep_no_connection(served: ServedAPI) -> None:
    with connect(served) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(8) == b"HTTP/1.1"
        began = time.monotonic()
        # One at a time, well within what an idle connection is given.
        for _ in range(3):
            time.sleep(0.5)
            connection.sendall(b"\r\n")
        assert read_to_end(connection).endswith(b"ok\n")
        assert time.monotonic() - began < REQUEST_WAIT_S + 5


def test_long_body_that_keeps_coming_is_read(served: ServedAPI) -> None:
    padding = b" " * (BODY_BYTES_PER_S_LEAST * 4)
    with connect(served) as connection:
        length = len(BODY) + len(padding)
        connection.sendall(HEAD + f"connection: close\r\ncontent-length: {length}\r\n\r\n".encode() + padding)
        # Longer than without a body, less long than these bytes are given.
        time.sleep(REQUEST_WAIT_S + 1)
        connection.sendall(BODY)
        assert b"HTTP/1.1 200" in read_to_end(connection)


@pytest.fixture
def slow_port() -> Iterator[tuple[str, list[socket.socket]]]:
    """A data port that takes connections and never answers."""
    held: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                held.append(listener.accept()[0])
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", held
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for connection in held:
        connection.close()


def test_calls_that_wait_for_a_slow_model_leave_room_for_others(
    plane: ControlPlane, slow_port: tuple[str, list[socket.socket]]
) -> None:
    url, held = slow_port
    trials = trials_http.endpoints(plane.keys, plane.database, plane.clock, url)
    served = ServedAPI((*trials, *keys_http.endpoints(plane.keys)))
    answers: list[tuple[int, bytes]] = []

    def send() -> None:
        parts = urlsplit(served.url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        connection.request("POST", "/api/v1/test-messages", json.dumps({"route": "simulated"}), headers)
        response = connection.getresponse()
        answers.append((response.status, response.read()))
        connection.close()

    senders = [threading.Thread(target=send) for _ in range(40)]
    for sender in senders:
        sender.start()
    deadline = time.monotonic() + 20
    while len(answers) + len(held) < len(senders) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(held) == WAITING_CALLS_MAX
    assert {status for status, _ in answers} == {503}
    assert json.loads(answers[0][1])["hint"]
    assert served.client().get("/api/v1/keys")["keys"]
    for connection in held:
        connection.close()
    for sender in senders:
        sender.join(20)
    assert len(answers) == len(senders)
    served.close()
