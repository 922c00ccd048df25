"""`lineclear apply`: manifest files, a plan that was kept, or an approved change, carried out.

In: files, directories, a plan file or a change's id. Out: what was done. Credential variables that the files name are
taken from this process's environment if it has them; the server's own environment fills in the rest.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.manifest_files import (
    STANDARD_INPUT,
    files_option,
    find_files,
    note_empty,
    refuse_unreadable,
    request_of,
    terms_options,
)
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.plan import plan_lines, read_plan_file, show_plan_only
from lineclear.client.admin import AdminClient, path_of
from lineclear.config.manifest import ManifestFile

CHANGE_PREFIX = "chg_"
"""How ids of changes begin."""
OPEN = "open"
"""The state of a change that waits for approval."""


WAIT_STEP_S = 1.0
"""Between two looks at a change that waits."""


@click.command()
@files_option
@click.argument("more", nargs=-1, metavar="[FILE|CHANGE]...")
@terms_options
@click.option("--note", default="", help="Why; needed where somebody else has to approve it.")
@click.option("--co-author", "co_authors", multiple=True, metavar="NAME", help="Who worked on it too; may be repeated.")
@click.option("--force", is_flag=True, help="Delete also what apps called in the last 30 days.")
@click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(1),
    default=None,
    metavar="SECONDS",
    help="Wait for approval so long, then carry it out.",
)
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing. Exits with 3, as `plan` does.")
@click.option("--plan", "plan_digest", default=None, help="Digest of the plan that was looked at; another is refused.")
@admin_command
def apply(
    client: AdminClient,
    output: Output,
    paths: tuple[Path, ...],
    more: tuple[str, ...],
    note: str,
    co_authors: tuple[str, ...],
    force: bool,
    wait_s: int | None,
    dry_run: bool,
    plan_digest: str | None,
    take_ownership: bool,
    prune: str,
) -> None:
    """Apply manifest files, all or nothing, and wait for the gateways.

    A single argument may be a plan of `plan --out`, which is refused if applying would do something else by now, or the
    id of an approved change. Where somebody else has to approve, a change is opened and the command exits with 7.
    Nothing is deleted without --prune, and nothing that was changed elsewhere is undone without --take-ownership.
    """
    if len(more) == 1 and not paths and more[0].startswith(CHANGE_PREFIX):
        _finish(client, output, more[0], wait_s)
        return
    named = tuple(_path_of_file(name) for name in more)
    kept = read_plan_file(named[0]) if len(named) == 1 and not paths else None
    if kept is not None:
        if plan_digest or take_ownership or prune:
            raise click.UsageError("the plan says how it is meant; give only --note with it")
        files = [ManifestFile(**file) for file in kept["files"]]
        request = request_of(files, take_ownership=kept["take_ownership"], prune=kept["prune"])
        plan_digest = kept["digest"]
    else:
        found = find_files(paths, named)
        request = request_of(found.files, take_ownership=take_ownership, prune=prune)
        refuse_unreadable(client, output, found, request)
        note_empty(output, found.files)
    if dry_run:
        show_plan_only(client, output, request)
    asked = {**request, "note": note, "plan": plan_digest, "co_authors": list(co_authors), "force": force}
    answer = client.post(path_of("changes"), asked)
    if answer["state"] == OPEN:
        _wait_or_leave(client, output, answer, wait_s)
        return
    output.value(answer, [*plan_lines(answer["plan"]), *_applied_lines(answer)])


def _path_of_file(name: str) -> Path:
    path = Path(name)
    if path != STANDARD_INPUT and not path.exists():
        raise click.UsageError(f"there is no file {name!r}")
    return path


def _wait_or_leave(client: AdminClient, output: Output, answer: Mapping[str, Any], wait_s: int | None) -> None:
    """A change that was opened: say so and exit with 7, or wait for its approval."""
    change = answer["change"]
    if wait_s is None:
        output.value(answer, [*plan_lines(answer["plan"]), *_open_lines(change)])
        raise SystemExit(ExitCode.APPROVAL_PENDING)
    for line in _open_lines(change):
        output.note(line)
    _finish(client, output, change, wait_s)


def _finish(client: AdminClient, output: Output, change: str, wait_s: int | None) -> None:
    """Carry out a change as soon as it is approved; without `wait_s` now or not at all."""
    state = client.get(path_of("changes", change))["change"]["state"]
    left_s = float(wait_s or 0)
    while state == OPEN and left_s > 0:
        time.sleep(WAIT_STEP_S)
        left_s -= WAIT_STEP_S
        state = client.get(path_of("changes", change))["change"]["state"]
    if state == OPEN:
        hint = f"an approver runs `lineclear approve {change}`"
        output.fail(ExitCode.APPROVAL_PENDING, f"{change} still waits for approval", hint=hint, kind="approval_pending")
    answer = client.post(path_of("changes", change, "applications"), None)
    output.value(answer, [*plan_lines(answer["plan"]), *_applied_lines(answer)])


def _open_lines(change: str) -> list[str]:
    return [
        f"opened as {change}; somebody else has to approve it: lineclear approve {change}",
        f"then: lineclear apply {change}",
    ]


def _applied_lines(answer: Mapping[str, Any]) -> list[str]:
    gateways = answer["gateways"]
    lines = []
    if answer["change"]:
        lines.append(f"applied as {answer['change']}, revision {answer['revision']}")
    lines.append(f"in force at {len(gateways['acknowledged'])} processes")
    if gateways["silent"]:
        lines.append(f"not acknowledged in time by: {', '.join(gateways['silent'])}; they follow by themselves")
    return lines
