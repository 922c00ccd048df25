"""Where everything lies that a change touches, so that doors can ask whether a principal may do it there.

In: a prepared change. Out: scopes. Pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from lineclear.config.manifest import Document
from lineclear.control.changes.drift import DEPLOYMENT, Drift
from lineclear.control.changes.plan import Prepared
from lineclear.control.desired import Desired
from lineclear.control.scopes import scope_of_noun, scope_of_route, scopes_of_route
from lineclear.domain.access import PLATFORM, Principal, Scope
from lineclear.domain.manifest import Kind, Manifest, Route, kind_of


def scopes_of(prepared: Prepared) -> frozenset[Scope]:
    """The scope of every noun that is written or deleted and of every deployment that moves.

    Credentials belong to no team: taking a new value is a change of the platform, whether or not anything else of its
    provider is. A change that lies nowhere else lies there too, so that none is without somebody who has to be asked.
    """
    found = frozenset(_scopes(prepared))
    return found if found or not prepared.plan.has_changes else frozenset({PLATFORM})


def _scopes(prepared: Prepared) -> Iterator[Scope]:
    before, wanted = prepared.move.before, prepared.wanted
    for noun in (*prepared.changed, *prepared.deleted):
        was = before.get(kind_of(noun), noun.name)
        yield from _scopes_of_noun(was, noun if noun in prepared.changed else None)
    for environment, route in (*prepared.releases, *prepared.removed):
        for state in (before, wanted):
            if (Kind.ROUTE, route) in state.nouns:
                yield scope_of_route(state, environment, route)
    if prepared.variables:
        yield PLATFORM


def scopes_of_named(before: Desired, documents: Iterable[Document]) -> Iterator[tuple[Scope, ...]]:
    """Where each noun lies that stands and that documents name: as a whole, then each deployment of a route."""
    for document in documents:
        was = before.nouns.get((document.kind, document.name))
        if was is not None:
            yield scope_of_noun(was), *(scopes_of_route(was).values() if isinstance(was, Route) else ())


def shown_drift(before: Desired, drift: Iterable[Drift], principal: Principal) -> Iterator[Drift]:
    """What a principal is told of it: nothing of deployments that it does not see, no content of nouns."""
    for item in drift:
        kind, *names = item.object.split("/")
        if kind == DEPLOYMENT:
            if principal.sees(scope_of_route(before, *names)):
                yield item
        elif principal.sees(scope_of_noun(before.nouns[Kind(kind), names[0]])):
            yield item
        else:
            yield replace(item, fields=(), patch="")


def _scopes_of_noun(was: Manifest | None, will_be: Manifest | None) -> Iterator[Scope]:
    if isinstance(was, Route) and isinstance(will_be, Route) and _differs_in_environments_only(was, will_be):
        for name in sorted(was.environments.keys() | will_be.environments.keys()):
            if was.environments.get(name) != will_be.environments.get(name):
                yield Scope(will_be.team, name, will_be.name)
        return
    yield from (scope_of_noun(noun) for noun in (was, will_be) if noun is not None)


def _differs_in_environments_only(was: Route, will_be: Route) -> bool:
    return was != will_be and replace(was, environments=will_be.environments) == will_be
