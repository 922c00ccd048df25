"""`lineclear plan` and `lineclear drift`: what files would change, and what was changed elsewhere.

In: files or directories. Out: a plan as lines or JSON, and as a file that `lineclear apply` holds the doing to.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.manifest_files import (
    files_option,
    find_files,
    more_files,
    note_empty,
    refuse_unreadable,
    request_of,
    terms_options,
)
from lineclear.cli.output import ExitCode, Output, shown_text
from lineclear.client.admin import AdminClient, path_of
from lineclear.config.settings import process_environment
from lineclear.domain.access_rules import approver_words

PLAN_FILE_VERSION = 2
VALUE_CHARS_MAX = 60

_MARKS = {"create": ("+", "green"), "update": ("~", "yellow"), "unchanged": (" ", None), "delete": ("-", "red")}


@click.command()
@files_option
@more_files
@terms_options
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=None, help="Keep the plan for `apply`.")
@admin_command
def plan(
    client: AdminClient,
    output: Output,
    paths: tuple[Path, ...],
    more: tuple[Path, ...],
    out: Path | None,
    take_ownership: bool,
    prune: str,
) -> None:
    """Show what applying manifest files would change; changes nothing. Exits with 3 if there is something to do."""
    files = find_files(paths, more)
    request = request_of(files.files, take_ownership=take_ownership, prune=prune)
    refuse_unreadable(client, output, files, request)
    note_empty(output, files.files)
    answer = client.post(path_of("plans"), request)
    if out is not None:
        try:
            out.write_text(_plan_file(request, answer), encoding="utf-8")
        except OSError as error:
            hint = "name a file in a directory that is there"
            output.fail(ExitCode.FAILURE, f"--out: {out} cannot be written: {error.strerror}", hint=hint)
    output.value(answer, plan_lines(answer))
    if out is not None:
        output.note(f"kept in {out}; carry it out with `lineclear apply {out}`")
    if answer["has_changes"]:
        raise SystemExit(ExitCode.PLAN_HAS_CHANGES)


@click.command()
@admin_command
def drift(client: AdminClient, output: Output) -> None:
    """List what stands otherwise than files said last, with both values and the ways out."""
    answer = client.get(path_of("drift"))
    lines = [line for item in answer["drift"] for line in drift_lines(item)]
    output.value(answer, lines or ["nothing stands otherwise than files say"])


def read_plan_file(path: Path) -> dict[str, Any] | None:
    """A plan that `plan --out` kept; None if the file is no plan.

    Raises:
        click.UsageError: if it is one of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or "lineclear_plan" not in content:
        return None
    if content["lineclear_plan"] != PLAN_FILE_VERSION:
        raise click.UsageError(f"{path} was kept by another version of lineclear; make the plan anew")
    return content


