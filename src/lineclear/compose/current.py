"""What the supervisor reads of the snapshot directory: whether there is one, and which runtimes it wants.

Standard library only, so the full checks (MAC, strict decoding) are the readers' in `handover`; here the section's
digest is checked, and a runtime checks its own artefact. Nothing is written.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RUNTIMES_SECTION = "runtimes"
RUNTIMES_MAX = 64
"""More runtime processes than this on one machine is a mistake in the catalogue."""
_SAFE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


@dataclass(frozen=True, slots=True)
class Current:
    """The snapshot in force, as far as the supervisor cares."""

    epoch: int
    revision: int
    runtimes: Mapping[str, Mapping[str, object]]
    """Runtime specs by name."""


class SnapshotUnreadable(Exception):
    """CURRENT or a section is damaged or of another format; the last good one stays in force."""


def read_stamp(snapshot_dir: Path) -> tuple[int, int, int] | None:
    """Changes whenever CURRENT is replaced; None before the first snapshot. Cheap enough to ask often."""
    try:
        status = (snapshot_dir / "CURRENT").stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def read_current(snapshot_dir: Path) -> Current:
    """Reads CURRENT and its `runtimes` section.

    Raises:
        SnapshotUnreadable: the files cannot be read or do not match their digests.
    """
    try:
        manifest = json.loads((snapshot_dir / "CURRENT").read_bytes())
        digest = manifest["sections"].get(RUNTIMES_SECTION)
        specs = [] if digest is None else _read_specs(snapshot_dir / "sections" / digest, digest)
        return Current(int(manifest["epoch"]), int(manifest["revision"]), {str(spec["name"]): spec for spec in specs})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotUnreadable(f"the snapshot in {snapshot_dir} cannot be read: {error}") from error


def _read_specs(path: Path, digest: str) -> list[dict[str, object]]:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise SnapshotUnreadable(f"the section {path.name} does not match its digest")
    specs = json.loads(content)["runtimes"]
    processes = sum(replicas_of(spec) for spec in specs)
    if processes > RUNTIMES_MAX:
        raise SnapshotUnreadable(f"{processes} runtime processes are wanted and {RUNTIMES_MAX} is the limit")
    for spec in specs:
        # The name becomes a file name.
        if not _SAFE_NAME.fullmatch(str(spec["name"])):
            raise SnapshotUnreadable(f"the runtime name {spec['name']!r} cannot be a file name")
    return list(specs)


def replicas_of(spec: Mapping[str, object]) -> int:
    """How many processes serve this model version; at least 1.

    Raises:
        ValueError: the number is none.
    """
    replicas = spec.get("replicas", 1)
    if not isinstance(replicas, int) or replicas < 1:
        raise ValueError(f"{replicas!r} is no number of replicas")
    return replicas


def replica_part(runtime: str, replica: int) -> str:
    """The part that a replica fills: `runtime.NAME`, then `runtime.NAME~1` and so on."""
    return f"runtime.{runtime}~{replica}" if replica else f"runtime.{runtime}"
