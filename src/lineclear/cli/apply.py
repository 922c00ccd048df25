"""`lineclear apply`: manifest files, or a plan that was kept, carried out.

In: files, directories or a plan file. Out: what was done. Credential variables that the files name are taken from this
process's environment if it has them; the server's own environment fills in the rest.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.manifest_files import (
    files_option,
    find_files,
    more_files,
    refuse_unreadable,
    request_of,
    terms_options,
)
from lineclear.cli.output import Output
from lineclear.cli.plan import plan_lines, read_plan_file, show_plan_only
from lineclear.client.admin import AdminClient, path_of
from lineclear.config.manifest import ManifestFile


@click.command()
@files_option
@more_files
@terms_options
@click.option("--note", default="", help="Why; kept with the change. Default: file names and digest.")
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing. Exits with 3, as `plan` does.")
@click.option("--plan", "plan_digest", default=None, help="Digest of the plan that was looked at; another is refused.")
@admin_command
def apply(
    client: AdminClient,
    output: Output,
    paths: tuple[Path, ...],
    more: tuple[Path, ...],
    note: str,
    dry_run: bool,
    plan_digest: str | None,
    take_ownership: bool,
    prune: bool,
) -> None:
    """Apply manifest files, all or nothing, and wait for the gateways.

    A single argument may be a plan of `plan --out`; it is refused if applying would do something else by now.
    Nothing is deleted without --prune, and nothing that was changed elsewhere is undone without --take-ownership.
    """
    kept = read_plan_file(more[0]) if len(more) == 1 and not paths else None
    if kept is not None:
        if plan_digest or take_ownership or prune:
            raise click.UsageError("the plan says how it is meant; give only --note with it")
        files = [ManifestFile(**file) for file in kept["files"]]
        request = request_of(files, take_ownership=kept["take_ownership"], prune=kept["prune"])
        plan_digest = kept["digest"]
    else:
        found = find_files(paths, more)
        request = request_of(found.files, take_ownership=take_ownership, prune=prune)
        refuse_unreadable(client, output, found, request)
    if dry_run:
        show_plan_only(client, output, request)
    answer = client.post(path_of("changes"), {**request, "note": note, "plan": plan_digest})
    output.value(answer, [*plan_lines(answer["plan"]), *_applied_lines(answer)])


def _applied_lines(answer: Mapping[str, Any]) -> list[str]:
    gateways = answer["gateways"]
    lines = []
    if answer["change"]:
        lines.append(f"applied as {answer['change']}, revision {answer['revision']}")
    lines.append(f"in force at {len(gateways['acknowledged'])} processes")
    if gateways["silent"]:
        lines.append(f"not acknowledged in time by: {', '.join(gateways['silent'])}; they follow by themselves")
    return lines
