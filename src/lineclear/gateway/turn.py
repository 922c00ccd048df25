"""The turn of a long request: reading it through costs tenths of a second, so who is over a limit is told before.

In: Admitted, the snapshot in hand, the accountant. Out: nothing, or the refusal that its reservation would have met.
Takes nothing from any account. One long request of a worker is read through at a time.
"""

from typing import Final

from lineclear.domain.accounts import Binding, Denied, Granted, Look
from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.domain.limits import month_period, zone_named
from lineclear.domain.snapshot import AccountLimits
from lineclear.gateway.admit import Admitted
from lineclear.gateway.parts import Parts
from lineclear.gateway.reserve import denial
from lineclear.gateway.snapshot import Snapshot

LONG_BYTES: Final = 64 * 1024
"""From here on a request waits its turn; 0.2 s of a core per MB with every detector."""
MINUTE_MS: Final = 60_000


async def demand_room(parts: Parts, snapshot: Snapshot, admitted: Admitted) -> None:
    """Go on only if every account of the call has something left. How many calls are under way is not looked at.

    Without the accountant every call goes on: `reserve` holds to decision 3.

    Raises:
        CallerError: RATE_LIMITED, BUDGET_EXCEEDED.
    """
    request_id = admitted.parsed.identified.head.request_id
    for account in (*admitted.parsed.identified.app.accounts.ids, *admitted.route.accounts.ids):
        try:
            left = await parts.accountant.look(Look(request_id, account))
        except PlatformFault as error:
            if error.code is ErrorCode.ACCOUNTANT_UNAVAILABLE:
                return
            raise
        limits = snapshot.limits.get(account)
        if isinstance(left, Granted) and limits is not None:
            denied = _denied(request_id, account, limits, left, parts.clock.unix_us() // 1_000_000)
            if denied is not None:
                raise denial(denied)


def _denied(request_id: str, account: str, limits: AccountLimits, left: Granted, now_s: int) -> Denied | None:
    for binding, per_minute, remaining in (
        (Binding.REQUESTS, limits.requests_per_minute, left.requests_remaining),
        (Binding.TOKENS, limits.tokens_per_minute, left.tokens_remaining),
    ):
        if per_minute and remaining is not None and remaining <= 0:
            return Denied(request_id, account, binding.value, per_minute, -(-MINUTE_MS // per_minute), 0, left)
    budget, remaining = limits.budget, left.budget_remaining_nano_usd
    if budget is None or remaining is None or remaining > 0:
        return None
    ends_s = month_period(now_s, zone_named(budget.time_zone)).end_s
    return Denied(request_id, account, Binding.BUDGET.value, budget.nano_usd_per_month, None, ends_s, left)
