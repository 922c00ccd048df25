"""`GET /v1/me`: who a key is, what it may call, and what is left of its limits and budgets.

In: the snapshot in hand and the accountant's books. Out: JSON. Where the accountant is away the rest is told and
what is left is said to be unknown. Control is not asked.
"""

from typing import Any

import msgspec

from lineclear.domain.accounts import Granted
from lineclear.domain.errors import PlatformFault
from lineclear.domain.exchange import OPERATION_PATH
from lineclear.domain.limits import month_period, zone_named
from lineclear.domain.money import usd_text
from lineclear.domain.snapshot import AccountLimits, BudgetLimit
from lineclear.gateway.admit import callable_names
from lineclear.gateway.fields import instant
from lineclear.gateway.identify import Identified
from lineclear.gateway.local import Answer, identify_caller, told_fields
from lineclear.gateway.parts import Parts
from lineclear.gateway.snapshot import RouteView, Snapshot
from lineclear.net.server import Reply, Request

KNOWN = "known"
UNKNOWN = "unknown"
"""What is left cannot be said now: the accountant, which counts, does not answer."""
ACCOUNTS_MAX = 1_000
"""Accounts whose rest is asked for; a key that may call more limited routes than this is told the limits alone."""


async def me(parts: Parts, request: Request, _reply: Reply, request_id: str) -> Answer:
    """Answer `GET /v1/me`.

    Raises:
        CallerError: INVALID_API_KEY.
        PlatformFault: NOT_READY before the first snapshot.
    """
    caller = identify_caller(parts, request, request_id)
    snapshot = parts.current.snapshot()
    names = callable_names(snapshot, caller)
    routes = [snapshot.routes[caller.environment, name] for name in names]
    accounts = [*caller.app.accounts.ids, *(account for route in routes for account in route.accounts.ids)]
    left = await _left(parts, request_id, accounts)
    body = {
        "object": "me",
        "app": caller.app.name,
        "team": caller.app.team,
        "environment": caller.environment,
        "environment_class": snapshot.environments[caller.environment],
        "key": _key(snapshot, caller),
        "revision": snapshot.revision,
        "routes": [_route(route) for route in routes],
        "budgets": [
            _budget(parts, account, budget, left.get(account))
            for account in accounts
            if (budget := snapshot.limits[account].budget) is not None
        ],
        "limits": [
            row for account in accounts for row in _limits(account, snapshot.limits[account], left.get(account))
        ],
    }
    return 200, told_fields(snapshot, caller), msgspec.json.encode(body)


async def _left(parts: Parts, request_id: str, accounts: list[str]) -> dict[str, Granted]:
    """What the accountant says is left, by account; without those that it does not answer for."""
    try:
        return await parts.accountant.looks.left(request_id, accounts[:ACCOUNTS_MAX])
    except PlatformFault:
        parts.counters["looks_unanswered"] += 1
        return {}


def _key(snapshot: Snapshot, caller: Identified) -> dict[str, Any]:
    # Any: as msgspec encodes it.
    entry = snapshot.known_keys.get(caller.head.key)
    expires_at = entry.expires_at if entry is not None else None
    return {"id": caller.key_id, "expires_at": None if expires_at is None else instant(expires_at)}


def _route(route: RouteView) -> dict[str, Any]:
    # Any: as msgspec encodes it.
    return {
        "name": route.name,
        "team": route.team,
        "description": route.description,
        "tasks": route.tasks,
        "task_required": len(route.tasks) > 1,
        "data_class": route.data_class,
        "operations": route.operations,
        "paths": [OPERATION_PATH[operation] for operation in route.operations],
        "release": route.release,
    }


def _budget(parts: Parts, account: str, budget: BudgetLimit, left: Granted | None) -> dict[str, Any]:
    # Any: as msgspec encodes it.
    period = month_period(parts.clock.unix_us() // 1_000_000, zone_named(budget.time_zone))
    remaining = left.budget_remaining_nano_usd if left is not None else None
    return {
        "account": account,
        "usd_per_month": usd_text(budget.nano_usd_per_month),
        "remaining_usd": None if remaining is None else usd_text(max(0, remaining)),
        "remaining": UNKNOWN if remaining is None else KNOWN,
        "month": period.id,
        "time_zone": budget.time_zone,
        "resets_at": instant(period.end_s),
    }


def _limits(account: str, limits: AccountLimits, left: Granted | None) -> list[dict[str, Any]]:
    """One row for each limit of an account that is not money. Any: as msgspec encodes it."""
    counts = (
        ("requests_per_minute", limits.requests_per_minute, left.requests_remaining if left else None),
        ("tokens_per_minute", limits.tokens_per_minute, left.tokens_remaining if left else None),
        # How many calls are under way is another number a moment later: nothing to plan by.
        ("concurrency", limits.concurrency, None),
    )
    return [
        {
            "account": account,
            "limit": name,
            "value": value,
            "left": remaining,
            "remaining": UNKNOWN if remaining is None else KNOWN,
        }
        for name, value, remaining in counts
        if value is not None
    ]
