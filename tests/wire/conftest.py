"""Recordings to read, and a loopback server that answers with given bytes, cut where a test says."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

RECORDINGS = Path(__file__).parent.parent / "recordings"
ALL_RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
"""The whole collection, where somebody has it beside the repository."""


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="session")
def recordings() -> Callable[[str], list[dict[str, Any]]]:
    """The recordings of a dialect: `openai_chat` or `anthropic_messages`."""
    return lambda name: _read(RECORDINGS / f"{name}.jsonl")


@pytest.fixture(scope="session")
def all_recordings() -> Callable[[str], list[dict[str, Any]]]:
    """Ours, and the rest of the collection where it is at hand."""

    def read(name: str) -> list[dict[str, Any]]:
        whole = ALL_RECORDINGS / f"{name}.jsonl"
        return _read(whole) if whole.exists() else _read(RECORDINGS / f"{name}.jsonl")

    return read


@contextmanager
def _serving(pieces: Sequence[bytes], content_type: str) -> Iterator[str]:
    """Answer one request with these pieces, each in a write of its own; the address to call."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                received = b""
                while b"\r\n\r\n" not in received:
                    received += connection.recv(65536)
                head, _, body = received.partition(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                while len(body) < length:
                    body += connection.recv(65536)
                answer = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n"
                connection.sendall(answer.encode())
                for piece in pieces:
                    connection.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join(timeout=10)


@pytest.fixture
def serving() -> Callable[[Sequence[bytes], str], Any]:
    """`with serving(pieces, content_type) as url:` answers one request."""
    return _serving
