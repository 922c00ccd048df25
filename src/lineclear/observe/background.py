"""What control's database adds to a request: the release that decided it, its key, the cards of its models then.

Values only; `control.ledger.background` finds them. They are told to who may read the ledger, not to callers.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """One thing in which two releases differ."""

    field: str
    """E.g. `targets.acme-small@2026-08`, `prompt`."""
    before: str | None
    """None = it was not there."""
    after: str | None


@dataclass(frozen=True)
class Decided:
    """The release that decided the request, and how it came to be in force."""

    release: str
    strategy: str
    targets: dict[str, int]
    """Weight by model version, in the release's order."""
    fallback: list[str]
    prompt: str | None
    """Its name."""
    max_tokens: int | None
    in_force_since: str | None
    """ISO 8601; None if the audit trail does not say."""
    changed_by: str | None
    approved_by: str | None
    note: str | None
    change: str | None
    previous: str | None
    """The release before it in this environment; None if it was the first."""
    differs: list[Difference]
    """From `previous`; empty if there is none."""
    revision_at: str | None
    """When the snapshot revision was made."""
    revision_cause: str | None


@dataclass(frozen=True)
class KeyThen:
    """The key that was used."""

    id: str
    created_at: str
    created_by: str
    expires_at: str | None
    """None = it does not expire."""
    revoked_at: str | None
    """None = it is in force."""


@dataclass(frozen=True)
class CardThen:
    """One model version's place in the catalogue."""

    model: str
    status_then: str | None
    """None if the audit trail does not reach back so far."""
    status_now: str | None
    """None = it is gone."""
    owner: str | None


@dataclass(frozen=True)
class Background:
    """All of it; what is not known is None or left out."""

    decided: Decided | None
    key: KeyThen | None
    models: list[CardThen]
