"""The snapshot directory: compiled truth from control, read by gateways, accountant and supervisor.

In (writer): sections as bytes, secrets to seal, a revision. Out (reader): the sections of one revision whose MAC and
digests hold. A reader keeps what it has when the directory is damaged, older or newer than it can read. Must not
decode sections.

Layout: `CURRENT` (JSON of `SnapshotManifest`) and `sections/<sha256>`; both appear by rename, after an fsync.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from lineclear.base.canonical import JSONValue, canonical_json
from lineclear.base.clock import Clock, SystemClock
from lineclear.base.seal import Keys, Purpose, SealBroken
from lineclear.domain.errors import ErrorCode, PlatformFault
from lineclear.domain.snapshot import READER_VERSION, SnapshotManifest
from lineclear.handover.files import private_directory, sync_directory, write_durably

SEALED_PREFIX: Final = "sealed/"
LOAD_TRIES: Final = 5
"""A section may vanish between reading CURRENT and reading it: a newer revision came. Read again, so often."""
OVERRIDES_READER: Final = 3
"""From this reader version on the MAC covers `overrides_folded`; older manifests do not have it."""
MANIFEST_BYTES_MAX: Final = 64 << 20
SECTION_BYTES_MAX: Final = 256 << 20


class SnapshotRefused(PlatformFault):
    """The directory does not hold a revision that may be used. What was loaded before stays in force."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.NOT_READY, message, hint="control publishes the next revision; see its log")


class LoadedSnapshot(msgspec.Struct, frozen=True, gc=False):
    """One verified revision."""

    manifest: SnapshotManifest
    sections: dict[str, bytes]
    """Plain bytes by section name, sealed ones opened. A section unchanged since the load before is the same object."""


class SnapshotWriter:
    """Publishes revisions. Control alone holds one, under its lock."""

    def __init__(self, directory: Path, keys: Keys, clock: Clock | None = None) -> None:
        self._directory = private_directory(directory)
        self._sections = private_directory(directory / "sections")
        self._keys = keys
        self._clock = clock or SystemClock()

    def current(self) -> SnapshotManifest | None:
        """What stands in the directory now; None if nothing was ever published.

        Raises:
            SnapshotRefused: it is damaged or of another master key.
        """
        return _read_manifest(self._directory, self._keys)

    def publish(
        self,
        sections: Mapping[str, bytes],
        sealed: Mapping[str, bytes],
        revision: int,
        epoch: int,
        overrides_folded: int = 0,
    ) -> SnapshotManifest:
        """Makes this the current revision; it is durable when this returns.

        Args:
            sections: plain sections by name.
            sealed: secrets by section name (`sealed/…`); they reach the disk only encrypted.
            revision: not lower than the current one, unless `epoch` rose.
            epoch: rises by a restore only.
            overrides_folded: the highest entry of the override journal that is part of it.

        Raises:
            SnapshotRefused: the revision or the epoch would go back.
            ValueError: a name stands in the wrong mapping.
            OSError: the directory cannot be written; the old revision stays.
        """
        for name in (*sections, *sealed):
            if name.startswith(SEALED_PREFIX) != (name in sealed):
                raise ValueError(f"section {name!r} belongs in the other mapping: sealed names begin {SEALED_PREFIX!r}")
        before = self._before()
        if before is not None and (epoch, revision) < (before.epoch, before.revision):
            raise SnapshotRefused(
                f"revision {revision} of epoch {epoch} is older than what is published "
                f"(revision {before.revision} of epoch {before.epoch}); only a restore goes back, with a higher epoch"
            )
        contents = dict(sections)
        contents.update({name: self._keys.seal(name, revision, plain) for name, plain in sealed.items()})
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        self._write_sections(contents, digests)
        now = self._clock.now().isoformat()
        bare = SnapshotManifest(epoch, revision, READER_VERSION, now, digests, "", overrides_folded)
        manifest = msgspec.structs.replace(bare, mac=self._keys.mac(Purpose.SNAPSHOT_MAC, _signed_bytes(bare)))
        write_durably(self._directory / "CURRENT", msgspec.json.encode(manifest))
        self._collect_garbage(manifest, before)
        return manifest

    def _before(self) -> SnapshotManifest | None:
        """What is being replaced. A damaged manifest binds nobody: the database behind this writer is the truth."""
        try:
            return self.current()
        except SnapshotRefused:
            return None

    def _write_sections(self, contents: Mapping[str, bytes], digests: Mapping[str, str]) -> None:
        for name, content in contents.items():
            path = self._sections / digests[name]
            if not path.exists():
                write_durably(path, content)
        sync_directory(self._sections)

    def _collect_garbage(self, manifest: SnapshotManifest, before: SnapshotManifest | None) -> None:
        """Removes what neither this revision nor the one before names: a reader may be in the middle of that one."""
        kept = set(manifest.sections.values()) | set(before.sections.values() if before else ())
        for path in self._sections.iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)


