"""Asks a rollout's candidate what stable has answered already, and puts on record how the two compare.

In: copies that wait. Out: an exchange of its own for each, on nobody's account and within the run's spend cap, and one
record of the comparison. No text of either answer is kept. Must not: be waited for by a caller.
"""

import asyncio
import logging
from typing import Final

import msgspec

from lineclear.domain.errors import CallerError, ErrorCode, LineclearError, PlatformFault
from lineclear.domain.exchange import RefusalDelta, TextDelta, ToolArgumentsDelta, ToolCallStarted
from lineclear.domain.ledger import INNER_KEY_PREFIX, Mirrored, Outcome
from lineclear.domain.shadow import CHANGED, SAME, SHADOW_APP, UNKNOWN
from lineclear.gateway.admit import Admitted, admit_copy
from lineclear.gateway.copies import Carried, Copy
from lineclear.gateway.guard import guard_input
from lineclear.gateway.identify import Identified, identify
from lineclear.gateway.parts import Parts
from lineclear.gateway.plan import Planned, plan
from lineclear.gateway.reserve import bounded_output_tokens, cost_bound_nano_usd
from lineclear.gateway.snapshot import Accounts, Snapshot
from lineclear.gateway.trace import Trace
from lineclear.gateway.walk import carry
from lineclear.net.exchange import Reply

AT_ONCE: Final = 4
"""Copies under way in one worker."""
JUDGED_MAX: Final = 3
"""How often a copy is judged, if what is in force changes meanwhile."""
RUNS_MAX: Final = 64
"""Runs whose spending is known; the oldest is forgotten, by when control has long ended it."""
OF_TARGETS: Final = frozenset({ErrorCode.NO_HEALTHY_TARGET, ErrorCode.UPSTREAM_RATE_LIMITED})
"""What the platform says where the candidate's targets are at fault."""
NO_ACCOUNTS: Final = Accounts()
SHADOW_KEY: Final = INNER_KEY_PREFIX + "shadow"
"""What copies have in place of a key: figures of how callers fare leave such calls out."""

log = logging.getLogger("lineclear.gateway")


class Unheard(Reply):
    """An answer that goes to nobody."""

    __slots__ = ()

    def __init__(self) -> None:
        self.begun = self.ended = self.gone = self.is_kept = False
        self.on_gone = None
        self.bytes_out = 0

    def whole(self, status: int, head: bytes, body: bytes) -> None:  # noqa: ARG002 - as Reply has it
        """Nobody takes it."""
        self.begun = self.ended = True
        self.bytes_out += len(body)

    def begin(self, status: int, head: bytes, data: bytes = b"") -> None:  # noqa: ARG002 - as Reply has it
        """Nobody takes it."""
        self.begun = True
        self.bytes_out += len(data)

    def chunk(self, data: bytes) -> None:
        """Nobody takes it."""
        self.bytes_out += len(data)

    def end(self, data: bytes = b"") -> None:
        """Nobody takes it."""
        self.ended = True
        self.bytes_out += len(data)

    def abort(self) -> None:
        """There is no connection to break."""
        self.ended = True

    @property
    def is_behind(self) -> bool:
        """Nobody is slow."""
        return False

    async def drained(self) -> None:
        """Nobody is waited for."""


