"""`lineclear validate`, `plan`, `apply`: manifest files checked, compared with what is, carried out.

In: files or directories. Out: a plan as lines or JSON. Credential variables that the files name are taken from this
process's environment if it has them; the server's own environment fills in the rest.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from lineclear.cli.connect import admin_command, output_option
from lineclear.cli.output import ExitCode, Format, Output
from lineclear.client.admin import AdminClient, path_of
from lineclear.config.manifest import Document, InvalidManifest, ManifestFile, read_file, read_manifests
from lineclear.config.manifest_rules import VARIABLE
from lineclear.config.settings import process_environment
from lineclear.domain.manifest import Provider

FILES_MAX = 1_000
SUFFIXES = (".yaml", ".yml", ".json")
VALUE_CHARS_MAX = 48

files_option = click.option(
    "-f",
    "--file",
    "paths",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="Manifest file, or a directory of them; may be given several times.",
)
more_files = click.argument("more", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[FILE]...")


@click.command()
@files_option
@more_files
@output_option
def validate(paths: tuple[Path, ...], more: tuple[Path, ...], format_: str) -> None:
    """Check manifest files without a server: syntax, fields, values.

    Whether the names in them exist is the server's knowledge; `lineclear plan` asks it.
    """
    output = Output(Format(format_))
    documents = _documents(_files(paths, more), output)
    facts = [{"kind": item.kind.value, "name": item.name, "file": item.file} for item in documents]
    output.rows(facts, ["kind", "name", "file"], {"valid": True, "documents": facts})


@click.command()
@files_option
@more_files
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 3 if there is something to do.")
@admin_command
def plan(
    client: AdminClient, output: Output, paths: tuple[Path, ...], more: tuple[Path, ...], detailed_exitcode: bool
) -> None:
    """Show what applying manifest files would change; changes nothing."""
    answer = client.post(path_of("plans"), _request(_files(paths, more), output))
    output.value(answer, plan_lines(answer))
    if detailed_exitcode and answer["has_changes"]:
        raise SystemExit(ExitCode.PLAN_HAS_CHANGES)


@click.command()
@files_option
@more_files
@click.option("--note", default="", help="Why; kept with the change. Default: file names and digest.")
@click.option("--plan", "plan_digest", default=None, help="Digest of the plan that was looked at; another is refused.")
@admin_command
def apply(
    client: AdminClient,
    output: Output,
    paths: tuple[Path, ...],
    more: tuple[Path, ...],
    note: str,
    plan_digest: str | None,
) -> None:
    """Apply manifest files, all or nothing, and wait for the gateways. Never deletes anything."""
    request = {**_request(_files(paths, more), output), "note": note, "plan": plan_digest}
    answer = client.post(path_of("changes"), request)
    output.value(answer, [*plan_lines(answer["plan"]), *_applied_lines(answer)])


def plan_lines(plan_facts: Mapping[str, Any]) -> list[str]:
    """A plan for a person: one line per noun, field changes below it."""
    lines: list[str] = []
    marks = {"create": "+", "update": "~", "unchanged": " "}
    for item in plan_facts["objects"]:
        lines.append(f"{marks[item['action']]} {item['kind']}/{item['name']} {item['action']}")
        if item["action"] == "update":
            lines += [
                f"    {field['path']}: {_short(field['before'])} → {_short(field['after'])}" for field in item["fields"]
            ]
        lines += [f"    keeps {part}, which the file leaves out" for part in item["kept"]]
    for item in plan_facts["releases"]:
        where = f"{item['environment']}/{item['route']}"
        lines.append(f"> {where}: release {item['before'] or 'none'} → {item['after']}")
    lines += [f"* credential {name}: new value" for name in plan_facts["credentials"]]
    lines += [f"! {warning}" for warning in plan_facts["warnings"]]
    if not plan_facts["has_changes"]:
        lines.append("nothing to change")
    return [*lines, f"plan {plan_facts['digest'][:16]} on revision {plan_facts['base_revision']}"]


def _applied_lines(answer: Mapping[str, Any]) -> list[str]:
    gateways = answer["gateways"]
    lines = []
    if answer["change"]:
        lines.append(f"applied as {answer['change']}, revision {answer['revision']}")
    lines.append(f"in force at {len(gateways['acknowledged'])} processes")
    if gateways["silent"]:
        lines.append(f"not acknowledged in time by: {', '.join(gateways['silent'])}; they follow by themselves")
    return lines


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= VALUE_CHARS_MAX else text[: VALUE_CHARS_MAX - 1] + "…"


def _files(paths: Sequence[Path], more: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in (*paths, *more):
        if path.is_dir():
            found += sorted(item for item in path.rglob("*") if item.suffix in SUFFIXES and item.is_file())
        else:
            found.append(path)
    if not found:
        raise click.UsageError("no manifest file was named; use -f FILE")
    if len(found) > FILES_MAX:
        raise click.UsageError(f"{len(found)} files; at most {FILES_MAX} make one change")
    return list(dict.fromkeys(found))


def _documents(paths: Sequence[Path], output: Output) -> tuple[Document, ...]:
    try:
        return read_manifests([read_file(path) for path in paths])
    except InvalidManifest as error:
        findings = [
            {"code": f.code, "message": f.message, "file": f.file, "line": f.line, "column": f.column, "path": f.path}
            for f in error.findings
        ]
        count = len(error.findings) + error.left_out
        words = f"{count} {'mistake' if count == 1 else 'mistakes'} in the manifests"
        output.fail(ExitCode.FAILURE, words, details=findings, kind="invalid_manifest")


def _request(paths: Sequence[Path], output: Output) -> dict[str, Any]:
    documents = _documents(paths, output)
    files: list[ManifestFile] = [read_file(path) for path in paths]
    return {
        "files": [{"name": file.name, "text": file.text, "directory": file.directory} for file in files],
        "variables": _variables(documents),
    }


def _variables(documents: Sequence[Document]) -> dict[str, str]:
    """Credential variables that the documents name and that are set here."""
    environment = process_environment()
    named: set[str] = set()
    for document in documents:
        if isinstance(document.manifest, Provider):
            credential = document.manifest.credential
            references = credential.values() if isinstance(credential, dict) else [credential or ""]
            named |= {match.group(1) for match in map(VARIABLE.fullmatch, references) if match}
    return {name: environment[name] for name in sorted(named) if environment.get(name)}
