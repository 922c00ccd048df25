"""Keys: their text, what is stored of them, who takes them when."""

import hashlib
import hmac
import re
import zlib
from collections.abc import Callable

import msgspec
import pytest

from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.keys.key_text import make_key
from lineclear.domain.snapshot import AccessShard, CredentialsSection, KeyEntry, access_section_name, access_shard
from lineclear.store import control_rows as rows
from lineclear.testing.clock import TestClock
from lineclear.testing.control_plane import ControlPlane


def entry_of(plane: ControlPlane, key_id: str) -> KeyEntry | None:
    name = access_section_name(access_shard(key_id))
    return msgspec.json.decode(plane.load().sections[name], type=AccessShard).keys.get(key_id)


def test_a_key_has_the_documented_form() -> None:
    made = make_key("live")
    match = re.fullmatch(r"lc_live_([a-z2-7]{12})_([A-Za-z0-9_-]{43})([0-9a-f]{8})", made.text.reveal())
    assert match is not None
    assert match[1] == made.id
    text = made.text.reveal()
    assert int(text[-8:], 16) == zlib.crc32(text[:-8].encode())
    assert make_key("live").text != made.text


def test_a_new_key_is_in_the_snapshot_as_a_mac_only(plane: ControlPlane) -> None:
    made = plane.keys.create("ann", "default", "live")
    pepper = msgspec.json.decode(plane.load().sections["sealed/credentials"], type=CredentialsSection).pepper
    entry = entry_of(plane, made.id)
    assert entry is not None
    assert (entry.app, entry.environment, entry.expires_at) == ("default", "live", None)
    assert entry.mac == hmac.new(bytes.fromhex(pepper), made.key.encode(), hashlib.sha256).hexdigest()
    plane.close()
    secret = made.key.split("_", 3)[3].encode()
    for path in plane.directory.rglob("*"):
        assert not (path.is_file() and secret in path.read_bytes()), path


def test_a_revoked_key_leaves_the_snapshot_and_stays_in_the_list(plane: ControlPlane) -> None:
    made = plane.keys.create("ann", "default", "test")
    first = plane.keys.revoke("bob", made.id, "leaked")
    assert entry_of(plane, made.id) is None
    assert plane.keys.revoke("bob", made.id).revoked_at == first.revoked_at
    (facts,) = [item for item in plane.keys.facts() if item.id == made.id]
    assert (facts.state, facts.created_by, facts.revoked_at) == ("revoked", "ann", first.revoked_at)
    with plane.database.read() as tx:
        events = [event for event in rows.read_audit(tx, 0, 1000) if event.object == f"key/{made.id}"]
    assert [(event.action, event.actor, event.reason) for event in events] == [
        ("key.created", "ann", ""),
        ("key.revoked", "bob", "leaked"),
    ]


@pytest.mark.parametrize(
    ("app", "environment", "words"), [("shp", "live", "no app 'shp'"), ("default", "liv", "no environment 'liv'")]
)
def test_a_key_needs_an_app_and_an_environment(plane: ControlPlane, app: str, environment: str, words: str) -> None:
    revision = plane.publisher.revision()
    with pytest.raises(Refused, match=words) as caught:
        plane.keys.create("ann", app, environment)
    assert caught.value.code is AdminCode.NOT_FOUND
    assert plane.publisher.revision() == revision


def test_a_key_that_is_not_there_cannot_be_revoked(plane: ControlPlane) -> None:
    with pytest.raises(Refused) as caught:
        plane.keys.revoke("ann", "nothere")
    assert caught.value.code is AdminCode.NOT_FOUND


def test_an_expiry_is_told_and_shown(open_plane: Callable[..., ControlPlane]) -> None:
    clock = TestClock()
    plane = open_plane(clock=clock).start()
    made = plane.keys.create("ann", "default", "live", expires_days=2)
    entry = entry_of(plane, made.id)
    assert entry is not None
    assert entry.expires_at == clock.unix_us() // 1_000_000 + 2 * 86_400
    assert made.expires_at == "2027-01-17T08:00:00Z"
    clock.advance(2 * 86_400)
    assert next(item.state for item in plane.keys.facts() if item.id == made.id) == "expired"
    for days in (0, 4_000):
        with pytest.raises(Refused):
            plane.keys.create("ann", "default", "live", expires_days=days)


def test_the_list_can_be_narrowed(plane: ControlPlane) -> None:
    plane.apply("kind: App\nname: shop\nteam: default\n")
    made = plane.keys.create("ann", "shop", "live")
    plane.keys.create("ann", "default", "test")
    assert [item.id for item in plane.keys.facts(app="shop")] == [made.id]
    assert [item.app for item in plane.keys.facts(environment="test")] == ["default"]
