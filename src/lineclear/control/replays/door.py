"""Control's own calls through the inner door of a gateway: in whose name, of which release, what came back.

In: questions. Out: answers, errors among them. Any gateway of the node will do; one that has just gone is passed over.
Must not decide what an answer is worth, or ask twice.
"""

import http.client
import json
import random
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from lineclear.base.clock import Clock
from lineclear.base.seal import Keys
from lineclear.config.manifest_rules import TIMEOUT_S_MAX
from lineclear.control.replays.answer_text import answer_text, error_of
from lineclear.domain.exchange import OPERATION_PATH, Operation
from lineclear.domain.money import CostBasis
from lineclear.handover.inner_door import InnerPrincipal, InnerPurpose, inner_doors, signed_principal

ANSWER_BYTES_MAX: Final = 4 << 20
"""A longer answer is read so far; its text is cut."""
ANSWER_WAIT_S: Final = TIMEOUT_S_MAX + 60.0
"""Above the longest total deadline that a route can have, so that the gateway says what went wrong."""
LOST: Final = "answer_lost"
"""The error code of a call that gateways took and never answered."""
PRINCIPAL_S: Final = 60
"""A principal is made for each call; this long it opens the door."""
NANO: Final = Decimal(1_000_000_000)


class DoorClosed(Exception):
    """No gateway answered.

    Attributes:
        was_taken: one took the call and went away, so that a model may have been asked, and paid.
    """

    def __init__(self, message: str, *, was_taken: bool) -> None:
        super().__init__(message)
        self.was_taken = was_taken


@dataclass(frozen=True)
class Caller:
    """In whose name is asked, and of which release."""

    purpose: InnerPurpose
    run: str
    """Such as a replay's id; the ledger keeps it among the tags."""
    app: str
    environment: str
    route: str
    release: str = ""
    """64 hex digits; empty = the stable one."""


@dataclass(frozen=True)
class Question:
    """One call."""

    caller: Caller
    operation: Operation
    request: Mapping[str, Any]
    """The body without `model`. Any: JSON values."""
    case: str = ""
    """Names the call within its run: equal names go to the same target of a release."""
    variables: Mapping[str, str] = field(default_factory=dict)
    task: str = ""
    data_class: str = ""


@dataclass(frozen=True)
class InnerAnswer:
    """What a gateway said."""

    status: int
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes
    is_whole: bool
    """Whether the body was no longer than what is read."""
    duration_us: int
    operation: Operation
    paid_before_nano_usd: int = 0
    """For earlier tries of the same call."""

    @property
    def request_id(self) -> str:
        return self.headers.get("x-request-id", "")

    @property
    def model(self) -> str:
        """`name@version` that answered; empty if none did."""
        return self.headers.get("x-lineclear-model", "")

    @property
    def cost_nano_usd(self) -> int | None:
        """All that was paid for it, tries that failed included; None = see `no_cost_words`.

        What was refused costs nothing itself.
        """
        said = self.headers.get("x-lineclear-cost-usd")
        if said is None and (self.is_cost_untold or self.cost_basis == CostBasis.UNPRICED.value):
            return None
        waste = self.headers.get("x-lineclear-waste-usd", "0")
        return int((Decimal(said or 0) + Decimal(waste)) * NANO) + self.paid_before_nano_usd

    @property
    def is_cost_untold(self) -> bool:
        """Whether the answer was too long for a gateway to hold it: its head went out before the cost was known."""
        return self.status == 200 and not self.cost_basis

    @property
    def no_cost_words(self) -> str:
        """Why the cost is None, said of the model."""
        return "answered at such length that the cost was not told" if self.is_cost_untold else "has no price"

    @property
    def cost_basis(self) -> str:
        return self.headers.get("x-lineclear-cost-basis", "")

    @property
    def was_sent(self) -> bool:
        """Whether a model was asked; else the gateway itself said no."""
        return self.headers.get("x-lineclear-attempts", "0") != "0"

    @property
    def retry_after_s(self) -> float | None:
        """How long the gateway asks to wait; None if it does not."""
        exact, rough = self.headers.get("retry-after-ms"), self.headers.get("retry-after")
        try:
            return float(exact) / 1_000 if exact else float(rough) if rough else None
        except ValueError:
            return None  # a vendor's date

    def error(self) -> tuple[str, str]:
        """Code and message of a status that is not 200."""
        return error_of(self.body)

    def text(self) -> str:
        """The answer in words, or an error's message.

        Raises:
            ValueError: a 200 whose body is no answer.
        """
        return answer_text(self.operation, self.body) if self.status == 200 else self.error()[1]