class Mirror:
    """One worker's. Belongs to its loop."""

    def __init__(self, parts: Parts, workers: int) -> None:
        """Nothing runs yet; `workers` share a run's spend cap."""
        self._parts = parts
        # A long copy takes its turn among copies, so that no caller's request waits behind it.
        self._checking = msgspec.structs.replace(parts, long_checks=asyncio.Lock())
        self._workers = max(1, workers)
        self._spent: dict[str, int] = {}
        self._room = asyncio.Semaphore(AT_ONCE)
        self._asking: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to ask."""
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Break off what is under way; each gets its settle."""
        tasks = [task for task in (self._running, *self._asking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._room.acquire()
            copy = await self._parts.copies.take()
            task = asyncio.get_running_loop().create_task(self._ask(copy))
            self._asking.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._asking.discard(task)
        self._room.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._parts.counters["shadow_failed"] += 1
            log.error("a copy for the candidate of a rollout ended in a defect", exc_info=error)

    async def _ask(self, copy: Copy) -> None:
        parts, run = self._parts, copy.view.run
        trace = Trace(parts.clock, parts.clock.monotonic_ns())
        request_id = parts.ids.next_id()
        try:
            judged = await self._judged(copy, request_id)
            if judged is None:
                return
            snapshot, admitted = judged
            planned = _apart(plan(admitted, parts.clock))
        except LineclearError as error:
            self._record(copy, request_id, None, trace, error)
            return
        if any(one.price is None for one in planned.candidates):
            # No spend cap holds what nobody knows the price of: it is not asked, and the run ends.
            self._record(copy, request_id, None, trace, None)
            return
        bound = _bound(planned)
        spent = self._spent.setdefault(run, 0)
        if spent + bound > copy.view.spend_cap_nano_usd // self._workers:
            parts.counters["shadow_over_cap"] += 1
            return
        while len(self._spent) > RUNS_MAX:
            del self._spent[next(iter(self._spent))]
        self._spent[run] = spent + bound
        carried = await carry(parts, snapshot, planned, trace, Unheard())
        cost = carried.settled.charge.cost_nano_usd + trace.waste_nano_usd
        self._spent[run] = self._spent.get(run, bound) - bound + cost
        self._record(copy, request_id, carried, trace, carried.relayed.error)

    async def _judged(self, copy: Copy, request_id: str) -> tuple[Snapshot, Admitted] | None:
        """The copy judged by what is in force when it is sent: nothing is waited for behind this.

        None, and it is not asked, if its step is over, or (`shadow_unmade`) if its caller could not make the call any
        more or what is in force changes again and again while it is checked.
        """
        for _ in range(JUDGED_MAX):
            snapshot = self._parts.current.snapshot()
            admitted = await self._admitted(snapshot, copy, request_id)
            if admitted is None:
                return None
            if self._parts.current.snapshot() is snapshot:
                return snapshot, admitted
        self._parts.counters["shadow_unmade"] += 1
        return None

    async def _admitted(self, snapshot: Snapshot, copy: Copy, request_id: str) -> Admitted | None:
        """The same call for the candidate, judged as its caller's and made in nobody's name."""
        parsed = copy.carried.planned.admitted.parsed
        route = snapshot.routes.get((parsed.identified.environment, parsed.view.model))
        if route is None or route.shadow is None or route.shadow.run != copy.view.run or route.candidate is None:
            return None
        if not self._may_call(snapshot, parsed.identified, route.name):
            self._parts.counters["shadow_unmade"] += 1
            return None
        head = msgspec.structs.replace(parsed.identified.head, request_id=request_id, inbound_id="", echo="")
        identified = msgspec.structs.replace(parsed.identified, head=head)
        parsed = msgspec.structs.replace(parsed, identified=identified)
        admitted = admit_copy(route.candidate, parsed, self._parts.clock)
        app = msgspec.structs.replace(identified.app, name=SHADOW_APP, team=route.team, accounts=NO_ACCOUNTS)
        nobody = msgspec.structs.replace(identified, app=app, key_id=SHADOW_KEY, copied=identified)
        admitted = msgspec.structs.replace(
            admitted,
            parsed=msgspec.structs.replace(parsed, identified=nobody),
            route=msgspec.structs.replace(admitted.route, accounts=NO_ACCOUNTS),
        )
        if admitted.route.guardrails is not None:
            admitted = await guard_input(self._checking, snapshot, admitted)
        return admitted

    def _may_call(self, snapshot: Snapshot, asked: Identified, route: str) -> bool:
        """Whether whoever made the call could make it now: a stop or a revoked key holds for its copy too."""
        try:
            now = identify(snapshot, asked.head, self._parts.clock)
        except CallerError:
            return False
        return now.app.stop is None and (now.app.all_routes or route in now.app.granted)

    def _record(
        self, copy: Copy, request_id: str, carried: Carried | None, trace: Trace, error: LineclearError | None
    ) -> None:
        if trace.cut is not None or (isinstance(error, PlatformFault) and error.code not in OF_TARGETS):
            return  # an override or a fault of ours says nothing of the candidate
        stable = copy.carried
        admitted = stable.planned.admitted
        self._parts.ledger.append(
            Mirrored(
                request_id,
                self._parts.clock.unix_us(),
                copy.view.run,
                admitted.parsed.identified.environment,
                admitted.route.name,
                admitted.parsed.identified.head.request_id,
                _text_compared(stable, carried),
                stable.relayed.outcome,
                stable.relayed.status,
                carried.relayed.outcome if carried is not None else Outcome.REFUSED,
                error.code.value if error is not None else "",
                _text_bytes(stable),
                _text_bytes(carried),
                stable.settled.charge.cost_nano_usd,
                0 if carried is None else carried.settled.charge.cost_nano_usd + trace.waste_nano_usd,
                carried is None and error is None,  # not asked, for want of a price
                copy.duration_us,
                trace.elapsed_us(),
            )
        )
        self._parts.counters["shadow_copies"] += 1


def _bound(planned: Planned) -> int:
    """The most that a copy can cost, as a budget would reserve it."""
    output_tokens = bounded_output_tokens(planned) * planned.admitted.parsed.view.choices
    return cost_bound_nano_usd(planned, planned.prompt_bytes, output_tokens)


def _apart(planned: Planned) -> Planned:
    """The copy as it is sent: with the output cap that bounds its cost, and teaching callers' calls nothing."""
    admitted = planned.admitted
    admission = msgspec.structs.replace(admitted.admission, output_default=bounded_output_tokens(planned))
    return msgspec.structs.replace(
        planned,
        admitted=msgspec.structs.replace(admitted, admission=admission),
        candidates=tuple(
            msgspec.structs.replace(
                one,
                health=one.health.apart(),
                replicas=None if one.replicas is None else one.replicas.apart(),
            )
            for one in planned.candidates
        ),
    )


def _text_bytes(carried: Carried | None) -> int:
    return 0 if carried is None or carried.opened is None else carried.opened.watch.output_bytes


def _text_compared(stable: Carried, candidate: Carried | None) -> str:
    """Whether two whole answers say the same."""
    ours, theirs = _text(stable), None if candidate is None else _text(candidate)
    if ours is None or theirs is None:
        return UNKNOWN
    return SAME if ours == theirs else CHANGED


def _text(carried: Carried) -> tuple[str, ...] | None:
    """What a whole answer says, tools asked for included; None for a stream and for what says nothing."""
    opened = carried.opened
    if opened is None or not opened.is_whole or carried.relayed.outcome is not Outcome.OK:
        return None
    said: list[str] = []
    for event in carried.planned.admitted.parsed.codec.read_whole(opened.body):
        match event:
            case TextDelta() | RefusalDelta():
                said.append(event.text)
            case ToolCallStarted():
                said.append(event.name)
            case ToolArgumentsDelta():
                said.append(event.fragment)
            case _:
                continue
    return tuple(said) if said else None
