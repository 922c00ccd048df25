"""`lineclear can SUBJECT ACTION OBJECT`: may they, and why."""

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.offered import names_of, one_of
from lineclear.cli.output import ExitCode, Output
from lineclear.client.admin import AdminClient, path_of
from lineclear.domain.permissions import Permission


@click.command()
@click.argument("subject", shell_complete=names_of("members"))
@click.argument("action", shell_complete=one_of([item.value for item in Permission]))
@click.argument("object_", metavar="OBJECT", default="platform")
@admin_command
def can(client: AdminClient, output: Output, subject: str, action: str, object_: str) -> None:
    """Tell whether SUBJECT (a name, or me) may do ACTION to OBJECT, and why; exits 4 if not.

    ACTION is a permission such as change:approve. OBJECT is platform, team:NAME, environment:NAME, route:ENV/NAME,
    app:NAME or model:NAME.
    """
    query = {"subject": subject, "action": action, "object": object_}
    answer = client.get(path_of("decision"), query)
    verdict = "yes" if answer["allowed"] else "no"
    lines = [f"{verdict}: {answer['reason']}", f"  {answer['object']} lies in {answer['scope']}"]
    output.value(answer, [*lines, *(f"  {item}" for item in answer["grants"])])
    if not answer["allowed"]:
        raise SystemExit(ExitCode.NOT_AUTHORISED)