def _plan_file(request: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    # The values of credential variables are not kept; `apply` takes them from its own environment again.
    kept = {name: value for name, value in request.items() if name != "variables"}
    return json.dumps({"lineclear_plan": PLAN_FILE_VERSION, "digest": answer["digest"], **kept}, indent=1) + "\n"


def show_plan_only(client: AdminClient, output: Output, request: Mapping[str, Any]) -> NoReturn:
    """What `--dry-run` does: the plan, and `plan`'s exit code."""
    answer = client.post(path_of("plans"), request)
    output.value(answer, plan_lines(answer))
    raise SystemExit(ExitCode.PLAN_HAS_CHANGES if answer["has_changes"] else ExitCode.OK)


def plan_lines(facts: Mapping[str, Any]) -> list[str]:
    """A plan for a person: one line per noun, field changes below it, then what follows from them."""
    lines = [line for item in facts["objects"] for line in _noun_lines(item)]
    for item in facts["releases"]:
        where = f"{item['environment']}/{item['route']}"
        change = f"release {item['before'] or 'none'} → {item['after'] or 'none'}"
        if item["before"] == item["after"]:
            change = f"release {item['after']} stays, as the files say now"
        elif item.get("rollout"):
            change += f", by the steps of rollout {item['rollout']}"
        lines.append(_styled(f"> {where}: {change}", "cyan"))
    lines += [_styled(f"* credential {name}: new value", "cyan") for name in facts["credentials"]]
    lines += [line for item in facts["drift"] for line in drift_lines(item)]
    lines += [_styled(f"! {warning}", "magenta") for warning in facts["warnings"]]
    lines += [line for item in facts.get("radius", ()) for line in _radius_lines(item)]
    lines += [_styled(line, "yellow") for line in _need_lines(facts)]
    return [*lines, _summary(facts), f"plan {facts['digest'][:16]} on revision {facts['base_revision']}"]


def drift_lines(item: Mapping[str, Any]) -> Iterator[str]:
    """One thing that stands otherwise than files say: both values, then both ways out."""
    by = "was rolled back" if item["managed_by"] == "rollback" else f"is managed by {item['managed_by']}"
    yield _styled(f"≠ {item['object']} {by} and stays as it is", "magenta")
    for field in item["fields"]:
        yield f"    {field['path']}: stands {_short(field['before'])}, file says {_short(field['after'])}"
    yield f"    to let the file win: {item['take_over']}"
    yield f"    to let it stay: {item['keep']}"


def _noun_lines(item: Mapping[str, Any]) -> Iterator[str]:
    mark, colour = _MARKS[item["action"]]
    yield _styled(f"{mark} {item['kind']}/{item['name']} {item['action']}", colour)
    if item["action"] == "update":
        for field in item["fields"]:
            change = f"{_short(field['before'])} → {_short(field['after'])}"
            yield f"    {field['path']}: {field['words'] or change}"
    for part in item["kept"]:
        yield f"    keeps {part}, which the file leaves out"


def _radius_lines(item: Mapping[str, Any]) -> Iterator[str]:
    """Who feels the move of one route."""
    apps = ", ".join(f"{app} {count:,}" for app, count in item["apps"].items())
    yield f"  {item['environment']}/{item['route']}: {item['requests_per_day']:,} requests a day ({apps or 'no app'})"
    if item["requests_per_day"]:
        before, after = (_usd(item[name]) for name in ("cost_usd_per_day", "new_cost_usd_per_day"))
        yield f"    cost of that traffic a day: {before} → {after}"
    for exposed in item["newly_exposed"]:
        yield f"    newly exposed: {exposed}"
    for operation in item["contract_breaks"]:
        yield _styled(f"    breaks: the route will no longer answer {operation}", "red")


def _need_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    for need in facts.get("needs", ()):
        people = "1 other person" if need["approvals"] == 1 else f"{need['approvals']} other people"
        who = f"{people} {wanted_approvers(need)}".rstrip()
        yield f"? {need['environment']} is protected: {who} must approve {', '.join(need['touches'])}"
    for window in facts.get("frozen", ()):
        yield f"? {window['environment']} is frozen until {window['until']} {window['reason']}".rstrip()


def wanted_approvers(need: Mapping[str, Any]) -> str:
    """Of all who may approve, who counts for one need of a change; empty = anybody."""
    wanted = need.get("approvers", {})  # plans that were stored before there were any do not have it
    return approver_words(wanted.get("roles", ()), wanted.get("teams", ()))


def _usd(text: str | None) -> str:
    return "unpriced" if text is None else f"${text}"


def _summary(facts: Mapping[str, Any]) -> str:
    counts = {action: sum(1 for item in facts["objects"] if item["action"] == action) for action in _MARKS}
    told = [f"{count} to {action}" for action, count in counts.items() if count and action != "unchanged"]
    if not facts["has_changes"]:
        return "nothing to change"
    more = [f"{len(facts['drift'])} left as they stand"] if facts["drift"] else []
    return ", ".join([*told, f"{counts['unchanged']} unchanged", *more])


def _styled(text: str, colour: str | None) -> str:
    # What is written to a pipe or a file loses its colours again in click.echo.
    return text if colour is None or process_environment().get("NO_COLOR") else click.style(text, fg=colour)


def _short(value: object) -> str:
    text = "none" if value is None else shown_text(value)
    return text if len(text) <= VALUE_CHARS_MAX else text[: VALUE_CHARS_MAX - 1] + "…"
