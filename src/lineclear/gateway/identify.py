"""Step `identify`: key → app, team, environment, grants. Before any body is buffered.

In: Head and the snapshot. Out: Identified. All key hashes are in the snapshot, so nothing is looked up
elsewhere, and every way to be wrong looks the same from outside.
"""

import hmac
import zlib

import msgspec

from lineclear.base.clock import Clock
from lineclear.domain.catalogue import EnvironmentClass
from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.domain.snapshot import KeyEntry, access_shard
from lineclear.gateway.head import Head
from lineclear.gateway.snapshot import AppView, Snapshot
from lineclear.handover.inner_door import InnerPrincipal

KEY_PREFIX = "lc_"
KEY_CRC_CHARS = 8
KNOWN_KEYS_MAX = 10_000
"""Verified keys remembered per snapshot; a new revision, such as one that revokes a key, starts empty."""


class Identified(msgspec.Struct, frozen=True, gc=False):
    """Who is calling, and from which environment."""

    head: Head
    key_id: str
    app: AppView
    environment: str
    inner: InnerPrincipal | None = None
    """Set for a call that control makes through the inner door."""
    copied: "Identified | None" = None
    """Set for a copy that is asked in nobody's name: who made the call."""


def identify(snapshot: Snapshot, head: Head, clock: Clock) -> Identified:
    """Find the key's owner.

    Raises:
        CallerError: INVALID_API_KEY for a missing, malformed, unknown, expired or revoked key, without saying
            which; SIMULATE_FORBIDDEN if faults are asked for outside a test environment.
    """
    key = head.key
    entry = snapshot.known_keys.get(key) or _verify(snapshot, key)
    if entry.expires_at is not None and entry.expires_at * 1_000_000 <= clock.unix_us():
        raise _unknown_key(key)
    app = snapshot.apps.get(entry.app)
    if app is None:
        raise _unknown_key(key)
    if head.simulate:
        demand_simulation_allowed(snapshot, head, entry.environment)
    return Identified(head, entry.id, app, entry.environment)


def demand_simulation_allowed(snapshot: Snapshot, head: Head, environment: str) -> None:
    """Faults on demand are for test environments.

    Raises:
        CallerError: SIMULATE_FORBIDDEN.
    """
    if head.simulate and snapshot.environments.get(environment) is not EnvironmentClass.TEST:
        raise CallerError(
            ErrorCode.SIMULATE_FORBIDDEN,
            f"x-lineclear-simulate works in test environments only; this key belongs to {environment!r}",
            hint="use a test key, or leave the header out",
            param="x-lineclear-simulate",
        )


def _verify(snapshot: Snapshot, key: str) -> KeyEntry:
    """The entry of a key not seen under this snapshot yet. What verified is remembered; what did not never is."""
    key_id = _key_id(key)
    entry = snapshot.keys[access_shard(key_id)].get(key_id) if key_id else None
    if entry is None:
        raise _unknown_key(key)
    mac = hmac.digest(snapshot.pepper, key.encode(), "sha256").hex()
    if not hmac.compare_digest(mac, entry.mac):
        raise _unknown_key(key)
    known = snapshot.known_keys
    if len(known) >= KNOWN_KEYS_MAX:
        known.clear()
    known[key] = entry
    return entry


def _key_id(key: str) -> str:
    """The id inside a well-formed key, else empty: a cheap refusal of what was never one of ours."""
    if not key.startswith(KEY_PREFIX) or not key.isascii():
        return ""
    parts = key.split("_", 3)
    body, check = key[:-KEY_CRC_CHARS], key[-KEY_CRC_CHARS:]
    if len(parts) != 4 or f"{zlib.crc32(body.encode()):08x}" != check:
        return ""
    return parts[2]


def _unknown_key(key: str) -> CallerError:
    if not key:
        return CallerError(
            ErrorCode.INVALID_API_KEY,
            "no API key was sent; send one in Authorization: Bearer lc_… or in x-api-key",
            hint="send `Authorization: Bearer lc_…` or `x-api-key: lc_…`; `lineclear keys create` makes one",
        )
    return CallerError(
        ErrorCode.INVALID_API_KEY,
        "this API key is not known here, or it has expired or been revoked; ask for a new one",
        hint="`lineclear keys list` shows the keys that exist; `lineclear keys create` makes one",
    )
