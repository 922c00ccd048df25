"""What control's database knows beside a ledger entry: who put the release in force, what it changed, whose key it was.

In: the facts of an entry. Out: values of `observe.background`. Read when somebody asks, so that the record that every
request writes stays small; the audit trail says what stood at the time.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from lineclear.control.desired import decode
from lineclear.control.prices.book import manifest_price_version, price_of_row
from lineclear.domain.entry import EntryDetail
from lineclear.domain.manifest import Kind, Model, ModelVersion
from lineclear.domain.money import Price
from lineclear.observe.background import Background, CardThen, Decided, Difference, KeyThen
from lineclear.observe.entry import Entry
from lineclear.observe.period import time_text
from lineclear.store import control_rows as rows
from lineclear.store.control_rows import AuditRow
from lineclear.store.database import Database

AUDIT_ROWS_MAX = 1_000
"""Events of one object that are looked at, newest first; what lies further back is said to be unknown."""
MODELS_MAX = 20
"""Model versions of one request whose cards are looked up."""


class BackgroundDesk:
    """Finds it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, entry: Entry, detail: EntryDetail) -> Background:
        """Everything that stands beside an entry."""
        facts = entry.facts
        models = dict.fromkeys(
            [one.model for one in detail.candidates] + [one.model for one in detail.attempts] + [str(facts["model"])]
        )
        with self._database.read() as tx:
            return Background(
                _decided(tx, facts, entry.started_us),
                _key(tx, facts["key_id"]),
                [_card(tx, model, entry.started_us) for model in list(models)[:MODELS_MAX] if model],
            )

    def price_then(self, version: str, price_version: str) -> Price | None:
        """The price of that name that a manifest once gave a model version; None if the audit trail has none."""
        name = version.partition("@")[0]
        with self._database.read() as tx:
            events = rows.read_audit_of(tx, f"{Kind.MODEL.value}/{name}", AUDIT_ROWS_MAX)
        for model in _documents(events):
            for one in model.versions:
                price = one.price
                if f"{name}@{one.version}" == version and price and manifest_price_version(price) == price_version:
                    return price_of_row(price, price_version)
        return None


def _decided(tx: Connection, facts: Mapping[str, Any], started_us: int) -> Decided | None:
    # Any: a facet's values are text, int and bool.
    release = rows.read_release(tx, facts["release"]) if facts["release"] else None
    if release is None:
        return None
    moved = _put_in_force(tx, facts, started_us)
    change = rows.read_change(tx, moved.change_id) if moved is not None else None
    before = rows.read_release(tx, moved.before) if moved is not None and moved.before else None
    revision = rows.read_revision(tx, facts["revision"])
    manifest: dict[str, Any] = json.loads(release.manifest)
    prompt = manifest["prompt"]
    return Decided(
        release=release.id,
        strategy=manifest["strategy"],
        targets={item["model"]: item["weight"] for item in manifest["targets"]},
        fallback=manifest["fallback"],
        prompt=None if prompt is None else prompt["name"],
        max_tokens=manifest["max_tokens"],
        in_force_since=time_text(moved.at_us) if moved is not None else None,
        changed_by=moved.actor if moved is not None else None,
        approved_by=change.approver if change is not None else None,
        note=moved.reason or None if moved is not None else None,
        change=moved.change_id or None if moved is not None else None,
        previous=before.id if before is not None else None,
        differs=differences(json.loads(before.manifest), manifest) if before is not None else [],
        revision_at=time_text(revision.created_us) if revision is not None else None,
        revision_cause=revision.cause if revision is not None else None,
    )


def _put_in_force(tx: Connection, facts: Mapping[str, Any], started_us: int) -> AuditRow | None:
    """The newest event before the request that made its release the stable one there."""
    events = rows.read_audit_of(tx, f"deployment/{facts['environment']}/{facts['route']}", AUDIT_ROWS_MAX)
    for event in events:
        # A move by a change or back by a rollback, but none that changed nothing.
        is_it = event.after == facts["release"] != event.before
        if is_it and event.at_us <= started_us:
            return event
    return None


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """In what two release manifests differ, field by field. Any: they are JSON."""
    was, now = dict(_fields(before)), dict(_fields(after))
    return [
        Difference(name, was.get(name), now.get(name))
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
    ]


def _fields(manifest: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """A release manifest as flat names and texts; a prompt's text is told by its digest."""
    yield "strategy", str(manifest["strategy"])
    for item in manifest["targets"]:
        yield f"targets.{item['model']}", f"weight {item['weight']}"
    if manifest["fallback"]:
        yield "fallback", ", ".join(manifest["fallback"])
    if manifest["prompt"] is not None:
        yield "prompt", f"{manifest['prompt']['name']} {manifest['prompt']['digest'][:12]}"
    for name, text in manifest["timeouts"].items():
        if text is not None:
            yield f"timeouts.{name}", str(text)
    if manifest["max_tokens"] is not None:
        yield "max_tokens", str(manifest["max_tokens"])
    for part in ("parameters", "retrieval"):
        for name, value in manifest.get(part, {}).get("values", {}).items():
            yield f"{part}.{name}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    yield from _pinned(manifest)


def _pinned(manifest: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Parts that are told by their digests."""
    for guardrail in manifest.get("guardrails", ()):
        yield f"guardrails.{guardrail['name']}", guardrail["digest"][:12]
    if "tools" in manifest:
        yield "tools", f"{manifest['tools']['mode']} {manifest['tools']['digest'][:12]}"


def _key(tx: Connection, key_id: str) -> KeyThen | None:
    key = rows.read_key(tx, key_id)
    if key is None:
        return None
    return KeyThen(
        id=key.id,
        created_at=time_text(key.created_us),
        created_by=key.created_by,
        expires_at=None if key.expires_at is None else time_text(key.expires_at * 1_000_000),
        revoked_at=None if key.revoked_us is None else time_text(key.revoked_us),
    )


def _card(tx: Connection, version: str, started_us: int) -> CardThen:
    name, _, number = version.partition("@")
    events = rows.read_audit_of(tx, f"{Kind.MODEL.value}/{name}", AUDIT_ROWS_MAX)
    then = next(iter(_documents(event for event in events if event.at_us <= started_us)), None)
    now = next(iter(_documents(events)), None) if events and events[0].after else None
    return CardThen(
        model=version,
        status_then=_status(then, number),
        status_now=_status(now, number),
        owner=then.owner if then is not None else None,
    )


def _documents(events: Iterable[AuditRow]) -> Iterable[Model]:
    """The model's card after each event, newest first; deletions have none."""
    for event in events:
        noun = decode(Kind.MODEL.value, event.after) if event.after else None
        if isinstance(noun, Model):
            yield noun


def _status(model: Model | None, number: str) -> str | None:
    found: ModelVersion | None = next((one for one in model.versions if one.version == number), None) if model else None
    return found.status.value if found is not None else None
