"""`lineclear models card|bom|import`: cards that go out to others, and others' cards that come in."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click

from lineclear.cli.connect import admin_command, output_option
from lineclear.cli.manifest_files import fail_invalid
from lineclear.cli.offered import names_of
from lineclear.cli.output import ExitCode, Format, Output
from lineclear.client.admin import AdminClient, path_of
from lineclear.config.foreign_card import CardUnreadable, ForeignCard, Importer, document_of
from lineclear.config.manifest import InvalidManifest, read_values
from lineclear.config.manifest_text import manifest_text, manifest_values
from lineclear.config.model_bom import read_model_bom
from lineclear.config.model_card import read_model_card
from lineclear.domain.manifest import Manifest

FILE_BYTES_MAX = 64 * 1024 * 1024


@click.command()
@click.argument("name", shell_complete=names_of("models"))
@admin_command
def card(client: AdminClient, output: Output, name: str) -> None:
    """Write a model's card as a README of the Hugging Face Hub."""
    text = client.get(path_of("model-cards", name))
    output.value({"model": name, "card": text}, text.splitlines())


@click.command()
@click.argument("name", required=False, default=None, shell_complete=names_of("models"))
@admin_command
def bom(client: AdminClient, output: Output, name: str | None) -> None:
    """Write every model, or one, as a CycloneDX 1.6 bill of materials."""
    bill = client.get(path_of("model-bom"), {"model": name})
    output.value(bill, json.dumps(bill, indent=2, ensure_ascii=False).splitlines())


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--owner", required=True, metavar="TEAM", help="The team that answers for it here.")
@click.option("--name", default="", help="What it is called here; default: as its card says.")
@click.option("--version", default="", help="Its version here; default: as its card says, else 1.")
@click.option("--provider", default="", help="Who serves it.")
@click.option("--upstream-id", default="", help="What that provider calls it; default: its name.")
@click.option("--artifact", default=None, type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Its file, if it is served here.")  # fmt: skip
@output_option
def import_card(
    file: Path,
    owner: str,
    name: str,
    version: str,
    provider: str,
    upstream_id: str,
    artifact: Path | None,
    format_: str,
) -> None:
    """Make manifests of a Hugging Face model card or a CycloneDX bill of materials.

    Prints one Model for each that FILE names, to be looked at and applied. Whatever FILE says, each begins as `test`.
    """
    output = Output(Format(format_))
    importer = Importer(owner, name, version, provider, upstream_id)
    if artifact is not None:
        importer = replace(importer, artifact=str(artifact.absolute()), sha256=_sha256(artifact))
    try:
        cards = _read(file)
        if len(cards) > 1 and (name or version or artifact or upstream_id):
            raise click.UsageError(
                f"{file} names {len(cards)} versions: --name, --version, --upstream-id and --artifact are for one"
            )
        documents = read_values([document_of(one, importer) for one in cards], str(file))
    except CardUnreadable as error:
        output.fail(ExitCode.FAILURE, f"{file}: {error}", kind="invalid_card")
    except InvalidManifest as error:
        fail_invalid(output, [asdict(finding) for finding in error.findings])
    else:
        _print(output, [document.manifest for document in documents])


def _print(output: Output, manifests: Sequence[Manifest]) -> None:
    values = [manifest_values(manifest) for manifest in manifests]
    output.value({"manifests": values}, manifest_text(manifests).splitlines())
    output.note("look at it, write it to a file, and `lineclear apply -f` it")


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _read(file: Path) -> list[ForeignCard]:
    content = file.read_bytes() if file.stat().st_size <= FILE_BYTES_MAX else b""
    if not content:
        raise CardUnreadable(f"it is empty, or larger than {FILE_BYTES_MAX} bytes")
    try:
        text = content.decode("utf-8-sig")
        return read_model_bom(json.loads(text)) if text.lstrip().startswith("{") else read_model_card(text)
    except (ValueError, RecursionError) as error:
        raise CardUnreadable(f"it cannot be read: {error}") from error
