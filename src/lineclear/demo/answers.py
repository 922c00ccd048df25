"""What a simulated answer holds: tokens by bucket, how it ended, what it costs and how that is known.

In: a habit, the candidate that answers, the prompt's tokens, chance. Out: an Answer. Costs are `domain.money`'s, at
the candidate's own price.
"""

import random
from typing import Final

import msgspec

from lineclear.demo.callers import Caller
from lineclear.demo.tries import spread
from lineclear.domain.errors import ErrorCode
from lineclear.domain.exchange import OPERATION_DIALECT, Dialect
from lineclear.domain.ledger import Outcome
from lineclear.domain.money import NO_USAGE, CostBasis, Usage, cost_nano_usd
from lineclear.gateway.snapshot import Candidate

STATES_COST: Final = "basalt"
"""The provider that says what each answer costs."""
DISCOUNT: Final = (94, 100)
"""It charges so much of its list price."""
GONE_SHARE: Final = 0.006
"""Of callers who hang up before the end."""
CUT_SHARE: Final = 0.002
"""Of streams that break off."""
UNCOUNTED_SHARE: Final = 0.01
"""Of streams whose vendor forgets to say how many tokens they took."""
CACHE_HIT_SHARE: Final = 0.8
"""Of calls whose repeated part the vendor still has."""
REASONING_SHARE: Final = 0.35
"""Of a deep model's output that nobody sees."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """How a call ended and what it used."""

    outcome: Outcome
    usage: Usage = NO_USAGE
    cost_nano_usd: int = 0
    basis: CostBasis = CostBasis.PRICED
    error_code: str = ""
    native_stop: str = ""
    response_id: str = ""


def answer_of(
    caller: Caller, candidate: Candidate, input_tokens: int, is_stream: bool, cap: int, chance: random.Random
) -> Answer:
    """An answer that has begun, to its end."""
    outcome = _outcome(is_stream, chance)
    if outcome is Outcome.CLIENT_GONE and not is_stream:
        return Answer(outcome)
    wanted = int(spread(caller.output_tokens, chance, 0.5)) if caller.output_tokens else 0
    output_tokens = min(cap, wanted)
    is_estimated = is_stream and chance.random() < UNCOUNTED_SHARE
    if outcome is not Outcome.OK:
        output_tokens = int(output_tokens * chance.random())
        is_estimated = True
    if is_estimated:
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    else:
        usage = _usage(caller, candidate, input_tokens, output_tokens, chance)
    cost, basis = _cost(candidate, usage, is_estimated=is_estimated)
    if basis is CostBasis.REPORTED:
        usage = msgspec.structs.replace(usage, reported_cost_nano_usd=cost)
    is_openai = OPERATION_DIALECT[caller.operation] is Dialect.OPENAI
    stop = ""
    if outcome is Outcome.OK and caller.output_tokens:
        ends, cut = ("stop", "length") if is_openai else ("end_turn", "max_tokens")
        stop = cut if wanted > cap else ends
    return Answer(
        outcome,
        usage,
        cost,
        basis,
        ErrorCode.UPSTREAM_TRUNCATED.value if outcome is Outcome.TRUNCATED else "",
        stop,
        f"{'chatcmpl-' if is_openai else 'msg_'}{chance.getrandbits(80):020x}" if caller.output_tokens else "",
    )


def _outcome(is_stream: bool, chance: random.Random) -> Outcome:
    point = chance.random()
    if point < GONE_SHARE:
        return Outcome.CLIENT_GONE
    if is_stream and point < GONE_SHARE + CUT_SHARE:
        return Outcome.TRUNCATED
    return Outcome.OK


def _usage(caller: Caller, candidate: Candidate, input_tokens: int, output_tokens: int, chance: random.Random) -> Usage:
    """The tokens in disjoint buckets, as the vendor counts them."""
    price = candidate.price
    read = written = 0
    if caller.cached_share and price is not None and price.cache_read_per_mtok is not None:
        repeated = int(input_tokens * caller.cached_share)
        if chance.random() < CACHE_HIT_SHARE:
            read = repeated
        elif price.cache_write_per_mtok is not None:
            written = repeated
    reasoning = int(output_tokens * REASONING_SHARE) if candidate.slow else 0
    return Usage(
        input_tokens=input_tokens - read - written,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=output_tokens - reasoning,
        reasoning_tokens=reasoning,
    )


def _cost(candidate: Candidate, usage: Usage, *, is_estimated: bool) -> tuple[int, CostBasis]:
    price = candidate.price
    if price is None:
        return 0, CostBasis.UNPRICED
    cost = cost_nano_usd(usage, price)
    if is_estimated:
        return cost, CostBasis.ESTIMATED
    if candidate.provider == STATES_COST:
        return cost * DISCOUNT[0] // DISCOUNT[1], CostBasis.REPORTED
    return cost, CostBasis.PRICED
