"""From the audit trail to notices: the trail is the outbox, written in the transaction of each change.

In: events above the cursor, the state, who called. Out: notices, whom they are for, deliveries to make, and the cursor
behind the last event, all in one transaction: each event is told once, whenever control dies.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.base.ids import random_id
from lineclear.control.audit import AuditAction
from lineclear.control.desired import Desired
from lineclear.control.notices.news import EVENTS, WORDS_CHARS_MAX, News, endings, news_of
from lineclear.control.publish import read_desired
from lineclear.control.under_way import PLATFORM_ACTOR
from lineclear.domain.notices import REPEAT_S, US_PER_S, DeliveryState, NoticeKind, Part, wants
from lineclear.store import control_rows as rows
from lineclear.store import notice_rows, rollout_rows
from lineclear.store.control_rows import AuditRow
from lineclear.store.database import Database
from lineclear.store.notice_rows import AddressRow, DeliveryRow, NoticeRow

_log = logging.getLogger(__name__)

BATCH_EVENTS: Final = 500
NOTICE_PREFIX: Final = "ntc_"
DELIVERY_PREFIX: Final = "dlv_"
SAME_MOVE_US: Final = 5 * US_PER_S
"""An end of a rollout and the move of its deployment that lie so near are one thing that happened."""

AskCallers = Callable[[Mapping[str, str]], Mapping[str, int]]
"""Requests by app of the last 30 days with these values in these dimensions of the ledger."""


class Outbox:
    """Reads on from where it stopped."""

    def __init__(self, database: Database, clock: Clock, callers: AskCallers) -> None:
        self._database = database
        self._clock = clock
        self._callers = callers

    def take(self) -> int:
        """Make notices of what happened since the last look; how many were made.

        The ledger is asked before the transaction begins, so that no change waits for it.
        """
        with self._database.read() as tx:
            done = notice_rows.cursor(tx)
            events = rows.read_audit(tx, done, BATCH_EVENTS)
            if not events:
                return 0
            desired = read_desired(tx)
            found = [
                (event, news)
                for event in _without_doubles(tx, events)
                if event.action in EVENTS
                for news in _read(tx, desired, event)
            ]
        addressed = [(event, news, self._addresses(desired, news)) for event, news in found]
        with self._database.write() as tx:
            if notice_rows.cursor(tx) != done:
                return 0
            made = sum(self._put(tx, desired, _origin(event), news, teams) for event, news, teams in addressed)
            notice_rows.move_cursor(tx, events[-1].number)
        return made

    def remind(self) -> int:
        """Tell once more of model versions that go soon and are still called; how many notices were made."""
        now_us = self._clock.unix_us()
        with self._database.read() as tx:
            desired = read_desired(tx)
            found = [
                (f"{NOTICE_PREFIX}{hashlib.sha256(text.encode()).hexdigest()[:16]}", news)
                for text, news in endings(desired, now_us // US_PER_S)
            ]
            due = [item for item in found if notice_rows.read_notice(tx, item[0]) is None]
        addressed = [(id_, news, self._addresses(desired, news)) for id_, news in due]
        called = [item for item in addressed if any(apps for _, apps in item[2].values())]
        if called:
            with self._database.write() as tx:
                for id_, news, addresses in called:
                    self._put(tx, desired, _Origin(id_, now_us, PLATFORM_ACTOR), news, addresses)
        return len(called)

    def _addresses(self, desired: Desired, news: News) -> dict[str, tuple[Part, dict[str, int]]]:
        """Whom it is for: each team with why and with its apps that called."""
        found: dict[str, tuple[Part, dict[str, int]]] = {
            scope.team: (Part.OWNER if scope.team else Part.OPERATOR, {}) for scope in news.scopes
        }
        called = {} if news.asked is None else self._callers(news.asked)
        for app, requests in sorted(called.items()):
            known = desired.apps.get(app)
            if not requests or known is None:
                continue
            part, apps = found.get(known.team, (Part.CALLER, {}))
            found[known.team] = (part, {**apps, app: requests})
        return found or {"": (Part.OPERATOR, {})}

    def _put(
        self,
        tx: Connection,
        desired: Desired,
        origin: "_Origin",
        news: News,
        addresses: Mapping[str, tuple[Part, dict[str, int]]],
    ) -> bool:
        """Write a notice with its addresses and deliveries; False if it only repeats the one before."""
        if news.environment:
            # Whoever looks after the deployment sees it by its scope, and so it needs no address of its own.
            addresses = {team: found for team, found in addresses.items() if team} or addresses
        last = notice_rows.newest_of(tx, news.object)
        if last is not None and last.title == news.title and origin.at_us - last.at_us < REPEAT_S * US_PER_S:
            notice_rows.count_repeat(tx, last.id)
            return False
        facts = {
            **news.facts,
            "by": origin.actor,
            "reason": origin.reason[:WORDS_CHARS_MAX],
            "change": origin.change_id,
        }
        id_ = origin.notice_id
        row = NoticeRow(
            id_, origin.at_us, news.kind.value, news.object, news.environment, news.route, news.title,
            json.dumps(facts, ensure_ascii=False), origin.audit_number, 0,
        )  # fmt: skip
        parts = [AddressRow(id_, team, part.value, json.dumps(apps)) for team, (part, apps) in addresses.items()]
        notice_rows.add_notice(tx, row, parts)
        for team in addresses:
            for delivery in self.deliveries(desired, id_, news.kind, team):
                notice_rows.add_delivery(tx, delivery)
        return True

    def deliveries(self, desired: Desired, notice_id: str, kind: NoticeKind, team: str) -> Iterable[DeliveryRow]:
        """One for each channel of a team that wants the kind, due at once."""
        known, now_us = desired.teams.get(team), self._clock.unix_us()
        for channel in known.notices if known is not None else ():
            if wants(channel.on, kind):
                yield DeliveryRow(
                    random_id(DELIVERY_PREFIX), notice_id, team, channel.name, DeliveryState.PENDING.value,
                    0, now_us, now_us, 0, "",
                )  # fmt: skip


@dataclass(frozen=True)
class _Origin:
    """What a notice comes from."""

    notice_id: str
    at_us: int
    actor: str
    reason: str = ""
    change_id: str = ""
    audit_number: int = 0


def _origin(event: AuditRow) -> _Origin:
    return _Origin(
        random_id(NOTICE_PREFIX), event.at_us, event.actor, event.reason, event.change_id, event.number
    )  # fmt: skip


def _read(tx: Connection, desired: Desired, event: AuditRow) -> list[News]:
    """What an event means; one that cannot be read any more is told to nobody, and keeps no other from being told."""
    try:
        return list(news_of(tx, desired, event))
    except (ValueError, LookupError, msgspec.MsgspecError) as error:
        _log.error("event %d (%s) cannot be told: %s", event.number, event.action, error)
        return []


_ENDS: Final = frozenset(
    {AuditAction.ROLLOUT_COMPLETED, AuditAction.ROLLOUT_ROLLED_BACK, AuditAction.ROLLOUT_CANCELLED}
)
_MOVES: Final = frozenset({AuditAction.DEPLOYMENT_MOVED, AuditAction.DEPLOYMENT_ROLLED_BACK})


def _without_doubles(tx: Connection, events: Sequence[AuditRow]) -> list[AuditRow]:
    """Without the ends of rollouts that the move of their deployment right behind tells of anyway."""
    kept: list[AuditRow] = []
    for event, later in zip(events, [*events[1:], None], strict=True):
        if event.action in _ENDS and later is not None and later.action in _MOVES and later.before != later.after:
            row = rollout_rows.read_rollout(tx, event.object.partition("/")[2])
            place = "" if row is None else f"deployment/{row.environment}/{row.route}"
            if later.object == place and later.at_us - event.at_us < SAME_MOVE_US:
                continue
        kept.append(event)
    return kept
