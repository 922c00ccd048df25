"""Deliveries on their way: each due one is tried once, what came of it is written down, and when it is tried next.

In: deliveries, the teams' channels as they are now, secrets. Out: posts and letters; rows. What is sent outside any
transaction may be sent twice if control dies right behind it: its id is the same then, so that receivers can tell.
"""

import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from lineclear.base.clock import Clock
from lineclear.base.secret import Secret
from lineclear.control.notices import mail, webhook
from lineclear.control.notices.mail import MailServer
from lineclear.control.notices.message import Message, message_of, slack_text
from lineclear.control.notices.posting import SendFailed, post_json
from lineclear.control.notices.workers import Lane, Workers
from lineclear.control.publish import read_desired
from lineclear.control.vault import Vault
from lineclear.domain.manifest import NoticeChannel, Team
from lineclear.domain.notices import US_PER_S, DeliveryState, next_attempt_us
from lineclear.store import notice_rows
from lineclear.store.database import Database
from lineclear.store.notice_rows import AddressRow, DeliveryRow, NoticeRow

LOOK_DELIVERIES: Final = 2_000
"""Of one look: the oldest of that many channels are seen, whichever of them hang."""
CHANNEL_DELIVERIES: Final = 2
"""Of one channel in one go, one after the other; the rest is due at the next look."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ways:
    """What the server's own settings say about notices."""

    mail: MailServer | None = None
    """None = no letters can be sent."""
    private_network: bool = False
    """True permits receivers on loopback and private addresses, and http://."""
    admin_url: str = ""
    """Where people reach the console."""


@dataclass(frozen=True)
class _Sending:
    """Everything that one attempt needs."""

    row: DeliveryRow
    channel: NoticeChannel
    message: Message
    secret: Secret | None
    """What the channel's `secret` or `slack` names; None = there is none."""


