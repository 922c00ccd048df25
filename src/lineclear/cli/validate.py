"""`lineclear validate` and `lineclear schema`: what can be said about manifests without a server.

In: files. Out: every mistake of text, fields and values; the names and variables that only a server can judge.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from lineclear.cli.connect import output_option
from lineclear.cli.manifest_files import (
    fail_findings,
    files_option,
    find_files,
    more_files,
    named_variables,
    note_empty,
)
from lineclear.cli.output import Format, Output
from lineclear.config.manifest import Document, Reading
from lineclear.config.manifest_names import known_names, mentions_of, unknown_words, variables_of
from lineclear.config.manifest_rules import BUILT_IN_ENVIRONMENTS
from lineclear.config.manifest_schema import manifest_schema
from lineclear.domain.findings import Finding
from lineclear.domain.manifest import Environment, Provider


@click.command()
@files_option
@more_files
@output_option
def validate(paths: tuple[Path, ...], more: tuple[Path, ...], format_: str) -> None:
    """Check manifest files without a server: syntax, fields, values.

    Names that the files do not define and variables that are not set here are listed: `lineclear plan` asks the server.
    """
    output = Output(Format(format_))
    found = find_files(paths, more)
    reading = found.reading()
    fail_findings(output, reading)
    note_empty(output, found.files)
    facts = [{"kind": item.kind.value, "name": item.name, "file": item.file} for item in reading.documents]
    unknown = [asdict(finding) for finding in _not_known_here(reading)]
    output.rows(facts, ["kind", "name", "file"], {"valid": True, "documents": facts, "not_known_here": unknown})
    for item in unknown:
        output.note(f"{item['file']}:{item['line']}:{item['column']}: {item['message']}")
    if unknown:
        output.note("these are not known here; `lineclear plan` asks the server")


@click.command()
@output_option
def schema(format_: str) -> None:
    """Print the JSON Schema of manifests.

    Keep it in a file, and name it to editors in a manifest's first line: `# yaml-language-server: $schema=FILE`.
    """
    Output(Format.JSON if format_ == Format.TABLE else Format(format_)).value(manifest_schema())


def _not_known_here(reading: Reading) -> Iterator[Finding]:
    built_in = [Environment(name=name, class_=class_) for name, class_ in BUILT_IN_ENVIRONMENTS.items()]
    known = known_names([*built_in, *(document.manifest for document in reading.documents)])
    values = named_variables(reading)
    for document in reading.documents:
        for mention in mentions_of(document.manifest):
            words = unknown_words(mention, known)
            if words is not None:
                said = words.replace("there is no", "these files define no", 1)
                yield document.finding(mention.path, "unknown_reference", said, at_key=mention.is_key)
        yield from _unset(document, values)


def _unset(document: Document, values: dict[str, str]) -> Iterator[Finding]:
    if isinstance(document.manifest, Provider):
        for variable, path in variables_of(document.manifest).items():
            if variable not in values:
                yield document.finding(path, "unset_variable", f"the variable {variable} is not set here")
