"""Durable files: written whole or not at all.

In: bytes and a path. Out: a file that after a crash is the old one or the new one. Knows no content.
"""

import os
import tempfile
from pathlib import Path


def write_durably(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Replaces `path` (mode 0600) in one step; with `sync` it is on the disk when this returns.

    Raises:
        OSError: as the file system says; the old file is untouched then.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        try:
            write_all(descriptor, content)
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        Path(name).rename(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(path.parent)


def write_all(descriptor: int, content: bytes) -> None:
    """Writes every byte.

    Raises:
        OSError: as the file system says; some bytes may have been written.
    """
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(directory: Path) -> None:
    """Makes the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_directory(directory: Path) -> Path:
    """The directory, made with mode 0700 if it was missing."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory
