"""What the ledger knows of what a change touches: traffic for its radius, and callers of what would be deleted.

In: a move between two states, prices, recorded traffic. Out: the radius of each deployment, callers in words.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from lineclear.base.clock import Clock
from lineclear.control.changes.protection import Move
from lineclear.control.changes.radius import (
    CALLERS_DAYS,
    NO_TRAFFIC,
    TRAFFIC_DAYS,
    Recorded,
    RouteRadius,
    Share,
    Traffic,
    radius_of,
)
from lineclear.control.compile import operations_of, price_of_version
from lineclear.control.desired import Desired
from lineclear.control.prices.book import PriceBook
from lineclear.domain.catalogue import ModelStatus
from lineclear.domain.manifest import App, Environment, Kind, Manifest, Provider, Strategy, Team, kind_of
from lineclear.observe.traffic import count_callers, sum_traffic
from lineclear.store.ledger import Ledger


class LedgerRecorded:
    """The past as the ledger tells it, up to this moment: whoever called a second ago counts."""

    def __init__(self, ledger: Ledger, clock: Clock, catch_up: Callable[[], object] = lambda: None) -> None:
        """`catch_up` brings what gateways wrote into the ledger before it is asked."""
        self._ledger = ledger
        self._clock = clock
        self._catch_up = catch_up

    def traffic(self) -> Mapping[tuple[str, str], Traffic]:
        self._catch_up()
        found = sum_traffic(self._ledger, TRAFFIC_DAYS, self._clock.unix_us())
        return {
            place: Traffic(item.apps, item.usage, item.answered, item.cost_nano_usd) for place, item in found.items()
        }

    def callers(self, only: Mapping[str, str]) -> Mapping[str, int]:
        self._catch_up()
        return count_callers(self._ledger, CALLERS_DAYS, self._clock.unix_us(), only)


def radius(move: Move, prices: PriceBook, recorded: Recorded) -> tuple[RouteRadius, ...]:
    """The radius of every deployment that moves or goes."""
    places = sorted({*move.moving, *move.removed})
    if not places:
        return ()
    traffic = recorded.traffic()
    found: list[RouteRadius] = []
    for place in places:
        row = move.deployments.get(place)
        before = _shares(move.before, prices, move.releases[row.stable]) if row is not None else []
        after = _shares(move.wanted, prices, move.moving[place]) if place in move.moving else []
        route = move.wanted.routes.get(place[1]) or move.before.routes[place[1]]
        found.append(radius_of(place, traffic.get(place, NO_TRAFFIC), route.data_class.value, before, after))
    return tuple(found)


def callers_of(move: Move, deleted: Sequence[Manifest], recorded: Recorded) -> list[str]:
    """What would be deleted or retired although apps called it lately, in words."""
    asked = [*(_asked(noun) for noun in deleted), *_asked_parts(move, deleted)]
    found: list[str] = []
    for name, only in asked:
        callers = recorded.callers(only) if only else {}
        if any(callers.values()):
            apps = ", ".join(f"{app or 'nobody known'} {count:,}" for app, count in sorted(callers.items()) if count)
            found.append(f"{name} ({apps} requests in {CALLERS_DAYS} days)")
    return found


def _asked(noun: Manifest) -> tuple[str, dict[str, str]]:
    """What the ledger is asked about a noun; nothing for kinds that are not called."""
    name = f"{kind_of(noun).value}/{noun.name}"
    match noun:
        case App():
            return name, {"app": noun.name}
        case Team():
            return name, {"team": noun.name}
        case Provider():
            return name, {"provider": noun.name}
        case Environment():
            return name, {"environment": noun.name}
        case _:
            # Routes and models are asked about deployment by deployment and version by version.
            return name, {}


def _asked_parts(move: Move, deleted: Sequence[Manifest]) -> Iterator[tuple[str, dict[str, str]]]:
    for environment, route in move.removed:
        yield f"Route/{route} in {environment}", {"environment": environment, "route": route}
    gone = {(kind_of(noun), noun.name) for noun in deleted}
    for id_, (model, version) in move.before.versions.items():
        after = move.wanted.versions.get(id_)
        if after is None or (Kind.MODEL, model.name) in gone:
            yield f"Model/{model.name} version {version.version}", {"model": id_}
        elif after[1].status is ModelStatus.RETIRED and version.status is not ModelStatus.RETIRED:
            yield f"{id_}, which would be retired", {"model": id_}


def _shares(desired: Desired, prices: PriceBook, manifest: str) -> list[Share]:
    content = json.loads(manifest)
    targets = [(item["model"], item["weight"]) for item in content["targets"]]
    if content["strategy"] == Strategy.PRIORITY.value:
        targets = [(model, 1 if at == 0 else 0) for at, (model, _) in enumerate(targets)]
    total = sum(weight for _, weight in targets) or 1
    shares = [(model, weight / total) for model, weight in targets]
    shares += [(model, 0.0) for model in content["fallback"] if model not in dict(shares)]
    return [_share(desired, prices, model, share) for model, share in shares if model in desired.versions]


def _share(desired: Desired, prices: PriceBook, id_: str, share: float) -> Share:
    _, version = desired.versions[id_]
    return Share(
        id_,
        share,
        price_of_version(version, desired.providers, prices),
        frozenset(operation.value for operation in operations_of(desired, id_)),
    )
