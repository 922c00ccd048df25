"""The rules of rates and periods, as pure integer arithmetic. Who keeps the state: the accountant, and a gateway alone.

GCRA with exact integers: a rate's state is one theoretical arrival time in units of microseconds times rate, so that
one unit always weighs 60,000,000 and nothing is ever rounded. The burst is one whole minute's worth.
Source: ITU-T I.371 Annex A (generic cell rate algorithm, virtual scheduling); research/reliability-security.md §4.
"""

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

MINUTE_US: Final = 60_000_000

RESERVATION_TTL_S: Final = 120
"""A reservation whose owner is away for so long is posted at its last checkpoint."""
LEASE_GRACE_S: Final = 5
"""A concurrency slot whose owner is away for so long is free again."""


def rate_take(arrival: int, now_us: int, units: int, per_minute: int) -> int:
    """The theoretical arrival time after taking `units`; whether that is allowed is `rate_wait_us`'s answer."""
    now = now_us * per_minute
    return (arrival if arrival > now else now) + units * MINUTE_US


def rate_wait_us(arrival_after: int, now_us: int, per_minute: int) -> int:
    """How long to wait until this take would be allowed, rounded up; 0 = now. `per_minute` > 0."""
    over = arrival_after - (now_us + MINUTE_US) * per_minute
    return 0 if over <= 0 else -(-over // per_minute)


def rate_remaining(arrival: int, now_us: int, per_minute: int) -> int:
    """Whole units that could be taken now, from 0 to `per_minute`."""
    debt = arrival - now_us * per_minute
    if debt <= 0:
        return per_minute
    return max(0, (per_minute * MINUTE_US - debt) // MINUTE_US)


def rate_reset_ms(arrival: int, now_us: int, per_minute: int) -> int:
    """Milliseconds until all of it is there again, rounded up."""
    debt = arrival - now_us * per_minute
    return 0 if debt <= 0 or per_minute == 0 else -(-debt // (per_minute * 1000))


def rate_correct(arrival: int, now_us: int, units: int, per_minute: int) -> int:
    """Takes `units` more (or gives back, if negative) after the fact; never to before now."""
    now = now_us * per_minute
    corrected = (arrival if arrival > now else now) + units * MINUTE_US
    return corrected if corrected > now else now


def rate_rescale(arrival: int, old_per_minute: int, new_per_minute: int) -> int:
    """The same arrival time under another rate."""
    return arrival * new_per_minute // old_per_minute if old_per_minute else 0


class Period(msgspec.Struct, frozen=True, gc=False):
    """A calendar month somewhere."""

    id: str
    """Such as `2026-11`."""
    start_s: int
    """Unix seconds, inclusive."""
    end_s: int
    """Unix seconds, exclusive: when the next one begins."""


def zone_named(name: str) -> ZoneInfo:
    """The IANA time zone.

    Raises:
        ValueError: there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise ValueError(f"{name!r} is not an IANA time zone") from error


def month_period(unix_s: int, zone: ZoneInfo) -> Period:
    """The calendar month in `zone` that holds this instant."""
    local = datetime.fromtimestamp(unix_s, UTC).astimezone(zone)
    start = datetime(local.year, local.month, 1, tzinfo=zone)
    if local.month == 12:
        end = datetime(local.year + 1, 1, 1, tzinfo=zone)
    else:
        end = datetime(local.year, local.month + 1, 1, tzinfo=zone)
    return Period(f"{local.year:04d}-{local.month:02d}", int(start.timestamp()), int(end.timestamp()))