def lost_answer(operation: Operation, message: str, paid_before_nano_usd: int) -> InnerAnswer:
    """What stands for an answer where gateways took a call and went away."""
    body = json.dumps({"error": {"code": LOST, "message": message}}).encode()
    return InnerAnswer(502, {}, body, True, 0, operation, paid_before_nano_usd)


class InnerDoor:
    """Safe to share between threads."""

    def __init__(self, run_dir: Path, keys: Keys, clock: Clock) -> None:
        self._run_dir = run_dir
        self._keys = keys
        self._clock = clock
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._is_closed = False

    def ask(self, question: Question, wait_s: float = ANSWER_WAIT_S) -> InnerAnswer:
        """Ask a gateway, once.

        Raises:
            DoorClosed: none answers.
        """
        made = {**question.request, "model": question.caller.route}
        body = json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode()
        began_ns = self._clock.monotonic_ns()
        wire = self._connect()
        connection = _UnixConnection(wire, wait_s)
        try:
            connection.request("POST", OPERATION_PATH[question.operation], body, self._fields(question))
            response = connection.getresponse()
            content = response.read(ANSWER_BYTES_MAX + 1)
            headers = {name.lower(): value for name, value in response.getheaders()}
        except (OSError, http.client.HTTPException) as error:
            raise DoorClosed(f"the gateway went away: {error}", was_taken=True) from error
        finally:
            with self._lock:
                self._open.discard(wire)
            connection.close()
            wire.close()
        duration_us = (self._clock.monotonic_ns() - began_ns) // 1_000
        is_whole = len(content) <= ANSWER_BYTES_MAX
        return InnerAnswer(response.status, headers, content, is_whole, duration_us, question.operation)

    def close(self) -> None:
        """Let nobody in any more; calls under way end with DoorClosed."""
        with self._lock:
            self._is_closed = True
            for wire in self._open:
                with suppress(OSError):  # the gateway has closed it already
                    wire.shutdown(socket.SHUT_RDWR)

    def _fields(self, question: Question) -> dict[str, str]:
        caller = question.caller
        expires_at = self._clock.unix_us() // 1_000_000 + PRINCIPAL_S
        principal = InnerPrincipal(
            caller.purpose, caller.run, caller.app, caller.environment, caller.route, caller.release, expires_at
        )
        fields = {
            "authorization": f"Bearer {signed_principal(self._keys, principal)}",
            "content-type": "application/json",
            "x-lineclear-tags": f"{caller.purpose.value}={caller.run}",
        }
        if question.case:
            fields["idempotency-key"] = quote(f"{caller.run}/{question.case}"[:512], safe="/")
        if question.task:
            fields["x-lineclear-task"] = question.task
        if question.data_class:
            fields["x-lineclear-data-class"] = question.data_class
        for name, value in question.variables.items():
            fields[f"x-lineclear-var-{name}"] = quote(value, safe="")
        return fields

    def _connect(self) -> socket.socket:
        doors = inner_doors(self._run_dir)
        # Evenly over the gateways; no secret hangs on the order.
        random.shuffle(doors)
        for path in doors:
            wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                wire.connect(str(path))
            except OSError as error:
                wire.close()
                if isinstance(error, ConnectionRefusedError):
                    path.unlink(missing_ok=True)  # its process has ended without a word
                continue
            with self._lock:
                if self._is_closed:
                    wire.close()
                    break
                self._open.add(wire)
            return wire
        raise DoorClosed("no gateway of this node takes calls of control now", was_taken=False)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket that is connected already."""

    def __init__(self, wire: socket.socket, wait_s: float) -> None:
        super().__init__("gateway", timeout=wait_s)
        wire.settimeout(wait_s)
        self.sock = wire
