"""The changelog of a route: each release that came, what differs from the one before, and how both behaved.

In: the history of a deployment, release manifests, the ledger's figures. Out: entries, newest first. What has not been
called yet has no figures, and a difference is told only where both releases have some.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from lineclear.control.deployments.history import Stretch
from lineclear.control.release_diff import ComponentDiff, diff_releases
from lineclear.domain.money import usd_text
from lineclear.observe.behaviour import Behaviour
from lineclear.observe.period import time_text
from lineclear.store import control_rows as rows


@dataclass(frozen=True)
class BehaviourFacts:
    """How a release behaved in the last 30 days."""

    requests: int
    error_share: float
    refused_share: float
    output_tokens_mean: float
    cost_usd_mean: str
    latency_ms_p50: float | None
    latency_ms_p95: float | None


@dataclass(frozen=True)
class BehaviourDelta:
    """The release after less the one before."""

    error_share: float
    refused_share: float
    output_tokens_mean: float
    cost_usd_mean: str
    latency_ms_p50: float | None
    """None = nothing was answered by one of them."""
    latency_ms_p95: float | None


@dataclass(frozen=True)
class ChangelogEntry:
    """One move of a deployment."""

    at: str
    how: str
    """`deployment.moved`, `deployment.rolled-back` or `deployment.removed`."""
    before: str | None
    after: str | None
    by: str
    note: str
    change: str | None
    components: list[ComponentDiff]
    behaviour_before: BehaviourFacts | None
    """None = no requests."""
    behaviour_after: BehaviourFacts | None
    delta: BehaviourDelta | None
    """None where one of the two has no requests."""


def changelog(tx: Connection, stretches: Sequence[Stretch], behaviour: Mapping[str, Behaviour]) -> list[ChangelogEntry]:
    """Entries of a history, newest first as the history is."""
    found = []
    for at, stretch in enumerate(stretches):
        before = stretches[at + 1].release if at + 1 < len(stretches) else None
        was, now = behaviour.get(before or ""), behaviour.get(stretch.release or "")
        found.append(
            ChangelogEntry(
                at=time_text(stretch.from_us),
                how=stretch.how,
                before=before,
                after=stretch.release,
                by=stretch.changed_by,
                note=stretch.note,
                change=stretch.change or None,
                components=_components(tx, before, stretch.release),
                behaviour_before=None if was is None else _facts(was),
                behaviour_after=None if now is None else _facts(now),
                delta=None if was is None or now is None else delta_of(was, now),
            )
        )
    return found


def _components(tx: Connection, before: str | None, after: str | None) -> list[ComponentDiff]:
    was = rows.read_release(tx, before) if before else None
    now = rows.read_release(tx, after) if after else None
    return [] if was is None or now is None else diff_releases(json.loads(was.manifest), json.loads(now.manifest))


def delta_of(was: Behaviour, now: Behaviour) -> BehaviourDelta:
    """What became of the figures."""
    return BehaviourDelta(
        now.error_share - was.error_share,
        now.refused_share - was.refused_share,
        now.output_tokens_mean - was.output_tokens_mean,
        _signed_usd(round(now.cost_nano_usd_mean) - round(was.cost_nano_usd_mean)),
        _less(now.latency_ms_p50, was.latency_ms_p50),
        _less(now.latency_ms_p95, was.latency_ms_p95),
    )


def _facts(behaviour: Behaviour) -> BehaviourFacts:
    return BehaviourFacts(
        behaviour.requests,
        behaviour.error_share,
        behaviour.refused_share,
        behaviour.output_tokens_mean,
        usd_text(round(behaviour.cost_nano_usd_mean)),
        behaviour.latency_ms_p50,
        behaviour.latency_ms_p95,
    )


def _signed_usd(nano_usd: int) -> str:
    return f"{'-' if nano_usd < 0 else '+'}{usd_text(abs(nano_usd))}"


def _less(now: float | None, was: float | None) -> float | None:
    return None if now is None or was is None else round(now - was, 1)
