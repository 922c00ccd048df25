"""The journal of one exchange: when each step ended, what was tried, what is being waited for.

The one mutable value of the walk. It decides nothing: `settle` and `explain` read it, and a hang-up of the
caller reaches the pending wait through it.
"""

import asyncio
from itertools import repeat
from operator import floordiv, sub
from typing import Final

from lineclear.base.clock import Clock
from lineclear.domain.errors import AttemptClass, ClientGone, LineclearError, Sent, UpstreamError
from lineclear.domain.ledger import AttemptRecord, Outcome
from lineclear.domain.money import Usage, cost_nano_usd, estimated_tokens
from lineclear.gateway.snapshot import Candidate
from lineclear.net.server import Reply
from lineclear.net.upstream import UpstreamCall

DELIVERED: Final = AttemptClass.OK
"""Reading an enum member through its class costs ten times a module name on Python 3.11."""
NS_PER_US = repeat(1_000)


class Trace:
    """One exchange's journal."""

    __slots__ = (
        "_attempt_ns",
        "_marks_ns",
        "_now_ns",
        "_waiter",
        "attempt",
        "attempts",
        "barred",
        "behind",
        "call",
        "candidate",
        "cut",
        "gone",
        "has_intent",
        "started_ns",
        "started_us",
        "upstream_us",
        "waste_nano_usd",
    )

    def __init__(self, clock: Clock, started_ns: int) -> None:
        self._now_ns = clock.monotonic_ns
        self._marks_ns = [started_ns]
        self._waiter: asyncio.Future[None] | None = None
        self.started_ns = started_ns
        self.started_us = clock.unix_us()
        self.attempts: list[AttemptRecord] = []
        self.call: UpstreamCall | None = None
        """The attempt under way, so that a hang-up can abort it."""
        self.attempt = 0
        """Number of the newest attempt, from 1; 0 before the first."""
        self.upstream_us = 0
        """Time spent in attempts that ended."""
        self.waste_nano_usd = 0
        """Estimated cost of attempts that were sent and not delivered."""
        self.candidate: Candidate | None = None
        """The target of the attempt under way."""
        self._attempt_ns = 0
        self.has_intent = False
        """An intent is on record, or on its way: exactly one settle has to follow."""
        self.gone = False
        self.cut: LineclearError | None = None
        """Why an override ended the exchange; None if none did."""
        self.barred: tuple[tuple[str, LineclearError], ...] = ()
        """What overrides closed since the exchange was planned: `name@version` or `provider:NAME`, and why."""
        self.behind: Reply | None = None
        """What is being waited for while the caller takes less than comes."""

    def mark(self) -> None:
        """A step ended now."""
        now_ns = self._now_ns  # a method call on what is no method costs twice as much on Python 3.11
        self._marks_ns.append(now_ns())

    def begin_attempt(self, candidate: Candidate, number: int) -> None:
        """An attempt starts now.

        Raises:
            ClientGone: the caller hung up.
            LineclearError: an override ended the exchange, or closed this target.
        """
        if self.gone or self.cut or self.barred:
            self.demand_open()
            self._demand_allowed(candidate)
        self.candidate = candidate
        self.attempt = number
        now_ns = self._now_ns
        self._attempt_ns = now_ns()

    def end_attempt(self, attempt_class: AttemptClass, status: int, error_code: str, cost_nano_usd: int) -> None:
        """The attempt under way ended so; does nothing if there is none."""
        candidate = self.candidate
        if candidate is None:
            return
        self.candidate = None
        duration_us = (self._now_ns() - self._attempt_ns) // 1_000
        self.upstream_us += duration_us
        # What the caller is charged for is no waste, though guardrails withheld it.
        if (
            attempt_class is not DELIVERED
            and attempt_class is not AttemptClass.PARTIAL
            and attempt_class is not AttemptClass.POLICY
        ):
            self.waste_nano_usd += cost_nano_usd
        self.attempts.append(
            # By place: naming this many fields costs ten times the rest of making the record.
            AttemptRecord(
                self.attempt,
                candidate.model,
                candidate.provider,
                attempt_class,
                status,
                error_code,
                (self._attempt_ns - self.started_ns) // 1_000,
                duration_us,
                _upstream_id(self.call),
                cost_nano_usd,
            )
        )

    def fail_attempt(self, error: LineclearError | None, prompt_bytes: int) -> None:
        """The attempt under way brought no answer; None = the caller hung up before it did."""
        attempt_class, status = AttemptClass.AMBIGUOUS, 0
        if isinstance(error, UpstreamError):
            attempt_class, status = error.attempt_class, error.status or 0
        cost = self._sent_input_cost_nano_usd(prompt_bytes) if attempt_class is AttemptClass.AMBIGUOUS else 0
        self.end_attempt(
            attempt_class,
            status,
            error.code if error is not None else Outcome.CLIENT_GONE,
            cost,
        )

    def _sent_input_cost_nano_usd(self, prompt_bytes: int) -> int:
        """What the attempt under way may be billed for although no answer came; 0 if nothing was sent."""
        candidate = self.candidate
        if candidate is None or candidate.price is None or self.call is None or self.call.sent is Sent.NO:
            return 0
        return cost_nano_usd(Usage(input_tokens=estimated_tokens(prompt_bytes)), candidate.price)

    def elapsed_us(self) -> int:
        now_ns = self._now_ns
        return (now_ns() - self.started_ns) // 1_000

    def upstream_until_us(self, elapsed_us: int) -> int:
        """Time spent in attempts by then, the one under way among them."""
        if self.candidate is None:
            return self.upstream_us
        return self.upstream_us + elapsed_us - (self._attempt_ns - self.started_ns) // 1_000

    def steps_us(self) -> tuple[int, ...]:
        """Microseconds of each step done so far, in the order of `domain.ledger.STEPS`."""
        marks_ns = self._marks_ns
        return tuple(map(floordiv, map(sub, marks_ns[1:], marks_ns), NS_PER_US))

    def on_gone(self) -> None:
        """The caller hung up: whatever is being waited for ends with ClientGone."""
        self.gone = True
        if self.call is not None:
            self.call.abort(ClientGone("the caller closed the connection"))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ClientGone("the caller closed the connection"))

    def end(self, error: LineclearError) -> None:
        """An override ended the exchange: whatever is being waited for ends with this error."""
        if self.gone or self.cut is not None:
            return
        self.cut = error
        if self.call is not None:
            self.call.abort(error)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        if self.behind is not None:
            self.behind.interrupt(error)

    def demand_open(self) -> None:
        """Go on only if nobody ended the exchange.

        Raises:
            ClientGone: the caller hung up.
            LineclearError: an override ended it.
        """
        if self.gone:
            raise ClientGone("the caller closed the connection")
        if self.cut is not None:
            raise self.cut

    def _demand_allowed(self, candidate: Candidate) -> None:
        for target, error in self.barred:
            if is_target(candidate, target):
                raise error

    async def drained(self, reply: Reply) -> None:
        """Wait until the caller has taken enough.

        Raises:
            ClientGone: if the caller hangs up meanwhile, or takes nothing for too long.
            LineclearError: if an override ends the exchange meanwhile.
        """
        self.behind = reply
        try:
            await reply.drained()
        finally:
            self.behind = None

    async def pause(self, wait_ms: int) -> None:
        """Wait between two attempts.

        Raises:
            ClientGone: if the caller hangs up meanwhile.
            LineclearError: if an override ends the exchange meanwhile.
        """
        self.demand_open()
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        timer = loop.call_later(wait_ms / 1000, _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None


def is_target(candidate: Candidate, target: str) -> bool:
    """Whether a candidate is the target that an override names: `name@version` or `provider:NAME`."""
    return target in (candidate.model, f"provider:{candidate.provider}")


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


_UPSTREAM_ID_FIELDS = (b"x-request-id", b"request-id", b"x-amzn-requestid", b"apim-request-id")
_UPSTREAM_ID_NAMES = frozenset(_UPSTREAM_ID_FIELDS)


def _upstream_id(call: UpstreamCall | None) -> str:
    """The vendor's own request id, at most 128 characters; empty if it sent none."""
    if call is None or not call.status or _UPSTREAM_ID_NAMES.isdisjoint(call.headers):
        return ""
    for name in _UPSTREAM_ID_FIELDS:
        value = call.headers.get(name)
        if value:
            return value[:128].decode("latin-1")
    return ""
