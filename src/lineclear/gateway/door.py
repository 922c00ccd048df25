"""The data port's door: which path leads where. Routes only; every handler is chosen here by method and path.

In: net's Request. Out: a walk, or a local answer. What goes wrong before a walk is told in the dialect of the
path. Must not: decide by anything but the dispatched handler.
"""

import logging
from collections.abc import Awaitable, Callable

from lineclear.domain.errors import CallerError, ClientGone, ErrorCode, LineclearError, PlatformFault
from lineclear.domain.exchange import OPERATION_DIALECT, OPERATION_PATH, Dialect, Operation
from lineclear.gateway import deprecation, local
from lineclear.gateway.absent import absent
from lineclear.gateway.fields import id_fields, snapshot_fields
from lineclear.gateway.forward import REQUEST_PREFIX, forward_request
from lineclear.gateway.me import me
from lineclear.gateway.parts import Parts
from lineclear.gateway.refuse import known_caller
from lineclear.gateway.review import asks_for_review, review
from lineclear.gateway.route_config import asks_for_config, route_config
from lineclear.gateway.walk import walk
from lineclear.net.server import Reply, Request
from lineclear.wire.problems import problem

log = logging.getLogger("lineclear.gateway")

Local = Callable[[Parts, Request, str], local.Answer]
Asked = Callable[[Parts, Request, Reply, str], Awaitable[local.Answer]]
"""A handler that asks another process of the node before it answers."""

WALKS: dict[bytes, Operation] = {path.encode(): operation for operation, path in OPERATION_PATH.items()}
"""POST paths that take the whole walk."""

LOCALS: dict[bytes, Local] = {
    b"/v1/models": local.models,
    b"/livez": local.livez,
    b"/readyz": local.readyz,
}
"""GET paths answered here."""

MODEL_PREFIX = b"/v1/models/"
VERSION_PREFIX = deprecation.VERSION_PREFIX.encode()
ME = b"/v1/me"


class Door:
    """The handler that net's server calls for each request."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Answer one request."""
        operation = WALKS.get(request.path)
        request_id = self._parts.ids.next_id()
        try:
            if operation is not None and request.method == b"POST":
                await walk(self._parts, operation, request, reply, request_id)
            elif (asked := _asked(request)) is not None:
                status, fields, body = await asked(self._parts, request, reply, request_id)
                reply.whole(status, fields + id_fields(request_id).encode(), body)
            else:
                self._answer_locally(request, reply, request_id)
        except ClientGone:
            return  # nobody is left to be told, and nothing was put on record
        except LineclearError as error:
            if reply.begun:
                raise
            self._tell(error, request, reply, request_id, self._caller_fields(request, request_id))
        except Exception:
            if reply.begun or reply.gone:
                raise
            # The process edge: a defect is logged with the id that the caller is told and the ledger knows.
            log.exception("request %s ended in a defect", request_id)
            defect = PlatformFault(
                ErrorCode.INTERNAL_ERROR,
                "Lineclear failed to handle this request",
                hint="try again; if it happens again, report the request id",
            )
            self._tell(defect, request, reply, request_id)

    def _tell(
        self, error: LineclearError, request: Request, reply: Reply, request_id: str, fields: bytes = b""
    ) -> None:
        told = problem(_dialect(request), error, request_id)
        reply.whole(told.status, told.head + id_fields(request_id).encode() + fields, told.body)

    def _caller_fields(self, request: Request, request_id: str) -> bytes:
        """Of a refused request: from which snapshot, for which environment; nothing where its key says neither."""
        try:
            snapshot = self._parts.current.snapshot()
        except PlatformFault:
            return b""
        # Which operation stands in the head does not matter here; only the key is read from it.
        caller = known_caller(self._parts, snapshot, request, Operation.CHAT, request_id)
        return b"" if caller is None else snapshot_fields(snapshot.revision, caller.environment).encode()

    def refuse(self, error: LineclearError) -> tuple[int, bytes, bytes]:
        """A problem for which there is no request: what net's server finds wrong with the protocol."""
        request_id = self._parts.ids.next_id()
        told = problem(Dialect.OPENAI, error, request_id)
        return told.status, told.head + id_fields(request_id).encode(), told.body

    def _answer_locally(self, request: Request, reply: Reply, request_id: str) -> None:
        handler = LOCALS.get(request.path)
        if handler is None and request.path.startswith(MODEL_PREFIX):
            handler = local.model
        if asks_for_config(request.path):
            handler = route_config
        if handler is None and request.path.startswith(VERSION_PREFIX):
            handler = local.model_version
        allowed = b"POST" if request.path in WALKS or asks_for_review(request.path) else b"GET, HEAD"
        is_asked = request.path == ME or request.path.startswith(REQUEST_PREFIX)
        if handler is None and request.path not in WALKS and not is_asked:
            raise absent(request.path)
        if handler is None or request.method not in {b"GET", b"HEAD"}:
            error = CallerError(
                ErrorCode.METHOD_NOT_ALLOWED,
                f"{request.method[:20].decode('latin-1')} is not answered at this path; use {allowed.decode()}",
                hint=f"use {allowed.decode()}",
            )
            fields = self._caller_fields(request, request_id)
            self._tell(error, request, reply, request_id, fields + b"allow: " + allowed + b"\r\n")
            return
        status, fields, body = handler(self._parts, request, request_id)
        reply.whole(status, fields + id_fields(request_id).encode(), body)


def _asked(request: Request) -> Asked | None:
    """The handler of a path that is neither a walk nor answered at once; None if it is none of these."""
    if request.method == b"POST" and asks_for_review(request.path):
        return review
    if request.method not in {b"GET", b"HEAD"} or asks_for_review(request.path):
        return None
    if request.path == ME:
        return me
    return forward_request if request.path.startswith(REQUEST_PREFIX) else None


def _dialect(request: Request) -> Dialect:
    operation = WALKS.get(request.path)
    if operation is not None:
        return OPERATION_DIALECT[operation]
    return Dialect.ANTHROPIC if b"anthropic-version" in request.headers else Dialect.OPENAI
