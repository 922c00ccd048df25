"""`lineclear models serve FILE --name NAME`: a model file becomes a card, a version, a runtime and a route.

In: a file on the server's machine. Out: the change that was applied, the runtime's state, and the first call to make.
It goes the way of every change: two manifests through `apply`, with everything that stands kept.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lineclear.cli.connect import admin_command
from lineclear.cli.first_call import first_call
from lineclear.cli.model_file import version_of_file
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.plan import show_plan_only
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
) -> None:
    """Serve the model in FILE under the route NAME: hash, card, route, and the first call to make.

    The engine follows from the file (.gguf or .onnx). The file stays where it is and must stay there. Serving another
    file under the same name adds a version to the card and moves the route to it.
    """
    path = file.absolute()
    try:
        version = version_of_file(output, path, assignments, status, replicas)
    except ArtifactRefused as refusal:
        output.fail(
            ExitCode.FAILURE, str(refusal), hint="docs/serving.md lists what is served", kind="artifact_refused"
        )
    _demand_status(client, output, environment, status)
    model_id = f"{name}@{version['version']}"
    card = _card(_standing(client, Kind.MODEL, name), version, name, owner, purpose)
    route = _route(_standing(client, Kind.ROUTE, name), environment, model_id, name, owner)
    sent = _change(path, card, route)
    if dry_run:
        show_plan_only(client, output, sent)
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


def _demand_status(client: AdminClient, output: Output, environment: str, status: str) -> None:
    found = {item["name"]: item["manifest"] for item in client.get(path_of("environments"))["items"]}
    if environment not in found:
        output.fail(
            ExitCode.NOT_FOUND, f"there is no environment {environment!r}", hint=f"there are: {', '.join(found)}"
        )
    if found[environment].get("class") == "live" and status != ModelStatus.APPROVED.value:
        raise click.UsageError(
            f"{environment!r} is of class live and serves approved versions only; add --status approved"
        )


def _standing(client: AdminClient, kind: Kind, name: str) -> dict[str, Any] | None:
    """A noun as it stands, in the form of a file; None if there is none."""
    found = client.get(path_of("manifests"), {"kind": kind.value})["manifests"]
    return next((dict(item["manifest"]) for item in found if item["name"] == name), None)


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