class Sender:
    """Tries what is due."""

    def __init__(self, database: Database, clock: Clock, vault: Vault, ways: Ways) -> None:
        self._database = database
        self._clock = clock
        self._vault = vault
        self._ways = ways
        self._workers = Workers()

    def send_due(self, stop: threading.Event) -> int:
        """Begin to try what is due, each channel by itself; how many deliveries were begun with.

        Nothing is waited for, see `wait`. Once `stop` is set no further one is tried; what is under way then is tried
        again later.

        Raises:
            Exception: the first that was in the way of a try since the last look, such as a database that cannot be
                written.
        """
        # Asked before the rows are read: what a worker that ends meanwhile has sent would else be taken for due.
        busy = self._workers.busy()
        with self._database.read() as tx:
            due = notice_rows.due_deliveries(
                tx, DeliveryState.PENDING.value, self._clock.unix_us(), LOOK_DELIVERIES, CHANNEL_DELIVERIES
            )
            teams = read_desired(tx).teams if due else {}
        by_channel: dict[tuple[str, str], list[DeliveryRow]] = {}
        for row in due:
            by_channel.setdefault((row.team, row.channel), []).append(row)
        begun = 0
        for (team, name), rows in by_channel.items():
            if (team, name) in busy:
                continue
            channel = _channel_of(teams.get(team), name)
            if self._workers.begin(Lane(team, name, receiver_of(channel)), partial(self._send_each, rows, stop)):
                begun += len(rows)
        broken = self._workers.broken()
        if broken and not stop.is_set():
            raise broken[0]
        return begun

    def wait(self, stop: threading.Event) -> None:
        """Until what was begun with has ended, or `stop` is set.

        Raises:
            Exception: as `send_due`.
        """
        self._workers.wait(stop)
        broken = self._workers.broken()
        if broken and not stop.is_set():
            raise broken[0]

    def _send_each(self, rows: Sequence[DeliveryRow], stop: threading.Event) -> None:
        for row in rows:
            if not stop.is_set():
                self.send(row)

    def send(self, row: DeliveryRow, *, is_once: bool = False) -> DeliveryRow:
        """Try one delivery and write down what came of it; one that is tried once only is dead if it fails."""
        found = self._prepared(row)
        now = found if isinstance(found, DeliveryRow) else self._tried(found, is_once=is_once)
        with self._database.write() as tx:
            notice_rows.put_delivery(tx, now)
        return now

    def _prepared(self, row: DeliveryRow) -> _Sending | DeliveryRow:
        with self._database.read() as tx:
            notice = notice_rows.read_notice(tx, row.notice_id)
            addresses = notice_rows.read_addresses(tx, [row.notice_id])
            team = read_desired(tx).teams.get(row.team)
            channel = _channel_of(team, row.channel)
            address = next((item for item in addresses if item.team == row.team), None)
            reference = channel.secret or channel.slack if channel is not None else None
            secret = None if reference is None else self._vault.credentials(tx).get(reference)
        if channel is None or notice is None or address is None:
            now_us = self._clock.unix_us()
            return replace(row, state=DeliveryState.DROPPED.value, ended_us=now_us, problem="the channel is gone")
        return _Sending(row, channel, message_of(notice, address, self._ways.admin_url), secret)

    def _tried(self, sending: _Sending, *, is_once: bool) -> DeliveryRow:
        row = replace(sending.row, attempts=sending.row.attempts + 1)
        try:
            self._go(sending)
        except Exception as error:  # noqa: BLE001 - whatever one runs into is its own failure and holds up no other
            failure = _failure_of(error, sending.row)
            now_us = self._clock.unix_us()
            again_us = None if is_once or failure.is_final else next_attempt_us(now_us, row.attempts, failure.wait_s)
            if again_us is None:
                return replace(row, state=DeliveryState.DEAD.value, ended_us=now_us, problem=str(failure))
            return replace(row, next_us=again_us, problem=str(failure))
        return replace(row, state=DeliveryState.DELIVERED.value, ended_us=self._clock.unix_us(), problem="")

    def _go(self, sending: _Sending) -> None:
        channel, message = sending.channel, sending.message
        if channel.email:
            if self._ways.mail is None:
                raise SendFailed("this server has no mail server: LINECLEAR_SMTP_URL names one")
            mail.send_mail(self._ways.mail, channel.email, sending.row.id, message, self._clock)
            return
        if sending.secret is None:
            name = (channel.secret or channel.slack or "").partition(":")[2]
            raise SendFailed(f"there is no secret {name!r}: `lineclear secrets set {name}` makes it")
        if channel.webhook is not None:
            body = webhook.body_of(message)
            at_s = self._clock.unix_us() // US_PER_S
            headers = webhook.signature_headers(sending.row.id, at_s, body, sending.secret)
            self._post(channel.webhook, body, headers)
            return
        self._post(sending.secret.reveal(), json.dumps({"text": slack_text(message)}).encode(), {})

    def _post(self, url: str, body: bytes, headers: dict[str, str]) -> None:
        post_json(url, body, headers, self._clock, private_network=self._ways.private_network)

    def try_channel(self, notice: NoticeRow, address: AddressRow, delivery: DeliveryRow) -> DeliveryRow:
        """Write down a notice of a test with its delivery, and try that once, now."""
        with self._database.write() as tx:
            notice_rows.add_notice(tx, notice, [address])
            notice_rows.add_delivery(tx, delivery)
        return self.send(delivery, is_once=True)


def _failure_of(error: Exception, row: DeliveryRow) -> SendFailed:
    """Why it was not sent; what nobody foresaw is logged once. Its words may hold a secret and are not repeated."""
    if isinstance(error, SendFailed):
        return error
    failure = SendFailed(f"it could not be sent: {type(error).__name__}")
    if str(failure) != row.problem:
        _log.error("delivery %r to channel %r of team %r: %s", row.id, row.channel, row.team, failure)
    return failure


def _channel_of(team: Team | None, name: str) -> NoticeChannel | None:
    return next((item for item in (team.notices if team else ()) if item.name == name), None)


def receiver_of(channel: NoticeChannel | None) -> str:
    """What hangs for this channel hangs for every other one with the same."""
    if channel is None:
        return ""
    if channel.email:
        return "e-mail"
    return "Slack" if channel.webhook is None else urlsplit(channel.webhook).netloc.lower()


def channels_named(channels: Sequence[NoticeChannel], name: str | None) -> list[NoticeChannel]:
    """One channel, or all if none is named."""
    return [channel for channel in channels if name in (None, channel.name)]
