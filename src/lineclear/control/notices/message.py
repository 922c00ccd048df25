"""One notice as it is sent to one team: the same facts for a webhook, a line of Slack and a letter. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lineclear.domain.notices import Part
from lineclear.observe.period import time_text
from lineclear.store.notice_rows import AddressRow, NoticeRow

_SLACK_ESCAPES = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}
"""Source: https://api.slack.com/reference/surfaces/formatting#escaping"""


@dataclass(frozen=True)
class Message:
    """What is told to one team."""

    notice: str
    """The notice's id."""
    kind: str
    at: str
    """ISO 8601 UTC."""
    object: str
    environment: str
    route: str
    title: str
    team: str
    part: str
    apps: Mapping[str, int]
    """The team's own apps that called it, with requests of 30 days."""
    more: Mapping[str, Any]
    """What else is known. Any: JSON."""
    url: str
    """Of the console; empty if it is not known."""

    def facts(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "notice": self.notice, "kind": self.kind, "at": self.at, "object": self.object,
            "environment": self.environment, "route": self.route, "title": self.title, "team": self.team,
            "part": self.part, "apps": dict(self.apps), **self.more, "url": self.url,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """For a person, below the title."""
        found = []
        if self.more.get("changed"):
            found.append(f"What differs: {', '.join(self.more['changed'])}.")
        if self.more.get("reason") or self.more.get("by"):
            reason = f": {self.more['reason']}" if self.more.get("reason") else ""
            found.append(f"By {self.more.get('by', '')}{reason}")
        if self.apps:
            called = ", ".join(f"{app} {requests:,}" for app, requests in self.apps.items())
            found.append(f"Your apps that call it (requests in 30 days): {called}.")
        elif self.part == Part.OWNER:
            found.append(f"You are told because it belongs to {self.team}.")
        if self.more.get("change"):
            found.append(f"`lineclear changes show {self.more['change']}` tells more.")
        found.append(f"Take note of it: `lineclear notices ack {self.notice}`" + (f", or {self.url}" * bool(self.url)))
        return found


def message_of(row: NoticeRow, address: AddressRow, admin_url: str) -> Message:
    """A notice as it is told to one of its teams."""
    return Message(
        notice=row.id,
        kind=row.kind,
        at=time_text(row.at_us),
        object=row.object,
        environment=row.environment,
        route=row.route,
        title=row.title,
        team=address.team,
        part=address.part,
        apps=json.loads(address.apps),
        more={name: value for name, value in json.loads(row.facts).items() if name != "scopes"},
        url=f"{admin_url}/console/notices" if admin_url else "",
    )


def slack_text(message: Message) -> str:
    """In Slack's own markup; nothing in it can name a person or a channel."""
    return "\n".join([f"*{_plain(message.title)}*", *map(_plain, message.lines())])


def _plain(text: str) -> str:
    return " ".join(text.split()).translate(_SLACK_ESCAPES)
