"""The model file: it is served only if it is, byte for byte, what the catalogue names.

In: a path and a SHA-256. Out: nothing, or the reason. It must not be loaded before this returned.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

READ_BYTES = 1 << 20


class ArtifactRefused(Exception):
    """The file is missing, unreadable or not the one that was named. Trying again will not help."""


def file_sha256(path: Path, advance: Callable[[int], None] | None = None) -> str:
    """SHA-256 of a file's content, 64 lower-case hex digits. Blocks; about 0.3 s for 100 MB.

    `advance` hears how many bytes were read since it last did.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(READ_BYTES):
            digest.update(part)
            if advance is not None:
                advance(len(part))
    return digest.hexdigest()


def verify_artifact(path: Path, sha256: str) -> None:
    """Returns if the file's content has this digest.

    Raises:
        ArtifactRefused: it has not, or the file cannot be read.
    """
    try:
        found = file_sha256(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    _demand_equal(path, found, sha256)


def read_verified(path: Path, sha256: str) -> bytes:
    """A file's whole content, if it has this digest: what was compared is what the caller gets.

    Raises:
        ArtifactRefused: it has not, or the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    _demand_equal(path, hashlib.sha256(content).hexdigest(), sha256)
    return content


def _demand_equal(path: Path, found: str, sha256: str) -> None:
    if found != sha256.lower():
        raise ArtifactRefused(
            f"the model file {path} is not the one in the catalogue: its sha256 is {found}, named was {sha256}; "
            "restore the file, or apply a version that names the new digest"
        )


def _unreadable(path: Path, error: OSError) -> ArtifactRefused:
    return ArtifactRefused(f"the model file {path} cannot be read: {error.strerror}")
