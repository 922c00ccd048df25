"""Stands between us and PostgreSQL, and loses the answer to one commit: it took place, and the connection is gone.

In: the socket directory of a cluster, and what a transaction must have said for its commit's answer to be lost. Out: a
URL to open instead of the cluster's own. Real sockets, real transactions.
"""

import shutil
import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

SOCKET_NAME = ".s.PGSQL.5432"
PIECE_BYTES = 65_536


class LostCommits:
    """Listens while the `with` block lasts."""

    def __init__(self, url: str, after: bytes) -> None:
        """Lose the answer to the first commit of a transaction in which these words were sent."""
        name, _, home = url.partition("?host=")
        self._server = str(Path(home) / SOCKET_NAME)
        self._home = Path(tempfile.mkdtemp(prefix="lcpx-"))
        self._after = after
        self.url = f"{name}?host={self._home}"
        self.lost = 0
        """Answers so far."""
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def __enter__(self) -> "LostCommits":
        self._listener.bind(str(self._home / SOCKET_NAME))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._listener)
        with self._lock:
            for one in self._open:
                _end(one)
        shutil.rmtree(self._home)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                far.connect(self._server)
                with self._lock:
                    self._open += [near, far]
                cut = threading.Event()
                threading.Thread(target=self._ask, args=(near, far, cut), daemon=True).start()
                threading.Thread(target=self._answer, args=(near, far, cut), daemon=True).start()

    def _ask(self, near: socket.socket, far: socket.socket, cut: threading.Event) -> None:
        is_near = False
        with suppress(OSError):
            while piece := near.recv(PIECE_BYTES):
                is_near = is_near or self._after in piece
                if is_near and b"COMMIT" in piece and self._takes():
                    cut.set()
                far.sendall(piece)
        _end(far)

    def _answer(self, near: socket.socket, far: socket.socket, cut: threading.Event) -> None:
        with suppress(OSError):
            while piece := far.recv(PIECE_BYTES):
                # The server answers a commit once it has taken place.
                if cut.is_set():
                    break
                near.sendall(piece)
        _end(near)
        _end(far)

    def _takes(self) -> bool:
        with self._lock:
            self.lost += 1
            return self.lost == 1


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
