"""Names that a shell's completion offers: those that the running server has, or had when it was last there.

In: the words typed so far. Out: completion items. Who completes a word does not wait and is told nothing: where the
server is away or slow, the last snapshot of its data directory has the names, and where it says no, nothing is offered.
"""

from collections.abc import Callable, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from lineclear.cli.last_names import last_names
from lineclear.client.admin import AdminClient, AdminError, AdminUnreachable, path_of
from lineclear.client.find import ServerNotFound, find_server
from lineclear.config.settings import SettingInvalid, read_settings
from lineclear.domain.exchange import Operation
from lineclear.domain.ledger import Outcome

ANSWER_S = 0.5
"""Longest wait for the server, for each step of the exchange; a person waits for the word meanwhile."""

Offer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def names_of(kind: str) -> Offer:
    """What completes the name of a noun: `routes`, `apps`, `model-versions`, `keys`, …, as in the API's paths."""

    def offer(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        return _items(_names(context, kind), begun)

    return offer


def one_of(words: Sequence[str]) -> Offer:
    """What completes one of a few words that need no server."""

    def offer(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        return _items(words, begun)

    return offer


OPERATIONS = one_of([operation.value for operation in Operation])
OUTCOMES = one_of([outcome.value for outcome in Outcome])


def _items(names: Sequence[str], begun: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(begun)]


def _names(context: click.Context, kind: str) -> list[str]:
    given = context.params
    try:
        settings = read_settings()
    except SettingInvalid:
        # There is nowhere to say it: a shell shows what is written here among what it completes.
        return []
    try:
        server = find_server(
            settings, given.get("url"), given.get("token"), given.get("data_dir"), given.get("ca_file")
        )
        answer = AdminClient(server, ANSWER_S).get(path_of(kind))
    except AdminError:
        return []
    except (ServerNotFound, AdminUnreachable):
        if given.get("url") or settings.url:
            # A server elsewhere has other names than the directory on this machine.
            return []
        return last_names(given.get("data_dir") or settings.data_dir, kind)
    return sorted({str(row.get("name") or row.get("model") or row["id"]) for row in _rows(answer)})


def _rows(answer: Any) -> list[dict[str, Any]]:
    # Any: the admin API's JSON; a list of a noun is one list in one object, whatever the list is called
    lists = [value for value in answer.values() if isinstance(value, list)] if isinstance(answer, dict) else []
    return lists[0] if lists else []
