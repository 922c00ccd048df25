"""Overrides: emergency facts that gateways apply over the snapshot. The journal is `handover.overrides`."""

from typing import TypeAlias

import msgspec

STOP_ALL = "all"
"""The scope of a stop that leaves nobody out."""
STOP_KINDS = ("app", "route", "provider")


class OverrideBase(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Base: a tagged object in JSON."""


class Rollback(OverrideBase, frozen=True, tag_field="kind", tag="rollback"):
    """One route in one environment goes back to a release that it had."""

    environment: str
    route: str
    release: str
    generation: int
    """The deployment's generation this was decided on, for the audit trail. It does not bind: what a snapshot does not
    hold yet is newer than the snapshot, so a change that was under way meanwhile loses."""


class Drill(OverrideBase, frozen=True, tag_field="kind", tag="drill"):
    """Every gateway prepares the release that a rollback would bring, and goes on with the one that serves."""

    environment: str
    route: str
    release: str
    generation: int


class Block(OverrideBase, frozen=True, omit_defaults=True, tag_field="kind", tag="block"):
    """A model version is called no more, anywhere."""

    model: str
    """`name@version`."""
    cut_streams: bool = False
    """Its open answers end too. Left out of the journal where it is not set, so older lines keep their digests."""


class Revoke(OverrideBase, frozen=True, omit_defaults=True, tag_field="kind", tag="revoke"):
    """A key is refused from now on."""

    key_id: str
    cut_streams: bool = False
    """As in `Block`."""


class Stop(OverrideBase, frozen=True, omit_defaults=True, tag_field="kind", tag="stop"):
    """AI is stopped for a scope."""

    scope: str
    """`all`, `app:NAME`, `route:ENVIRONMENT/NAME` or `provider:NAME`."""
    cut_streams: bool = False
    """As in `Block`."""


class Start(OverrideBase, frozen=True, tag_field="kind", tag="start"):
    """A stop of the same scope is lifted."""

    scope: str


Override: TypeAlias = Rollback | Drill | Block | Revoke | Stop | Start


class OverrideEntry(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One line of the journal: an override with who and why."""

    sequence: int
    """Rises from line to line; a gap tells that a file began anew."""
    at_us: int
    """Unix microseconds."""
    actor: str
    reason: str
    override: Override
    previous: str
    """The digest of the line before."""
    digest: str


def object_of(override: Override) -> str:
    """What an override is about, as the audit trail names it."""
    match override:
        case Rollback():
            return f"deployment/{override.environment}/{override.route}"
        case Drill():
            return f"drill/{override.environment}/{override.route}"
        case Block():
            return f"model-version/{override.model}"
        case Revoke():
            return f"key/{override.key_id}"
        case Stop() | Start():
            return f"stop/{override.scope}"


def scope_parts(scope: str) -> tuple[str, str]:
    """Kind and name of a stop's scope; the name of `all` is empty.

    Raises:
        ValueError: it is none, with a sentence that says what one looks like.
    """
    kind, _, name = scope.partition(":")
    if scope == STOP_ALL:
        return STOP_ALL, ""
    if kind in STOP_KINDS and name and (kind != "route" or all(name.partition("/")[::2])):
        return kind, name
    raise ValueError(f"{scope!r} is no scope: it is all, app:NAME, route:ENVIRONMENT/NAME or provider:NAME")
