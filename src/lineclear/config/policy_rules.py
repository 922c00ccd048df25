"""What a policy's rules must be on their own: conditions that can hold, a time that exists, a route where one is due.

In: one Policy. Out: (path, code, message) per mistake. Pure; whether a named thing exists is control's knowledge.
"""

import re
import zoneinfo
from collections.abc import Iterator, Sequence
from typing import Final

from lineclear.config.manifest_fields import near_words
from lineclear.config.yaml_tree import PlainPath
from lineclear.domain.manifest import Policy, PolicyCheck, PolicyThen, PolicyTimes
from lineclear.domain.policy_rules import MINUTES_PER_DAY, WEEKDAYS

RULES_MAX: Final = 50
VALUES_MAX: Final = 200
"""Of one condition."""
TAG_CHARS_MAX: Final = 100
LISTS: Final = (
    "team", "app", "task", "environment", "data_class", "tag", "model", "cost_tier", "risk_tier", "provider_region",
    "vendor_record",
)  # fmt: skip
HOURS: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)")

Mistake = tuple[PlainPath, str, str]


def check_policy(policy: Policy) -> Iterator[Mistake]:
    """Every mistake of its rules, but for their names."""
    if not policy.rules:
        yield ("rules",), "invalid_value", "at least one rule is needed"
    if len(policy.rules) > RULES_MAX:
        yield ("rules",), "too_large", f"more than {RULES_MAX} rules"
    for at, rule in enumerate(policy.rules):
        for path, code, message in _rule(rule):
            yield ("rules", at, *path), code, message


def minutes_of(hours: str) -> tuple[int, int]:
    """First minute of the day, and the one behind the last, of `08:00-18:00`; a text that is none is all day."""
    if not HOURS.fullmatch(hours):
        return 0, MINUTES_PER_DAY
    begin, end = hours.split("-")
    return _minute(begin), _minute(end)


def _minute(text: str) -> int:
    hour, minute = text.split(":")
    return int(hour) * 60 + int(minute)


def _rule(rule: PolicyCheck) -> Iterator[Mistake]:
    for name in LISTS:
        yield from _values(name, getattr(rule.when, name))
    for at, tag in enumerate(rule.when.tag):
        if not tag.strip() or tag != tag.strip() or "," in tag or len(tag) > TAG_CHARS_MAX:
            message = f"{tag!r} can be no tag: no comma, no spaces around it, at most {TAG_CHARS_MAX} characters"
            yield ("when", "tag", at), "invalid_value", message
    if rule.when.time is not None:
        yield from _time(rule.when.time)
    match rule.then:
        case PolicyThen.REQUIRE_REVIEW:
            yield ("then",), "not_yet_supported", "`require_review` is not yet supported: deny, allow or require_route"
        case PolicyThen.REQUIRE_ROUTE if rule.route is None:
            yield ("then",), "missing_field", "`require_route` needs `route`: the one through which such calls may go"
        case PolicyThen.DENY | PolicyThen.ALLOW if rule.route is not None:
            yield ("route",), "invalid_value", "`route` belongs to `then: require_route`"


def _values(name: str, values: Sequence[str]) -> Iterator[Mistake]:
    if len(values) > VALUES_MAX:
        yield ("when", name), "too_large", f"more than {VALUES_MAX} values"
    seen: set[str] = set()
    for at, value in enumerate(values):
        if value in seen:
            yield ("when", name, at), "duplicate", f"{str(value)!r} stands twice"
        seen.add(value)


def _time(time: PolicyTimes) -> Iterator[Mistake]:
    root = ("when", "time")
    # Membership in the list first: ZoneInfo itself would open any path-like key.
    zones = zoneinfo.available_timezones()
    if time.zone not in zones:
        near = near_words(time.zone, sorted(zones)) or "one is Europe/Berlin"
        yield (*root, "zone"), "invalid_value", f"{time.zone!r} is not an IANA time zone; {near}"
    for at, day in enumerate(time.days):
        if day not in WEEKDAYS:
            near = near_words(day, WEEKDAYS) or f"one of {', '.join(WEEKDAYS)}"
            yield (*root, "days", at), "invalid_value", f"{day!r} is not a day; {near}"
        elif day in time.days[:at]:
            yield (*root, "days", at), "duplicate", f"{day!r} stands twice"
    if time.hours is not None:
        begin, end = minutes_of(time.hours)
        if not HOURS.fullmatch(time.hours) or begin == end:
            message = f"{time.hours!r} is no stretch of a day such as 08:00-18:00; over midnight: 22:00-06:00"
            yield (*root, "hours"), "invalid_value", message
    elif not time.days:
        yield (*root, "zone"), "invalid_value", "`days` or `hours` is needed beside `zone`"