class SnapshotReader:
    """Reads revisions; remembers the last good one to refuse going back and to share unchanged sections."""

    def __init__(self, directory: Path, keys: Keys, *, wanted: Callable[[str], bool] | None = None) -> None:
        """A reader of `directory`; `wanted` chooses the sections to load by name, all if not given."""
        self._directory = directory
        self._keys = keys
        self._wanted = wanted or (lambda _name: True)
        self._seen: tuple[int, int, int] | None = None
        self._loaded: LoadedSnapshot | None = None

    def changed(self) -> bool:
        """Whether CURRENT is another file than at the last `load`, good or refused. One stat call."""
        return self._stat() not in {None, self._seen}

    def load(self) -> LoadedSnapshot:
        """The current revision, verified whole.

        Raises:
            SnapshotRefused: none there, damaged, older than the last good one, or newer than this program reads.
        """
        self._seen = self._stat()
        for _ in range(LOAD_TRIES):
            manifest = _read_manifest(self._directory, self._keys)
            if manifest is None:
                raise SnapshotRefused(f"no snapshot was published to {self._directory} yet")
            self._check_acceptable(manifest)
            try:
                loaded = LoadedSnapshot(manifest, self._read_sections(manifest))
            except FileNotFoundError:
                self._seen = self._stat()
                continue
            self._loaded = loaded
            return loaded
        raise SnapshotRefused(f"sections that {self._directory / 'CURRENT'} names are missing")

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            stat = (self._directory / "CURRENT").stat()
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    def _check_acceptable(self, manifest: SnapshotManifest) -> None:
        if manifest.min_reader > READER_VERSION:
            raise SnapshotRefused(
                f"revision {manifest.revision} needs a reader of version {manifest.min_reader}; "
                f"this one is {READER_VERSION}. Upgrade gateways before control"
            )
        last = self._loaded.manifest if self._loaded else None
        if last is not None and (manifest.epoch, manifest.revision) < (last.epoch, last.revision):
            raise SnapshotRefused(
                f"revision {manifest.revision} of epoch {manifest.epoch} is older than the one in force "
                f"(revision {last.revision} of epoch {last.epoch})"
            )

    def _read_sections(self, manifest: SnapshotManifest) -> dict[str, bytes]:
        sections: dict[str, bytes] = {}
        for name, digest in manifest.sections.items():
            if self._wanted(name):
                sections[name] = self._unchanged(name, digest) or self._read_section(name, digest, manifest.revision)
        return sections

    def _unchanged(self, name: str, digest: str) -> bytes | None:
        if self._loaded is None or self._loaded.manifest.sections.get(name) != digest:
            return None
        return self._loaded.sections.get(name)

    def _read_section(self, name: str, digest: str, revision: int) -> bytes:
        path = self._directory / "sections" / digest
        content = _read_bounded(path, SECTION_BYTES_MAX)
        if hashlib.sha256(content).hexdigest() != digest:
            raise SnapshotRefused(f"section {name!r} of revision {revision} is damaged: its digest is not {digest}")
        if not name.startswith(SEALED_PREFIX):
            return content
        try:
            return self._keys.unseal(name, revision, content)
        except SealBroken as error:
            raise SnapshotRefused(str(error)) from error


def _read_manifest(directory: Path, keys: Keys) -> SnapshotManifest | None:
    path = directory / "CURRENT"
    try:
        content = _read_bounded(path, MANIFEST_BYTES_MAX)
    except FileNotFoundError:
        return None
    try:
        manifest = msgspec.json.decode(content, type=SnapshotManifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SnapshotRefused(f"{path} is not a snapshot manifest this program reads: {error}") from error
    if not keys.mac_matches(Purpose.SNAPSHOT_MAC, _signed_bytes(manifest), manifest.mac):
        raise SnapshotRefused(f"{path} was altered, or written under another master key: its MAC does not match")
    return manifest


def _read_bounded(path: Path, limit_bytes: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise SnapshotRefused(f"{path} is larger than {limit_bytes} bytes")
    return content


def _signed_bytes(manifest: SnapshotManifest) -> bytes:
    sections: dict[str, JSONValue] = dict(manifest.sections.items())
    signed: dict[str, JSONValue] = {
        "epoch": manifest.epoch,
        "revision": manifest.revision,
        "min_reader": manifest.min_reader,
        "created_at": manifest.created_at,
        "sections": sections,
    }
    if manifest.min_reader >= OVERRIDES_READER:
        signed["overrides_folded"] = manifest.overrides_folded
    return canonical_json(signed)
