"""What people do with notices: read their inbox, take note, try a channel, send again what did not arrive.

In: the database, who asks. Out: rows. Acknowledging, trying and sending again stand in the audit trail.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from lineclear.base.clock import Clock
from lineclear.base.ids import random_id
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.notices.outbox import DELIVERY_PREFIX, NOTICE_PREFIX
from lineclear.control.notices.sending import Sender, channels_named
from lineclear.control.publish import read_desired
from lineclear.domain.access import Scope
from lineclear.domain.notices import DeliveryState, NoticeKind, Part
from lineclear.store import notice_rows
from lineclear.store.database import Database
from lineclear.store.notice_rows import LIST_ROWS_MAX, AddressRow, DeliveryRow, NoticeFilter, NoticeRow

ENDED: Final = (DeliveryState.DEAD.value, DeliveryState.DROPPED.value)
"""States of deliveries that did not arrive and are not tried any more."""


@dataclass(frozen=True)
class Told:
    """A notice with whom it is for."""

    row: NoticeRow
    addresses: tuple[AddressRow, ...]

    def scopes(self, address: AddressRow) -> tuple[Scope, ...]:
        """Where it lies for one of its teams; who may read notices in one of these sees it."""
        if address.part == Part.CALLER:
            return (Scope(address.team, self.row.environment),)
        places = [Scope(*item) for item in json.loads(self.row.facts).get("scopes", ())]
        mine = tuple(place for place in places if place.team == address.team)
        return mine or (Scope(address.team, self.row.environment, self.row.route),)


class Notices:
    """Reads and acts."""

    def __init__(self, database: Database, clock: Clock, sender: Sender) -> None:
        self._database = database
        self._clock = clock
        self._sender = sender

    def listed(self, wanted: NoticeFilter) -> list[Told]:
        """Those wanted, newest first."""
        with self._database.read() as tx:
            found = notice_rows.read_notices(tx, LIST_ROWS_MAX, wanted)
            addresses = notice_rows.read_addresses(tx, [row.id for row in found])
        by_notice: dict[str, list[AddressRow]] = {}
        for address in addresses:
            by_notice.setdefault(address.notice_id, []).append(address)
        return [Told(row, tuple(by_notice.get(row.id, ()))) for row in found]

    def show(self, notice_id: str) -> tuple[Told, list[DeliveryRow]]:
        """One with its deliveries.

        Raises:
            Refused: `not_found`.
        """
        with self._database.read() as tx:
            row = notice_rows.read_notice(tx, notice_id)
            if row is None:
                raise unknown_notice(notice_id)
            addresses = notice_rows.read_addresses(tx, [row.id])
            deliveries = notice_rows.read_deliveries(tx, LIST_ROWS_MAX, notice_id=row.id)
        return Told(row, tuple(addresses)), deliveries

    def acknowledge(self, notice_id: str, teams: list[str], actor: str) -> None:
        """Write down for these teams that somebody took note; who did so first stays."""
        with self._database.write() as tx:
            now_us = self._clock.unix_us()
            new = [team for team in teams if notice_rows.acknowledge(tx, notice_id, team, actor, now_us)]
            if new:
                self._record(tx, actor, AuditAction.NOTICE_ACKNOWLEDGED, f"notice/{notice_id}", ", ".join(new))

    def deliveries(self, state: str, teams: Collection[str] | None) -> list[DeliveryRow]:
        """Newest first, of one state and to these teams if they are named."""
        with self._database.read() as tx:
            return notice_rows.read_deliveries(tx, LIST_ROWS_MAX, state, teams=teams)

    def delivery(self, delivery_id: str) -> DeliveryRow:
        """One delivery.

        Raises:
            Refused: `not_found`.
        """
        with self._database.read() as tx:
            found = notice_rows.read_delivery(tx, delivery_id)
        if found is None:
            raise unknown_delivery(delivery_id)
        return found

    def send_again(self, row: DeliveryRow, actor: str) -> DeliveryRow:
        """Let a delivery begin anew that was given up or dropped; it is tried at the next look.

        Raises:
            Refused: `conflict` if it arrived or is on its way; `not_found`.
        """
        with self._database.write() as tx:
            pending, now_us = DeliveryState.PENDING.value, self._clock.unix_us()
            is_again = notice_rows.begin_again(tx, row.id, ENDED, pending, now_us)
            again = notice_rows.read_delivery(tx, row.id)
            if again is None:
                raise unknown_delivery(row.id)
            if not is_again:
                words = "is on its way" if again.state == pending else "arrived"
                raise Refused(
                    AdminCode.CONFLICT, f"the delivery {row.id} {words}",
                    hint="`lineclear notices deliveries --state dead` lists what did not arrive",
                )  # fmt: skip
            self._record(tx, actor, AuditAction.NOTICE_SENT_AGAIN, f"notice/{row.notice_id}", row.id)
        return again

    def try_channels(self, team: str, name: str | None, actor: str) -> list[DeliveryRow]:
        """Send a notice of a test to one channel of a team, or to all of them, now and once.

        Raises:
            Refused: `not_found` if the team has no such channel.
        """
        with self._database.read() as tx:
            known = read_desired(tx).teams.get(team)
        channels = channels_named(known.notices if known is not None else (), name)
        if not channels:
            what = f"no channel {name!r}" if name else "no channels"
            raise Refused(
                AdminCode.NOT_FOUND, f"the team {team!r} has {what}", hint="`notices` of its manifest names them"
            )
        tried = [self._try(team, channel.name, actor) for channel in channels]
        with self._database.write() as tx:
            after = ", ".join(f"{row.channel} {row.state}" for row in tried)
            self._record(tx, actor, AuditAction.NOTICE_TESTED, f"Team/{team}", after)
        return tried

    def _try(self, team: str, channel: str, actor: str) -> DeliveryRow:
        now_us, id_ = self._clock.unix_us(), random_id(NOTICE_PREFIX)
        facts = {"by": actor, "reason": "a test; nothing happened", "change": ""}
        title = f"a test of the channel {channel} of {team}"
        notice = NoticeRow(
            id_, now_us, NoticeKind.TEST.value, f"channel/{team}/{channel}", "", "", title, json.dumps(facts), 0, 0
        )
        # Whoever tries it has taken note.
        address = AddressRow(id_, team, Part.OWNER.value, "{}", now_us, actor)
        delivery = DeliveryRow(
            random_id(DELIVERY_PREFIX), id_, team, channel, DeliveryState.DEAD.value, 0, now_us, now_us, 0,
            "it was not tried to its end",
        )  # fmt: skip
        return self._sender.try_channel(notice, address, delivery)

    def _record(self, tx: Connection, actor: str, action: AuditAction, object_: str, after: str) -> None:
        audit.record(tx, self._clock, actor, [AuditEvent(action, object_, after=after)])


def facts_of(row: NoticeRow) -> dict[str, Any]:
    """What else a notice tells, without what is ours. Any: JSON."""
    return {name: value for name, value in json.loads(row.facts).items() if name != "scopes"}


def unknown_notice(notice_id: str) -> Refused:
    return Refused(AdminCode.NOT_FOUND, f"there is no notice {notice_id!r}", hint="`lineclear notices list` shows ids")


def unknown_delivery(delivery_id: str) -> Refused:
    return Refused(
        AdminCode.NOT_FOUND, f"there is no delivery {delivery_id!r}", hint="`lineclear notices deliveries` shows ids"
    )
