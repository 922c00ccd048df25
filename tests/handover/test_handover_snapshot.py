"""The snapshot directory: a reader has a whole verified revision or the one before."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lineclear.base.seal import Keys, Purpose
from lineclear.handover.snapshot_dir import SnapshotReader, SnapshotRefused, SnapshotWriter
from lineclear.testing.clock import TestClock

KEYS = Keys(bytes(range(32)))
SECRET = b'{"secret":"sk-canary"}'


@pytest.fixture
def writer(tmp_path: Path) -> SnapshotWriter:
    return SnapshotWriter(tmp_path / "snapshot", KEYS, TestClock())


@pytest.fixture
def reader(tmp_path: Path) -> SnapshotReader:
    return SnapshotReader(tmp_path / "snapshot", KEYS)


def test_what_is_published_is_loaded_and_the_secret_is_not_on_the_disk(
    writer: SnapshotWriter, reader: SnapshotReader, tmp_path: Path
) -> None:
    assert not reader.changed()
    published = writer.publish({"apps": b"{}", "limits": b"[]"}, {"sealed/credentials": SECRET}, revision=3, epoch=1)
    assert reader.changed()
    loaded = reader.load()
    assert not reader.changed()
    assert loaded.manifest == published
    assert loaded.sections == {"apps": b"{}", "limits": b"[]", "sealed/credentials": SECRET}
    assert not any(b"canary" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.rglob("*") if path.is_file())


def test_unchanged_sections_stay_the_same_object(writer: SnapshotWriter, reader: SnapshotReader) -> None:
    writer.publish({"apps": b"one", "limits": b"same"}, {}, 1, 1)
    first = reader.load()
    writer.publish({"apps": b"two", "limits": b"same"}, {}, 2, 1)
    second = reader.load()
    assert second.sections["apps"] == b"two"
    assert second.sections["limits"] is first.sections["limits"]


def test_only_wanted_sections_are_read(writer: SnapshotWriter, tmp_path: Path) -> None:
    writer.publish({"apps": b"one", "limits": b"two"}, {"sealed/credentials": SECRET}, 1, 1)
    reader = SnapshotReader(tmp_path / "snapshot", KEYS, wanted="limits".__eq__)
    assert reader.load().sections == {"limits": b"two"}


def test_sections_nobody_can_need_are_removed(writer: SnapshotWriter, tmp_path: Path) -> None:
    for revision in range(1, 6):
        writer.publish({"apps": b"%d" % revision}, {}, revision, 1)
    assert {path.read_bytes() for path in (tmp_path / "snapshot" / "sections").iterdir()} == {b"4", b"5"}


def test_nobody_goes_back_unless_the_epoch_rose(writer: SnapshotWriter, reader: SnapshotReader, tmp_path: Path) -> None:
    writer.publish({"apps": b"five"}, {}, 5, 1)
    reader.load()
    with pytest.raises(SnapshotRefused, match="older"):
        writer.publish({"apps": b"four"}, {}, 4, 1)
    other = tmp_path / "other"
    SnapshotWriter(other, KEYS, TestClock()).publish({"apps": b"four"}, {}, 4, 1)
    for path in (other / "sections").iterdir():
        path.rename(tmp_path / "snapshot" / "sections" / path.name)
    (other / "CURRENT").rename(tmp_path / "snapshot" / "CURRENT")
    with pytest.raises(SnapshotRefused, match="older"):
        reader.load()
    writer.publish({"apps": b"restored"}, {}, 2, 2)
    assert reader.load().manifest.revision == 2


def _alter_digest(directory: Path) -> None:
    current = json.loads((directory / "CURRENT").read_text())
    current["sections"]["apps"] = "0" * 64
    (directory / "CURRENT").write_text(json.dumps(current))


def _alter_section(directory: Path) -> None:
    for path in (directory / "sections").iterdir():
        path.write_bytes(path.read_bytes() + b" ")


def _remove_section(directory: Path) -> None:
    for path in (directory / "sections").iterdir():
        path.unlink()


def _garble(directory: Path) -> None:
    (directory / "CURRENT").write_text("{")


def _add_field(directory: Path) -> None:
    current = json.loads((directory / "CURRENT").read_text())
    (directory / "CURRENT").write_text(json.dumps({**current, "deny": "all"}))


@pytest.mark.parametrize("damage", [_alter_digest, _alter_section, _remove_section, _garble, _add_field])
def test_damage_is_refused_and_the_next_publication_heals_it(
    damage: object, writer: SnapshotWriter, reader: SnapshotReader, tmp_path: Path
) -> None:
    assert callable(damage)
    writer.publish({"apps": b"good"}, {"sealed/credentials": SECRET}, 1, 1)
    damage(tmp_path / "snapshot")
    with pytest.raises(SnapshotRefused):
        reader.load()
    assert not reader.changed()
    writer.publish({"apps": b"better"}, {"sealed/credentials": SECRET}, 2, 1)
    assert reader.changed()
    assert reader.load().sections["apps"] == b"better"


def test_a_newer_format_is_refused_with_the_order_of_upgrade(
    writer: SnapshotWriter, reader: SnapshotReader, tmp_path: Path
) -> None:
    writer.publish({"apps": b"x"}, {}, 1, 1)
    path = tmp_path / "snapshot" / "CURRENT"
    manifest = json.loads(path.read_text())
    manifest["min_reader"] = 99
    unsigned = {name: value for name, value in manifest.items() if name != "mac"}
    signed = json.dumps(unsigned, sort_keys=True, separators=(",", ":")).encode()
    manifest["mac"] = KEYS.mac(Purpose.SNAPSHOT_MAC, signed)
    path.write_text(json.dumps(manifest))
    with pytest.raises(SnapshotRefused, match="Upgrade gateways"):
        reader.load()


def test_another_master_key_reads_nothing(writer: SnapshotWriter, tmp_path: Path) -> None:
    writer.publish({"apps": b"x"}, {}, 1, 1)
    with pytest.raises(SnapshotRefused, match="master key"):
        SnapshotReader(tmp_path / "snapshot", Keys(bytes(32))).load()


def test_names_stand_in_their_mapping(writer: SnapshotWriter) -> None:
    with pytest.raises(ValueError, match="other mapping"):
        writer.publish({"sealed/credentials": SECRET}, {}, 1, 1)
    with pytest.raises(ValueError, match="other mapping"):
        writer.publish({}, {"credentials": SECRET}, 1, 1)


PUBLISHER = """
import sys
from pathlib import Path
from lineclear.base.seal import Keys
from lineclear.handover.snapshot_dir import SnapshotWriter
writer = SnapshotWriter(Path(sys.argv[1]), Keys(bytes(range(32))))
print("up", flush=True)
for revision in range(1, 10**9):
    writer.publish({f"s{n}": b"%d/%d" % (n, revision) for n in range(8)}, {"sealed/x": b"%d" % revision}, revision, 1)
"""


def test_a_reader_beside_a_publisher_and_after_its_kill_sees_whole_revisions_only(tmp_path: Path) -> None:
    directory = tmp_path / "snapshot"
    child = subprocess.Popen([sys.executable, "-c", PUBLISHER, str(directory)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    reader = SnapshotReader(directory, KEYS)
    seen: set[int] = set()
    with child.stdout:
        child.stdout.readline()
        while len(seen) < 100:
            if reader.changed():
                seen.add(_whole(reader))
        child.kill()
    child.wait()
    assert _whole(reader) >= max(seen)
    names = [path.name for path in (directory / "sections").iterdir()]
    assert not [name for name in names if len(name) != 64 and not name.startswith(".")]


def _whole(reader: SnapshotReader) -> int:
    loaded = reader.load()
    revision = loaded.manifest.revision
    assert loaded.sections.pop("sealed/x") == b"%d" % revision
    assert loaded.sections == {f"s{n}": b"%d/%d" % (n, revision) for n in range(8)}
    return revision
