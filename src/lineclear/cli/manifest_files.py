"""Manifest files as commands take them: named one by one or by folder, read, and sent with the credentials they name.

In: paths. Out: the files, the request that plans or applies them, and what could not even be read.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from lineclear.cli.output import ExitCode, Output
from lineclear.client.admin import AdminClient, AdminError, path_of
from lineclear.config.manifest import (
    InvalidManifest,
    ManifestFile,
    Reading,
    in_order,
    manifest_text,
    parse_manifests,
    read_file,
)
from lineclear.config.manifest_names import variables_of
from lineclear.config.settings import process_variables
from lineclear.domain.findings import Finding
from lineclear.domain.manifest import Provider

FILES_MAX = 1_000
STANDARD_INPUT = Path("-")
SUFFIXES = (".yaml", ".yml", ".json")

files_option = click.option(
    "-f",
    "--file",
    "paths",
    type=click.Path(exists=True, allow_dash=True, path_type=Path),
    multiple=True,
    help="Manifest file, a directory of them, or - for standard input; may be given several times.",
)
more_files = click.argument(
    "more", nargs=-1, type=click.Path(exists=True, allow_dash=True, path_type=Path), metavar="[FILE]..."
)


def terms_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options that say how a change is meant."""
    function = click.option(
        "--prune", default="", metavar="SCOPE", help="Delete what files keep in `platform` or `team:NAME`."
    )(function)
    return click.option(
        "--take-ownership", is_flag=True, help="Let the files win over what was changed elsewhere (see `drift`)."
    )(function)


@dataclass(frozen=True)
class Files:
    """Files as far as they could be read."""

    files: tuple[ManifestFile, ...]
    findings: tuple[Finding, ...]
    """Files that could not be read at all."""

    def reading(self) -> Reading:
        """Their documents with every mistake, those of unreadable files included."""
        reading = parse_manifests(self.files)
        return Reading(reading.documents, (*self.findings, *reading.findings), reading.files)


def find_files(paths: Sequence[Path], more: Sequence[Path]) -> Files:
    """The files of `-f` and of arguments, folders searched.

    Raises:
        click.UsageError: if there is none, or too many.
    """
    named = (*paths, *more)
    findings: list[Finding] = []
    found: list[Path] = []
    for path in named:
        found += _inside(path, findings) if path != STANDARD_INPUT and path.is_dir() else [path]
    if not named:
        raise click.UsageError("no manifest file was named; use -f FILE")
    if not found and not findings:
        folders = ", ".join(str(path) for path in named)
        raise click.UsageError(f"no manifest file is in {folders}; they end in {', '.join(SUFFIXES)}")
    if len(found) > FILES_MAX:
        raise click.UsageError(f"{len(found)} files; at most {FILES_MAX} make one change")
    files: list[ManifestFile] = []
    for path in dict.fromkeys(found):
        try:
            files.append(_standard_input() if path == STANDARD_INPUT else read_file(path))
        except InvalidManifest as error:
            # A file of a searched folder may go while it is searched: then it is none of them.
            if path in named or not isinstance(error.__cause__, FileNotFoundError):
                findings += error.findings
    return Files(tuple(files), tuple(findings))


def _inside(folder: Path, findings: list[Finding]) -> list[Path]:
    """Files of a folder and of those in it; what cannot be searched is a finding, what is gone by now is not."""

    def refused(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            words = f"cannot search the directory: {error.strerror}"
            findings.append(Finding("unreadable", words, str(error.filename)))

    names = (Path(top, name) for top, _, inside in os.walk(folder, onerror=refused) for name in inside)
    return sorted(path for path in names if path.suffix in SUFFIXES and _is_file(path))


def _is_file(path: Path) -> bool:
    """No pipe and no link to nothing; what may not be looked at is told when it is read."""
    try:
        return path.is_file()
    except OSError:
        return True


def _standard_input() -> ManifestFile:
    content = sys.stdin.buffer.read()
    return ManifestFile("-", manifest_text(content, "-"), str(Path.cwd()))


def note_empty(output: Output, files: Iterable[ManifestFile]) -> None:
    """Say which files hold nothing: what was meant to be written may be missing."""
    for file in files:
        if all(line.partition("#")[0].strip() in ("", "---", "...") for line in file.text.splitlines()):
            output.note(f"{file.name} is empty: it holds no document")


def request_of(files: Iterable[ManifestFile], *, take_ownership: bool, prune: str) -> dict[str, Any]:
    """What the server is asked to plan or apply, with the credentials that are set here."""
    sent = list(files)
    return {
        "files": [asdict(file) for file in sent],
        "variables": named_variables(parse_manifests(sent)),
        "take_ownership": take_ownership,
        "prune": prune,
    }


def named_variables(reading: Reading) -> dict[str, str]:
    """Credential variables that the documents name and that are set here."""
    environment = process_variables()
    named = {
        variable
        for document in reading.documents
        if isinstance(document.manifest, Provider)
        for variable in variables_of(document.manifest)
    }
    return {name: environment[name] for name in sorted(named) if environment.get(name)}


def refuse_unreadable(client: AdminClient, output: Output, files: Files, request: Mapping[str, Any]) -> None:
    """Tell which files cannot be read together with everything that the server finds in the others."""
    if not files.findings:
        return
    found: list[Mapping[str, Any]] = [asdict(finding) for finding in files.findings]
    try:
        client.post(path_of("plans"), request)
    except AdminError as error:
        if not error.findings:
            raise
        found += error.findings
    fail_invalid(output, found)


def fail_findings(output: Output, reading: Reading) -> None:
    """Refuse a reading that has mistakes."""
    if reading.findings:
        fail_invalid(output, [asdict(finding) for finding in in_order(reading.findings, reading.files)])


def fail_invalid(output: Output, findings: Sequence[Mapping[str, Any]]) -> None:
    """Exit 1 with every finding."""
    words = f"{len(findings)} {'mistake' if len(findings) == 1 else 'mistakes'} in the manifests"
    output.fail(ExitCode.FAILURE, words, details=findings, kind="invalid_manifest")
