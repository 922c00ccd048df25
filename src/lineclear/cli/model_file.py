"""A model file of one's own as a model version: its engine, its digest, its settings, the files beside it.

In: a path and settings as they were typed. Out: a version in the form of a manifest. Must not talk to the server.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lineclear.cli.output import Output
from lineclear.cli.progress import progress_bytes
from lineclear.domain.catalogue import Engine
from lineclear.domain.runtimes import CLASSIFICATION, SettingValue, read_runtime_settings
from lineclear.serving.artifact import ArtifactRefused, file_sha256
from lineclear.serving.formats import engine_of

VERSION_DIGITS = 12
"""Hex digits of the file's digest in the version's name."""
SIDE_FILES = {"tokenizer": "tokenizer.json", "labels": "labels.json"}
"""Taken from the model file's folder if the settings name none."""


def version_of_file(
    output: Output, path: Path, assignments: Sequence[str], status: str, replicas: int
) -> dict[str, Any]:
    """The version that serves this file; its name follows from the content, so the same file is the same version.

    Raises:
        ArtifactRefused: the file is of no format that is served, or cannot be read.
        click.UsageError: a setting is wrong.
    """
    engine = engine_of(path)
    sha256 = hash_file(output, path)
    settings = read_settings_of(output, engine, path, assignments)
    return {
        "version": f"sha-{sha256[:VERSION_DIGITS]}",
        "engine": engine.value,
        "artifact": str(path),
        "sha256": sha256,
        "status": status,
        "price": {"input_per_mtok": "0", "output_per_mtok": "0"},
        **({"settings": settings} if settings else {}),
        **({"replicas": replicas} if replicas != 1 else {}),
    }


def hash_file(output: Output, path: Path) -> str:
    """The file's sha256, with its progress shown.

    Raises:
        ArtifactRefused: it cannot be read.
    """
    try:
        with progress_bytes(output, f"hashing {path.name}", path.stat().st_size) as advance:
            return file_sha256(path, advance)
    except OSError as error:
        raise ArtifactRefused(f"the model file {path} cannot be read: {error.strerror}") from error


def read_settings_of(output: Output, engine: Engine, path: Path, assignments: Sequence[str]) -> dict[str, SettingValue]:
    """The engine's settings from NAME=VALUE texts, with the files that an ONNX net needs beside it and their digests.

    Raises:
        click.UsageError: a setting is wrong, or a file that is needed is missing.
        ArtifactRefused: a file cannot be read.
    """
    settings: dict[str, SettingValue] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise click.UsageError(f"--set takes NAME=VALUE, not {assignment!r}")
        settings[name] = int(text) if text.isascii() and text.isdigit() else text
    if engine is Engine.ONNX:
        wanted = (["tokenizer"] if settings.get("reads", "text") == "text" else []) + (
            ["labels"] if settings.get("task") == CLASSIFICATION else []
        )
        for setting in wanted:
            beside = path.parent / str(settings.get(setting, SIDE_FILES[setting]))
            if not beside.is_file():
                raise click.UsageError(
                    f"{beside} is missing; put it beside the model file or name it with --set {setting}=PATH"
                )
            settings.setdefault(setting, SIDE_FILES[setting])
            settings.setdefault(f"{setting}_sha256", hash_file(output, beside))
    try:
        read_runtime_settings(engine, settings)
    except ValueError as error:
        raise click.UsageError(f"--set: {error}") from error
    return settings
