"""The file of `doctor --bundle`: what somebody else needs to see, without what nobody else may see.

In: findings, the scene. Out: one compressed archive of small JSON files, mode 0600. No file of the data directory is
copied; what comes from the server is cleaned of everything whose name says that it is a secret.
"""

import io
import json
import os
import re
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lineclear.cli.checkup.finding import Finding, Scene
from lineclear.client.admin import AdminError, AdminUnreachable, path_of
from lineclear.config.settings import SETTINGS

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(r"token|secret|password|credential|key$|authorization|certificate", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"(?:sk|lc|lca)[-_][A-Za-z0-9_-]{8,}|://[^/\s:@]+:[^/\s@]+@|Bearer \S+")
_ASKED = ("status", "processes", "providers", "model-versions", "releases", "drift")


def write_bundle(path: Path, scene: Scene, findings: Iterable[Finding]) -> list[str]:
    """Write the archive; the names of its files.

    Raises:
        OSError: if it cannot be written, or is there already.
    """
    contents: dict[str, Any] = {
        "findings.json": [finding.facts() for finding in findings],
        "settings.json": {
            setting.name: REDACTED if setting.is_secret else scene.environment[setting.name]
            for setting in SETTINGS
            if setting.name in scene.environment
        },
        "files.json": list(_files(scene.data_dir)),
    }
    for noun in _ASKED:
        contents[f"{noun}.json"] = _asked(scene, noun)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in contents.items():
            data = json.dumps(redacted(content), indent=1, ensure_ascii=False).encode()
            member = tarfile.TarInfo(f"lineclear-doctor/{name}")
            member.size, member.mtime = len(data), scene.clock.unix_us() // 1_000_000
            archive.addfile(member, io.BytesIO(data))
    return list(contents)


def redacted(value: Any) -> Any:
    """A JSON value without the values of secret names and without texts that look like keys."""
    if isinstance(value, dict):
        return {
            name: REDACTED if _SECRET_NAME.search(name) and isinstance(item, str) and item else redacted(item)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return _SECRET_TEXT.sub(REDACTED, value) if isinstance(value, str) else value


def _files(data_dir: Path) -> Iterable[dict[str, object]]:
    """Names, sizes and modes; never contents."""
    for path in sorted(data_dir.rglob("*")) if data_dir.is_dir() else ():
        status = path.lstat()
        yield {
            "path": str(path.relative_to(data_dir)),
            "bytes": status.st_size,
            "mode": f"{status.st_mode & 0o7777:o}",
            "changed_s": int(status.st_mtime),
        }


def _asked(scene: Scene, noun: str) -> Any:
    if scene.client is None or scene.status is None:
        return None
    try:
        return scene.client.get(path_of(noun))
    except (AdminError, AdminUnreachable) as error:
        return {"not_answered": str(error)}
