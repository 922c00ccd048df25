"""Overrides: emergency facts that gateways apply over the snapshot. The journal is `handover.overrides`."""

from typing import TypeAlias

import msgspec


class OverrideBase(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Base: a tagged object in JSON."""


class Rollback(OverrideBase, frozen=True, tag_field="kind", tag="rollback"):
    """One route in one environment goes back to a release that it had."""

    environment: str
    route: str
    release: str
    generation: int
    """The deployment's generation this was decided on; a newer one in the snapshot wins."""


class Block(OverrideBase, frozen=True, tag_field="kind", tag="block"):
    """A model version is called no more, anywhere."""

    model: str
    """`name@version`."""


class Revoke(OverrideBase, frozen=True, tag_field="kind", tag="revoke"):
    """A key is refused from now on."""

    key_id: str


class Stop(OverrideBase, frozen=True, tag_field="kind", tag="stop"):
    """AI is stopped for a scope."""

    scope: str
    """`all`, `app:NAME`, `route:ENVIRONMENT/NAME` or `provider:NAME`."""


class Start(OverrideBase, frozen=True, tag_field="kind", tag="start"):
    """A stop of the same scope is lifted."""

    scope: str


Override: TypeAlias = Rollback | Block | Revoke | Stop | Start
