"""A test message: a key of an hour's use is made, one call goes through the data port like any other, the key goes.

In: a route and a text. Out: what the data port answered, asked for what the route's model does: a chat, vectors, a
label. Both key events are in the audit
trail; the call is in the ledger and is limited and paid like every other call of its app.
"""

import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from lineclear.base.clock import Clock
from lineclear.control.compile import operations_of
from lineclear.control.desired import Desired
from lineclear.control.endpoint import API_ROOT, WAITING_CALLS_MAX, AdminCode, Call, Endpoint, Reach, Refused, at_most
from lineclear.control.keys.keys import Keys
from lineclear.control.publish import read_desired
from lineclear.control.scopes import scope_of_app
from lineclear.domain.exchange import OPERATION_PATH, Operation
from lineclear.domain.permissions import Permission
from lineclear.domain.sample_call import sample_body, sample_operation
from lineclear.store.database import Database

ANSWER_WAIT_S = 120.0
"""A model on a small machine may need a while for its first words."""
ANSWER_BYTES_MAX = 1 << 20
TEXT_CHARS_MAX = 4_000
OUTPUT_TOKENS_MAX = 120
NUMBERS_SHOWN = 3
"""Of a vector."""
ENVIRONMENT = "test"
"""Test messages never count as live traffic."""
KEY_DAYS = 1
"""The shortest life of a key, should this process end before it takes the key back."""


@dataclass(frozen=True)
class TestMessage:
    """What to send where."""

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}
    __test__: ClassVar[bool] = False
    """It is no test class, whatever its name begins with."""
    route: str
    text: str = "Say hello."
    app: str = "default"


@dataclass(frozen=True)
class TestAnswer:
    """What came back."""

    __test__: ClassVar[bool] = False
    request_id: str | None
    route: str
    app: str
    environment: str
    operation: Operation
    """What was asked: the one that the route's first target is for."""
    status: int
    text: str
    """The answer in words, or the data port's own message for a refusal."""
    hint: str
    model: str | None
    cost_usd: str | None
    duration_ms: float


def endpoints(
    keys: Keys,
    database: Database,
    clock: Clock,
    gateway_url: str,
    tls: Callable[[], ssl.SSLContext | None] = lambda: None,
) -> tuple[Endpoint, ...]:
    """Send a test message; `tls` gives what to trust at a data port that speaks it, None at one that does not."""

    def send(call: Call) -> TestAnswer:
        message: TestMessage = call.body
        if not message.route or not 1 <= len(message.text) <= TEXT_CHARS_MAX:
            raise Refused(AdminCode.INVALID_REQUEST, f"a route and 1 to {TEXT_CHARS_MAX} characters of text are needed")
        actor = call.principal.name
        with database.read() as tx:
            desired = read_desired(tx)
        scope, unknown = scope_of_app(desired, message.app, ENVIRONMENT), f"there is no app {message.app!r}"
        call.require(Permission.TEST_MESSAGE_SEND, scope, Refused(AdminCode.NOT_FOUND, unknown))
        operation = _operation(desired, message.route)
        made = keys.create(actor, message.app, ENVIRONMENT, KEY_DAYS)
        try:
            return _send(_Port(gateway_url, made.key, tls()), message, operation, clock)
        finally:
            keys.revoke(actor, made.id, "the test message was sent")

    return (
        Endpoint(
            "POST", f"{API_ROOT}/test-messages", Permission.TEST_MESSAGE_SEND, at_most(WAITING_CALLS_MAX, send),
            "Send one message through the data port with a key made for it", body=TestMessage, answer=TestAnswer,
            reach=Reach.OBJECT,
        ),
    )  # fmt: skip


def _operation(desired: Desired, route: str) -> Operation:
    """What the route's first target in the environment is for; a chat where the route names none."""
    found = desired.routes.get(route)
    deployed = None if found is None else found.environments.get(ENVIRONMENT)
    return sample_operation(() if deployed is None else operations_of(desired, deployed.targets[0].model))


@dataclass(frozen=True)
class _Port:
    """The data port, for one call."""

    url: str
    key: str
    tls: ssl.SSLContext | None


def _send(port: _Port, message: TestMessage, operation: Operation, clock: Clock) -> TestAnswer:
    body = sample_body(operation, message.route, message.text, OUTPUT_TOKENS_MAX)
    began_ns = clock.monotonic_ns()
    status, headers, answer = _ask(port, OPERATION_PATH[operation], json.dumps(body).encode())
    text, hint = _words(answer)
    return TestAnswer(
        request_id=headers.get("x-request-id"),
        route=message.route,
        app=message.app,
        environment=ENVIRONMENT,
        operation=operation,
        status=status,
        text=text,
        hint=hint,
        model=headers.get("x-lineclear-model"),
        cost_usd=headers.get("x-lineclear-cost-usd"),
        duration_ms=(clock.monotonic_ns() - began_ns) / 1e6,
    )


def _ask(port: _Port, path: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
    """One call to the data port.

    Raises:
        Refused: `unavailable` if it does not answer.
    """
    parts = urlsplit(port.url)
    host = parts.hostname or ""
    connection = (
        http.client.HTTPConnection(host, parts.port, timeout=ANSWER_WAIT_S)
        if parts.scheme == "http"
        else http.client.HTTPSConnection(host, parts.port, timeout=ANSWER_WAIT_S, context=port.tls)
    )
    try:
        headers = {"authorization": f"Bearer {port.key}", "content-type": "application/json"}
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, found, response.read(ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        raise Refused(
            AdminCode.UNAVAILABLE, f"the data port {port.url} did not answer: {error}", hint="see `lineclear status`"
        ) from error
    finally:
        connection.close()


def _words(answer: bytes) -> tuple[str, str]:
    """The answer's text and no hint, or the error's message and hint."""
    try:
        value: Any = json.loads(answer)  # Any: an answer of whatever operation, or an error
    except ValueError:
        return answer.decode("utf-8", "replace"), ""
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, dict):
        return str(error.get("message", "")), str(error.get("hint") or "")
    try:
        return _said(value), ""
    except (KeyError, IndexError, TypeError, ValueError):
        return answer.decode("utf-8", "replace"), ""


def _said(value: Any) -> str:
    """An answer of any operation in words.

    Raises:
        KeyError, IndexError, TypeError, ValueError: it has another form; it is shown as it came then.
    """
    if "choices" in value:
        choice = value["choices"][0]
        return str((choice["text"] if "text" in choice else choice["message"]["content"]) or "")
    if "content" in value:
        return "".join(block["text"] for block in value["content"] if block["type"] == "text")
    if "input_tokens" in value:
        return f"{value['input_tokens']} tokens"
    first = value["data"][0]
    if "label" in first:
        return f"{first['label']}, {max(first['probs']):.1%} sure, of {first['num_classes']} labels"
    numbers = first["embedding"]
    return f"a vector of {len(numbers)} numbers: {', '.join(f'{one:.4f}' for one in numbers[:NUMBERS_SHOWN])}, …"
