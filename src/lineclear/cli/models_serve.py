"""`lineclear models serve FILE --name NAME`: a model file becomes a card, a version, a runtime and a route.

In: a file on the server's machine. Out: the change that was applied, the runtime's state, and the first call to make.
It goes the way of every change: two manifests through `apply`, with everything that stands kept.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lineclear.cli.asking import confirm
from lineclear.cli.connect import admin_command
from lineclear.cli.first_call import first_call
from lineclear.cli.model_file import version_of_file
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.plan import plan_lines, show_plan_only
from lineclear.cli.runtime_states import wait_until_ready
from lineclear.client.admin import AdminClient, path_of
from lineclear.domain.capability import engine_operations
from lineclear.domain.catalogue import Engine, ModelStatus
from lineclear.domain.exchange import OPERATION_PATH
from lineclear.domain.manifest import Kind, ManagedBy
from lineclear.domain.runtimes import REPLICAS_MAX
from lineclear.serving.artifact import ArtifactRefused

WAIT_S_MAX = 600


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="Name of the model and of its route: what callers send as `model`.")
@click.option("--env", "environment", default="test", show_default=True, help="Environment of the route.")
@click.option(
    "--status",
    type=click.Choice([ModelStatus.TEST.value, ModelStatus.APPROVED.value]),
    default=ModelStatus.TEST.value,
    show_default=True,
    help="Status of the version; environments of class live serve approved ones only.",
)
@click.option("--owner", default="default", show_default=True, help="Team that owns card and route.")
@click.option("--purpose", default="", help="What the model is for; stands on its card.")
@click.option("--replicas", type=click.IntRange(1, REPLICAS_MAX), default=1, show_default=True)
@click.option("--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Setting of the engine; repeatable.")
@click.option("--wait", "wait_s", type=click.IntRange(0, WAIT_S_MAX), default=120, show_default=True,
              help="Seconds to wait until it is ready; 0 = do not wait.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing. Exits with 3, as `plan` does.")
@click.option("--yes", is_flag=True, help="Do not ask before something that stands is changed.")
@admin_command
def serve(
    client: AdminClient,
    output: Output,
    file: Path,
    name: str,
    environment: str,
    status: str,
    owner: str,
    purpose: str,
    replicas: int,
    assignments: tuple[str, ...],
    wait_s: int,
    dry_run: bool,
    yes: bool,
) -> None:
    """Serve the model in FILE under the route NAME: hash, card, route, and the first call to make.

    The engine follows from the file (.gguf or .onnx). The file stays where it is and must stay there. Serving another
    file under the same name adds a version to the card and moves the route to it; what that takes from callers, and
    cards and routes that are kept elsewhere, are shown and asked about first.
    """
    path = file.absolute()
    try:
        version = version_of_file(output, path, assignments, status, replicas)
    except ArtifactRefused as refusal:
        output.fail(
            ExitCode.FAILURE, str(refusal), hint="docs/serving.md lists what is served", kind="artifact_refused"
        )
    is_live = _demand_status(client, output, environment, status)
    model_id = f"{name}@{version['version']}"
    standing = {kind: _standing(client, kind, name) for kind in (Kind.MODEL, Kind.ROUTE)}
    card = _card(_written(standing[Kind.MODEL]), version, name, owner, purpose)
    route = _route(_written(standing[Kind.ROUTE]), environment, model_id, name, owner)
    sent = _change(path, card, route)
    if dry_run:
        show_plan_only(client, output, sent)
    goes = _what_goes(standing, environment, model_id, is_live=is_live)
    if goes:
        plan = client.post(path_of("plans"), sent)
        if plan["has_changes"]:
            for line in [*plan_lines(plan), *goes]:
                click.echo(line, err=True)
            confirm(f"Serve {model_id} under the route {name} in {environment}?", is_confirmed=yes)
        sent = {**sent, "plan": plan["digest"]}
    applied = client.post(path_of("changes"), sent)
    output.note(f"{model_id} is in the catalogue, route {name} in {environment} (revision {applied['revision']})")
    state, reason = wait_until_ready(client, output, model_id, replicas, wait_s)
    if state == "failed":
        output.fail(ExitCode.FAILURE, f"{model_id} cannot be served: {reason}", hint="`lineclear status` shows more")
    gateway_url = client.get(path_of("status"))["gateway_url"]
    operation = engine_operations(Engine(version["engine"]), version.get("settings", {}))[0]
    facts = {
        "model": model_id,
        **{fact: version[fact] for fact in ("engine", "artifact", "sha256")},
        "route": name,
        "environment": environment,
        "change": applied["change"],
        "revision": applied["revision"],
        "state": state,
        "reason": reason,
        "url": gateway_url + OPERATION_PATH[operation],
    }
    key = f"lineclear keys create --app default --env {environment}"
    lines = [
        f"{model_id} is {state}: {reason}" if reason else f"{model_id} is {state}",
        f"the first call, with a key of `{key}` in LINECLEAR_KEY:",
        "",
        *first_call(gateway_url, operation, name),
    ]
    output.value(facts, lines)


def _change(path: Path, card: Mapping[str, Any], route: Mapping[str, Any]) -> dict[str, Any]:
    nouns = {"Model": card, "Route": route}
    return {
        "files": [
            {"name": f"{path.name} as {kind}", "text": json.dumps(noun), "directory": str(path.parent)}
            for kind, noun in nouns.items()
        ],
        "managed_by": ManagedBy.CLI.value,
        "note": f"models serve {path.name}",
    }


def _demand_status(client: AdminClient, output: Output, environment: str, status: str) -> bool:
    """Whether the environment is of class live, where a version has to be approved."""
    found = {item["name"]: item["manifest"] for item in client.get(path_of("environments"))["items"]}
    if environment not in found:
        output.fail(
            ExitCode.NOT_FOUND, f"there is no environment {environment!r}", hint=f"there are: {', '.join(found)}"
        )
    is_live = bool(found[environment].get("class") == "live")
    if is_live and status != ModelStatus.APPROVED.value:
        raise click.UsageError(
            f"{environment!r} is of class live and serves approved versions only; add --status approved"
        )
    return is_live


def _standing(client: AdminClient, kind: Kind, name: str) -> dict[str, Any] | None:
    """A noun as it stands, with who keeps it; None if there is none."""
    found = client.get(path_of("manifests"), {"kind": kind.value})["manifests"]
    return next((dict(item) for item in found if item["name"] == name), None)


def _written(standing: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """In the form of a file."""
    return None if standing is None else dict(standing["manifest"])


def _what_goes(
    standing: Mapping[Kind, Mapping[str, Any] | None], environment: str, model_id: str, *, is_live: bool
) -> list[str]:
    """In words, what this takes from others; empty if card and route are new, or only ours to try things with."""
    told = [
        f"{kind.value}/{noun['name']} is kept by {noun['managed_by']}, and would be kept by the command line"
        for kind, noun in standing.items()
        if noun is not None and noun["managed_by"] != ManagedBy.CLI.value
    ]
    route = _written(standing[Kind.ROUTE])
    if route is None:
        return told
    targets = [target["model"] for target in route["environments"].get(environment, {}).get("targets", ())]
    going = [target for target in targets if target != model_id]
    is_ours = all(target.partition("@")[0] == model_id.partition("@")[0] for target in going)
    if going and (is_live or not is_ours):
        told.append(f"no longer called in {environment}: {', '.join(going)}")
    return told


def _card(
    standing: Mapping[str, Any] | None, version: Mapping[str, Any], name: str, owner: str, purpose: str
) -> dict[str, Any]:
    if standing is None:
        return {"kind": "Model", "name": name, "owner": owner, "purpose": purpose, "versions": [version]}
    others = [item for item in standing["versions"] if item["version"] != version["version"]]
    return {**standing, **({"purpose": purpose} if purpose else {}), "versions": [*others, version]}


def _route(
    standing: Mapping[str, Any] | None, environment: str, model_id: str, name: str, owner: str
) -> dict[str, Any]:
    targets = {"targets": [{"model": model_id}]}
    if standing is None:
        return {"kind": "Route", "name": name, "team": owner, "environments": {environment: targets}}
    environments = standing["environments"]
    return {**standing, "environments": {**environments, environment: {**environments.get(environment, {}), **targets}}}
