"""One simulated request, taken through the gateway's own rules by a clock that stands in the past.

In: who asks for what, when. Out: the records that a gateway would have written. Routes, splits, exclusions, limits,
retries, statuses and prices are the product's: a compiled snapshot, the books, `recover`, `domain.money`. Invented are
only callers, vendors and durations.
"""

import random
from typing import Final

import msgspec

from lineclear.accountant.books import Books
from lineclear.accountant.reservation import Moment
from lineclear.base.ids import ExchangeIds
from lineclear.demo.answers import Answer, answer_of
from lineclear.demo.ask import Asked, ask, refusal
from lineclear.demo.callers import Caller
from lineclear.demo.clock import HistoryClock
from lineclear.demo.tries import learn, spread, try_fails, wait_us
from lineclear.demo.weather import Weather
from lineclear.domain.accounts import Denied, Granted, Reserve, SettleAccount, Void
from lineclear.domain.errors import (
    AttemptClass,
    CallerError,
    LineclearError,
    UpstreamError,
)
from lineclear.domain.exchange import OPERATION_DIALECT
from lineclear.domain.ledger import AttemptRecord, Checkpoint, Intent, Outcome, Record, Settle
from lineclear.domain.money import (
    BYTES_PER_ESTIMATED_TOKEN,
    NO_USAGE,
    Usage,
    cost_nano_usd,
)
from lineclear.domain.snapshot import LimitsSection
from lineclear.gateway.recover import Left, Move, final_error, recover
from lineclear.gateway.reserve import (
    OUTPUT_TOKENS_DEFAULT,
    denial,
    user_hash,
)
from lineclear.gateway.snapshot import Candidate, Snapshot
from lineclear.wire.problems import status_of

TOTAL_MS: Final = 600_000
STEP_US: Final = (28, 21, 70, 9, 11, 320)
"""Medians of the steps from `head` to `reserve`."""
SETTLE_US: Final = 90
INBOUND_SHARE: Final = 0.25
"""Of calls that carry a request id of the caller's own."""
TRACED_SHARE: Final = 0.4


class Tried(msgspec.Struct, gc=False):
    """What the tries so far led to."""

    attempts: list[AttemptRecord]
    checkpoints: list[Checkpoint]
    elapsed_us: int
    waste_nano_usd: int = 0
    candidate: Candidate | None = None
    """Whose answer begins; None if there is none."""
    error: LineclearError | None = None


