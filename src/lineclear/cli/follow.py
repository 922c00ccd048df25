"""Following what the server takes in: from a place on, over its restarts, until interrupted.

In: a client, a narrowed question. Out: every row once, in the order of arrival. Where the server is away it is asked
again; the place is kept here, so nothing is lost and nothing comes twice.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from lineclear.cli.output import Output
from lineclear.client.admin import AdminClient, AdminError, AdminUnreachable, path_of

LOOK_S = 0.5
AWAY_S = 1.0
"""Pause before the server is asked again that did not answer."""
ROWS_PER_CALL = 1_000
NEWEST = "newest"

Question = Mapping[str, str | int | None]
Rows = list[dict[str, Any]]
"""Any: the admin API's JSON."""


def follow_requests(client: AdminClient, output: Output, question: Question, first: Question) -> Iterator[Rows]:
    """What is there already, oldest first, then what comes in, without end.

    Args:
        client: the server.
        output: is told when the server is away and when it is back.
        question: what to narrow to.
        first: which lines to begin with: since, limit.

    Raises:
        AdminError, AdminUnreachable: at the beginning; once lines have come, only a refusal ends it.
    """
    after = str(client.get(path_of("requests"), {"after": NEWEST})["after"])
    # Asked for in this order, a line may stand in both answers and is missing from neither.
    begun = list(reversed(client.get(path_of("requests"), {**question, **first})["rows"]))
    seen = {row["id"] for row in begun}
    yield begun
    while True:
        page = _patiently(output, client, {**question, "after": after, "limit": ROWS_PER_CALL})
        rows = [row for row in page["rows"] if row["id"] not in seen]
        is_news = page["after"] != after
        after = page["after"]
        if rows:
            yield rows
        if not is_news:
            time.sleep(LOOK_S)


def _patiently(output: Output, client: AdminClient, question: Question) -> Any:
    """The page, however long the server stays away; Any: its JSON."""
    was_away = False
    while True:
        try:
            answer = client.get(path_of("requests"), question)
        except (AdminUnreachable, AdminError) as error:
            if isinstance(error, AdminError) and error.status < 500:
                raise
            if not was_away:
                output.note(f"waiting for the server: {error}")
            was_away = True
            time.sleep(AWAY_S)
        else:
            if was_away:
                output.note("the server is back; nothing was missed")
            return answer
