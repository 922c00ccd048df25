"""`lineclear doctor`: looks for what keeps the platform from working, and says what to do about each thing.

In: the machine, the data directory, the server if it runs. Out: findings; exit code 1 if one is a failure.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import click

from lineclear.base.clock import SystemClock
from lineclear.cli.checkup import directory, machine, server
from lineclear.cli.checkup.bundle import write_bundle
from lineclear.cli.checkup.finding import Finding, Level, Scene
from lineclear.cli.connect import local_command
from lineclear.cli.environment import command_settings
from lineclear.cli.held import find_holder
from lineclear.cli.output import ExitCode, Format, Output
from lineclear.cli.terminal import shown_text, styled
from lineclear.cli.waiting import sign_of_life
from lineclear.client.admin import AdminClient, AdminError, AdminUnreachable, path_of
from lineclear.client.find import ServerInvalid, ServerNotFound, find_server
from lineclear.config.settings import process_environment

Check = Callable[[Scene], Iterator[Finding]]

CHECKS: tuple[Check, ...] = (
    machine.versions, machine.settings, machine.clock, machine.disk, machine.ports, machine.models,
    directory.directory, directory.locks, directory.database, directory.master_key, directory.spool,
    server.control, server.processes, server.certificate, server.ledger, server.providers,
)  # fmt: skip
MARKS = {
    Level.OK: ("✓", "green"),
    Level.SKIPPED: ("·", ""),
    Level.WARNING: ("!", "yellow"),
    Level.FAILURE: ("✗", "red"),
}
TIMEOUT_S = 45.0
"""A provider that is silent is waited for by the server this long at most."""


@click.command()
@click.option("--data", "data_dir", type=click.Path(path_type=Path), default=None, help="Data directory.")
@click.option("--url", default=None, help="Admin address; else LINECLEAR_URL or the data directory.")
@click.option("--token", default=None, help="Admin token; else LINECLEAR_TOKEN or the data directory.")
@click.option("--online", is_flag=True, help="Also call each provider with its key, which may cost a token.")
@click.option("--fix", is_flag=True, help="Repair what is safe to repair: permissions of the data directory's files.")
@click.option(
    "--bundle", type=click.Path(dir_okay=False, path_type=Path), default=None,
    help="Write findings and state, without secrets, into this .tar.gz.",
)  # fmt: skip
@local_command
def doctor(
    output: Output,
    data_dir: Path | None,
    url: str | None,
    token: str | None,
    online: bool,
    fix: bool,
    bundle: Path | None,
) -> None:
    """Look for what keeps the platform from working; exits 1 if there is a failure.

    Needs no running server, and looks at it as well if there is one.
    """
    scene = _scene(data_dir, url, token, is_online=online)
    with sign_of_life(output, "looking around"):
        findings = [finding for check in CHECKS for finding in _found(check, scene)]
    if fix:
        findings = [_fixed(finding) for finding in findings]
    if bundle is not None:
        _bundle(output, bundle, scene, findings)
    counts = {level.value: sum(1 for item in findings if item.level is level) for level in Level}
    facts = [finding.facts() for finding in findings]
    if output.format is Format.TABLE and output.is_talkative:
        for line in (line for finding in findings for line in _lines(finding)):
            click.echo(line)
        output.note(", ".join(f"{count} {name}" for name, count in counts.items() if count))
    else:
        output.rows(facts, ["check", "level", "what", "next"], {"findings": facts, "counts": counts})
    if counts[Level.FAILURE.value]:
        raise SystemExit(ExitCode.FAILURE)


def _scene(data_dir: Path | None, url: str | None, token: str | None, *, is_online: bool) -> Scene:
    settings = command_settings()
    place = (data_dir or settings.data_dir).absolute()
    holder = find_holder(place)
    client, kept_away = None, ""
    try:
        # Without a server of this directory only what was named is asked; the default port may be somebody else's.
        if holder is not None or url or settings.url:
            client = AdminClient(find_server(settings, url, token, place), TIMEOUT_S)
    except ServerInvalid as error:
        raise click.UsageError(str(error)) from error
    except ServerNotFound as error:
        kept_away = str(error)
    status = None
    if client is not None:
        try:
            status = client.get(path_of("status"))
        except (AdminError, AdminUnreachable):
            # The checks of the server say so, with what to do.
            status = None
    return Scene(place, settings, process_environment(), SystemClock(), holder, client, status, is_online, kept_away)


def _found(check: Check, scene: Scene) -> Iterator[Finding]:
    """A check's findings; one that cannot look says so instead of ending the others."""
    try:
        yield from check(scene)
    except (OSError, AdminError, AdminUnreachable) as error:
        name = check.__name__.replace("_", " ")
        yield Finding(name, Level.FAILURE, f"it could not be looked at: {error}", "", "may you read it?")


def _fixed(finding: Finding) -> Finding:
    if finding.fix is None or finding.level is not Level.FAILURE:
        return finding
    try:
        finding.fix()
    except OSError as error:
        return Finding(
            finding.check, finding.level, f"{finding.what}; not repaired: {error}", finding.why, finding.next
        )
    return Finding(finding.check, Level.OK, f"repaired: {finding.what}")


def _lines(finding: Finding) -> Iterator[str]:
    mark, colour = MARKS[finding.level]
    yield f"{styled(mark, colour) if colour else mark} {finding.check}: {shown_text(finding.what)}"
    if finding.level in (Level.WARNING, Level.FAILURE):
        if finding.why:
            yield f"    why:  {shown_text(finding.why)}"
        if finding.next:
            yield f"    next: {shown_text(finding.next)}"


def _bundle(output: Output, path: Path, scene: Scene, findings: list[Finding]) -> None:
    try:
        names = write_bundle(path, scene, findings)
    except OSError as error:
        output.fail(
            ExitCode.FAILURE, f"{path} cannot be written: {error.strerror}", hint="name a file that is not there"
        )
    output.note(f"wrote {path} ({', '.join(names)}); look through it before you send it")