class Player:
    """Plays requests one after the other; its books and its targets' health go on from one to the next."""

    def __init__(self, clock: HistoryClock, weather: Weather, chance: random.Random, source: str) -> None:
        self._clock = clock
        self._weather = weather
        self._chance = chance
        self._ids = ExchangeIds(clock, source)
        self._books = Books()
        self._source = self._books.hello("history", (), self._moment())
        self._hashes: dict[str, str] = {}

    def enter(self, snapshot: Snapshot, keys: dict[tuple[str, str], str]) -> None:
        """From now on this snapshot is in force; `keys` are key ids by (app, environment)."""
        self._snapshot = snapshot
        self._keys = keys
        self._books.apply_limits(LimitsSection(snapshot.limits))

    def play(self, caller: Caller, at_us: int) -> list[Record]:
        """The records of one request that begins at `at_us`; instants may not go back."""
        self._clock.put(at_us)
        request_id = self._ids.next_id()
        steps_us = [max(1, int(spread(median, self._chance))) for median in STEP_US]
        try:
            asked = ask(self._snapshot, caller, request_id, self._clock, steps_us, self._chance)
        except LineclearError as error:
            key_id = self._keys[caller.app, caller.environment]
            return [refusal(self._snapshot, caller, request_id, key_id, self._clock, error, self._chance)]
        records: list[Record] = [self._intent(asked)]
        reply = self._reserved(asked)
        if isinstance(reply, Denied):
            why = denial(reply, asked.nano_usd)
            return [*records, self._unanswered(asked, why, Tried([], [], sum(asked.steps_us)))]
        tried = self._tries(asked)
        records += tried.checkpoints
        if tried.candidate is None:
            self._books.act(Void(request_id), self._source, self._moment())
            return [*records, self._unanswered(asked, tried.error, tried)]
        answer = answer_of(
            asked.caller, tried.candidate, asked.input_tokens, asked.is_stream, self._cap(asked), self._chance
        )
        return [*records, self._answered(asked, tried, tried.candidate, answer)]

    # Reserve

    def _intent(self, asked: Asked) -> Intent:
        chance, caller = self._chance, asked.caller
        first = asked.candidates[0]
        user = f"{caller.app}-{chance.randrange(caller.users)}" if caller.users else ""
        return Intent(
            id=asked.id,
            at_us=asked.at_us,
            environment=caller.environment,
            team=asked.app.team,
            app=asked.app.name,
            key_id=self._keys[caller.app, caller.environment],
            route=asked.route.name,
            release=asked.route.release,
            revision=self._snapshot.revision,
            operation=caller.operation.value,
            dialect=OPERATION_DIALECT[caller.operation].value,
            task=asked.task,
            data_class=asked.data_class,
            stream=asked.is_stream,
            accounts=asked.app.accounts.ids + asked.route.accounts.ids,
            reserved_nano_usd=asked.nano_usd,
            reserved_tokens=asked.tokens,
            model=first.model,
            provider=first.provider,
            price_version=first.price_version,
            inbound_id=f"{caller.app}-{chance.getrandbits(40):010x}" if chance.random() < INBOUND_SHARE else "",
            traceparent=_traceparent(chance) if chance.random() < TRACED_SHARE else "",
            user_hash=self._user_hash(user),
            tags=caller.tags,
        )

    def _user_hash(self, user: str) -> str:
        found = self._hashes.get(user)
        if found is None:
            found = self._hashes[user] = user_hash(self._snapshot, user)
        return found

    def _reserved(self, asked: Asked) -> Granted | Denied | None:
        accounts = asked.app.accounts.ids + asked.route.accounts.ids
        if not accounts:
            return None
        op = Reserve(asked.id, accounts, asked.tokens, asked.nano_usd)
        reply = self._books.act(op, self._source, self._moment())
        return reply if isinstance(reply, Granted | Denied) else None

    # Attempts

    def _tries(self, asked: Asked) -> Tried:
        """The loop of `walk`: try, learn, recover."""
        tried = Tried([], [], sum(asked.steps_us))
        errors: list[UpstreamError] = []
        place = 0
        while True:
            candidate, number = asked.candidates[place], len(errors) + 1
            at_us = asked.at_us + tried.elapsed_us
            if number > 1:
                tried.checkpoints.append(
                    Checkpoint(asked.id, at_us, number, candidate.model, candidate.provider, NO_USAGE, 0)
                )
            sky = self._weather.at(candidate.provider, at_us)
            candidate.health.begin()
            failure = try_fails(sky, len(asked.candidates) > 1, candidate.slow, self._chance)
            candidate.health.end()
            if failure is None:
                tried.candidate = candidate
                return tried
            error = failure.error
            learn(error, candidate.health)
            cost = 0
            if error.attempt_class is AttemptClass.AMBIGUOUS and candidate.price is not None:
                cost = cost_nano_usd(Usage(input_tokens=asked.input_tokens), candidate.price)
            tried.waste_nano_usd += cost
            tried.attempts.append(
                AttemptRecord(
                    number, candidate.model, candidate.provider, error.attempt_class.value, error.status or 0,
                    error.code.value, tried.elapsed_us, failure.took_us, _vendor_id(error.status, self._chance), cost,
                )
            )  # fmt: skip
            errors.append(error)
            tried.elapsed_us += failure.took_us
            left = Left(place + 1 < len(asked.candidates), place > 0, TOTAL_MS - tried.elapsed_us // 1_000)
            recovery = recover(errors, left)
            if recovery.move is Move.STOP or (recovery.counts_as_retry and not candidate.health.take_retry()):
                tried.error = final_error(errors)
                return tried
            tried.elapsed_us += wait_us(recovery, error, self._chance)
            place = {Move.NEXT: place + 1, Move.FIRST: 0}.get(recovery.move, place)

    def _cap(self, asked: Asked) -> int:
        return asked.route.max_tokens or asked.order.output_cap or OUTPUT_TOKENS_DEFAULT

    # Settle

    def _unanswered(self, asked: Asked, error: LineclearError | None, tried: Tried) -> Settle:
        """The end of a call that got a problem instead of an answer."""
        if error is None:
            raise ValueError("a call without an answer ends with an error")
        # The step that failed is marked by the settle, as in `walk`: `reserve` if it was refused, else `attempt`.
        settle_us = max(1, int(spread(SETTLE_US, self._chance)))
        *before_us, reserve_us = asked.steps_us
        if tried.attempts:
            steps_us = [*asked.steps_us, tried.elapsed_us - sum(asked.steps_us) + settle_us]
        else:
            steps_us = [*before_us, reserve_us + settle_us]
        return self._settle(asked, tried, steps_us, Answer(_outcome(error)), None, error)

    def _answered(self, asked: Asked, tried: Tried, candidate: Candidate, answer: Answer) -> Settle:
        sky = self._weather.at(candidate.provider, asked.at_us + tried.elapsed_us)
        begin_us = int(spread(sky.first_ms, self._chance) * 1_000)
        rest_us = int(spread(sky.token_ms, self._chance, 0.2) * answer.usage.total_output_tokens * 1_000)
        in_attempt_us, in_relay_us = (begin_us, rest_us) if asked.is_stream else (begin_us + rest_us, 40)
        before_us = tried.elapsed_us - sum(asked.steps_us)
        steps_us = [*asked.steps_us, before_us + in_attempt_us, in_relay_us]
        steps_us.append(max(1, int(spread(SETTLE_US, self._chance))))
        is_gone = answer.outcome is Outcome.CLIENT_GONE and not asked.is_stream
        if answer.outcome is Outcome.OK:
            candidate.health.succeeded()
        elif answer.error_code:
            candidate.health.failed()
        attempt_class = AttemptClass.OK if not answer.error_code else AttemptClass.PARTIAL
        cost, error_code = answer.cost_nano_usd, answer.error_code
        if is_gone:
            attempt_class, error_code = AttemptClass.AMBIGUOUS, Outcome.CLIENT_GONE.value
            price = candidate.price
            cost = cost_nano_usd(Usage(input_tokens=asked.input_tokens), price) if price is not None else 0
            tried.waste_nano_usd += cost
        number, start_us = len(tried.attempts) + 1, tried.elapsed_us
        vendor_id = "" if is_gone else _vendor_id(200, self._chance)
        tried.attempts.append(
            AttemptRecord(
                number, candidate.model, candidate.provider, attempt_class.value, 0 if is_gone else 200, error_code,
                start_us, in_attempt_us + in_relay_us, vendor_id, cost,
            )
        )  # fmt: skip
        tried.elapsed_us += in_attempt_us
        used = answer.usage.total_input_tokens + answer.usage.total_output_tokens
        op = Void(asked.id) if is_gone else SettleAccount(asked.id, used, answer.cost_nano_usd)
        self._books.act(op, self._source, self._moment())
        return self._settle(asked, tried, steps_us, answer, None if is_gone else candidate, None)

    def _settle(
        self,
        asked: Asked,
        tried: Tried,
        steps_us: list[int],
        answer: Answer,
        served: Candidate | None,
        error: LineclearError | None,
    ) -> Settle:
        duration_us = sum(steps_us)
        status = status_of(error) if error is not None else 200 if served is not None else 0
        tokens_out = answer.usage.total_output_tokens
        return Settle(
            id=asked.id,
            at_us=asked.at_us + duration_us,
            outcome=answer.outcome.value,
            status=status,
            error_code=error.code.value if error is not None else answer.error_code,
            model=served.model if served is not None else "",
            provider=served.provider if served is not None else "",
            attempts=tuple(tried.attempts),
            candidates=asked.considered,
            rules=error.rules if error is not None else (),
            usage=answer.usage,
            cost_nano_usd=answer.cost_nano_usd,
            cost_basis=answer.basis.value,
            waste_nano_usd=tried.waste_nano_usd,
            price_version=served.price_version if served is not None else "",
            stop_reason=answer.native_stop,
            model_echo=served.upstream_id if served is not None else "",
            response_id=answer.response_id if served is not None else "",
            duration_us=duration_us,
            first_event_us=tried.elapsed_us if served is not None else 0,
            steps_us=tuple(steps_us),
            request_bytes=asked.input_tokens * BYTES_PER_ESTIMATED_TOKEN + 180,
            response_bytes=0 if served is None else 320 + tokens_out * (190 if asked.is_stream else 5),
            malformed_events=0,
        )

    def _moment(self) -> Moment:
        return Moment(self._clock.unix_us(), self._clock.unix_us() // 1_000_000)


def _outcome(error: LineclearError) -> Outcome:
    """As `relay` names the end of a call without an answer."""
    if isinstance(error, CallerError):
        return Outcome.REFUSED
    if isinstance(error, UpstreamError) and error.attempt_class is AttemptClass.CLIENT_ERROR:
        return Outcome.REJECTED
    return Outcome.FAILED


def _vendor_id(status: int | None, chance: random.Random) -> str:
    return f"req-{chance.getrandbits(64):016x}" if status else ""


def _traceparent(chance: random.Random) -> str:
    return f"00-{chance.getrandbits(128):032x}-{chance.getrandbits(64):016x}-01"
