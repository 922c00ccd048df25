"""A receiver of webhooks on a loopback port: keeps every post, and answers as a test tells it to."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Post:
    """One request."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class HookReceiver:
    """Use as a context manager."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.statuses: list[int] = []
        """Of the next answers, in order; 204 when there are none left."""
        self.headers: dict[str, str] = {}
        """Of every answer."""
        self._came = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                names = {name.lower(): value for name, value in self.headers.items()}
                with receiver._came:
                    receiver.posts.append(Post(self.path, names, body))
                    receiver._came.notify_all()
                status = receiver.statuses.pop(0) if receiver.statuses else 204
                self.send_response(status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: tests look at `posts`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def wait(self, count: int, wait_s: float = 60.0) -> list[Post]:
        """The posts, once there are so many.

        Raises:
            TimeoutError: if they do not come.
        """
        with self._came:
            if not self._came.wait_for(lambda: len(self.posts) >= count, wait_s):
                raise TimeoutError(f"{len(self.posts)} posts came, not {count}")
            return list(self.posts)
