"""A test message: a key of an hour's use is made, one call goes through the data port like any other, the key goes.

In: a route and a text. Out: what the data port answered. Both key events are in the audit trail; the call is in the
ledger and is limited and paid like every other call of its app.
"""

import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from lineclear.base.clock import Clock
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, Refused
from lineclear.control.keys.keys import Keys
from lineclear.domain.permissions import Permission

ANSWER_WAIT_S = 120.0
"""A model on a small machine may need a while for its first words."""
ANSWER_BYTES_MAX = 1 << 20
TEXT_CHARS_MAX = 4_000
OUTPUT_TOKENS_MAX = 120
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
    status: int
    text: str
    """The answer's words, or the data port's own message for a refusal."""
    hint: str
    model: str | None
    cost_usd: str | None
    duration_ms: float


def endpoints(
    keys: Keys, clock: Clock, gateway_url: str, tls: Callable[[], ssl.SSLContext | None] = lambda: None
) -> tuple[Endpoint, ...]:
    """Send a test message; `tls` gives what to trust at a data port that speaks it, None at one that does not."""

    def send(call: Call) -> TestAnswer:
        message: TestMessage = call.body
        if not message.route or not 1 <= len(message.text) <= TEXT_CHARS_MAX:
            raise Refused(AdminCode.INVALID_REQUEST, f"a route and 1 to {TEXT_CHARS_MAX} characters of text are needed")
        actor = call.principal.name
        made = keys.create(actor, message.app, ENVIRONMENT, KEY_DAYS)
        try:
            return _send(gateway_url, made.key, message, clock, tls())
        finally:
            keys.revoke(actor, made.id, "the test message was sent")

    return (
        Endpoint(
            "POST", f"{API_ROOT}/test-messages", Permission.TEST_MESSAGE_SEND, send,
            "Send one chat message through the data port with a key made for it", body=TestMessage, answer=TestAnswer,
        ),
    )  # fmt: skip


def _send(gateway_url: str, key: str, message: TestMessage, clock: Clock, tls: ssl.SSLContext | None) -> TestAnswer:
    body = {
        "model": message.route,
        "max_tokens": OUTPUT_TOKENS_MAX,
        "messages": [{"role": "user", "content": message.text}],
    }
    began_ns = clock.monotonic_ns()
    status, headers, answer = _ask(gateway_url, key, json.dumps(body).encode(), tls)
    text, hint = _words(answer)
    return TestAnswer(
        request_id=headers.get("x-request-id"),
        route=message.route,
        app=message.app,
        environment=ENVIRONMENT,
        status=status,
        text=text,
        hint=hint,
        model=headers.get("x-lineclear-model"),
        cost_usd=headers.get("x-lineclear-cost-usd"),
        duration_ms=(clock.monotonic_ns() - began_ns) / 1e6,
    )


def _ask(gateway_url: str, key: str, body: bytes, tls: ssl.SSLContext | None) -> tuple[int, Mapping[str, str], bytes]:
    """One call to the data port.

    Raises:
        Refused: `unavailable` if it does not answer.
    """
    parts = urlsplit(gateway_url)
    host = parts.hostname or ""
    connection = (
        http.client.HTTPConnection(host, parts.port, timeout=ANSWER_WAIT_S)
        if parts.scheme == "http"
        else http.client.HTTPSConnection(host, parts.port, timeout=ANSWER_WAIT_S, context=tls)
    )
    try:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, found, response.read(ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        raise Refused(
            AdminCode.UNAVAILABLE, f"the data port {gateway_url} did not answer: {error}", hint="see `lineclear status`"
        ) from error
    finally:
        connection.close()


def _words(answer: bytes) -> tuple[str, str]:
    """The answer's text and no hint, or the error's message and hint."""
    try:
        value: Any = json.loads(answer)  # Any: the OpenAI chat answer or error
    except ValueError:
        return answer.decode("utf-8", "replace"), ""
    error = value.get("error") if isinstance(value, dict) else None
    if isinstance(error, dict):
        return str(error.get("message", "")), str(error.get("hint") or "")
    try:
        return str(value["choices"][0]["message"]["content"] or ""), ""
    except (KeyError, IndexError, TypeError):
        return answer.decode("utf-8", "replace"), ""
