"""What callers ask about their own requests, as gateways hand it over on control's Unix socket.

In: `GET /v1/requests/{id}` with the app and environment that the gateway asserts. Out: JSON, 404 or 503. The socket
is the only way in, and only this user may open it. Must not serve anything else, least of all the admin API.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.errors import LineclearError
from lineclear.net.server import Reply, Request

THREADS: Final = 2
WAITING_MAX: Final = 64
"""Questions under way or waiting for a thread; one more is told to come again."""
REQUEST_PREFIX: Final = b"/v1/requests/"
JSON_FIELDS: Final = b"content-type: application/json\r\n"

ExplainOwn = Callable[[str, str, str], dict[str, Any]]
"""(app, environment, request id) → the explanation. Any: nested JSON values. Raises Refused `not_found`."""

_log = logging.getLogger(__name__)


class CallersDoor:
    """The handler of control's Unix socket."""

    def __init__(self, explain_own: ExplainOwn) -> None:
        self._explain_own = explain_own
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="callers")
        self._waiting = 0

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Answer one question."""
        app, environment = request.headers.get(b"x-lineclear-app"), request.headers.get(b"x-lineclear-environment")
        request_id = request.path.removeprefix(REQUEST_PREFIX)
        if request.method != b"GET" or request_id == request.path or not app or not environment:
            reply.whole(404, JSON_FIELDS, b"{}")
            return
        if self._waiting >= WAITING_MAX:
            reply.whole(503, JSON_FIELDS, b"{}")
            return
        self._waiting += 1
        ask = partial(self._explain_own, *(value.decode("latin-1") for value in (app, environment, request_id)))
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        except Refused as refused:
            reply.whole(404 if refused.code is AdminCode.NOT_FOUND else 503, JSON_FIELDS, b"{}")
        except Exception:  # noqa: BLE001 - the process edge: said once in the log, to the gateway without details
            _log.exception("a caller's question about a request failed")
            reply.whole(500, JSON_FIELDS, b"{}")
        else:
            reply.whole(200, JSON_FIELDS, msgspec.json.encode(found))
        finally:
            self._waiting -= 1

    def refuse(self, _error: LineclearError) -> tuple[int, bytes, bytes]:
        """What is no HTTP at all."""
        return 400, JSON_FIELDS, b"{}"

    def close(self) -> None:
        """Let go of the threads; what they do is finished."""
        self._threads.shutdown(wait=True, cancel_futures=True)


def callers_listener(path: Path) -> socket.socket:
    """A listening Unix socket that only this user may open; a leftover there is replaced.

    Raises:
        OSError: the socket cannot be made.
    """
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener
