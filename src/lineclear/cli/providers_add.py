"""`lineclear providers add NAME`: a vendor with its key, and on request a model with a route to try it by.

In: a well-known name or an address, and a key from a hidden prompt, a file or a pipe. Out: one change, shown as a plan
first, that holds secret, provider, card and route: all of it or nothing.
"""

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from lineclear.cli.asking import confirm, read_secret
from lineclear.cli.connect import admin_command
from lineclear.cli.first_call import first_call
from lineclear.cli.output import ExitCode, Output
from lineclear.cli.plan import plan_lines, show_plan_only
from lineclear.client.admin import AdminClient, path_of
from lineclear.config.manifest_rules import NAME, VERSION
from lineclear.domain.exchange import OPERATION_PATH, Dialect, Operation
from lineclear.domain.manifest import ManagedBy
from lineclear.providers.vendors import VENDORS, Vendor

ENVIRONMENT = "test"
"""A model that nobody approved yet is served in test only."""
TEAM = "default"
LATEST = "latest"
"""Version of a model whose name at the vendor has no date: what it is may change there."""
_DATED = re.compile(r"(.+)-(\d{4}-\d{2}-\d{2}|\d{8})")
_ASKING = {Dialect.OPENAI: Operation.CHAT, Dialect.ANTHROPIC: Operation.MESSAGES}


@dataclass(frozen=True)
class Wanted:
    """What the options ask for."""

    name: str
    vendor: Vendor
    """Its address and dialect, from the table or from options."""
    secret: str | None
    """Name of the secret that holds the key; None = called without one."""
    is_secret_known: bool
    """It exists already, and no key is asked for."""
    model: str | None
    """What the vendor calls the model."""
    route: str | None


@click.command()
@click.argument("name")
@click.option("--vendor", default=None, help="Well-known vendor, if NAME is another name for it.")
@click.option(
    "--dialect", type=click.Choice([item.value for item in Dialect]), default=None, help="How it is spoken to."
)
@click.option("--base-url", default=None, help="Where it is, for one that is not well known.")
@click.option("--private-network", is_flag=True, help="Permit loopback and private addresses.")
@click.option("--model", default=None, help="What the vendor calls a model: adds its card and a route in test.")
@click.option("--route", default=None, help="Name of that route. Default: the model's name.")
@click.option("--secret", default=None, help="Secret that holds the key already. Default: one named NAME is made.")
@click.option(
    "--from-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=None, help="File with the key."
)
@click.option("--no-key", is_flag=True, help="It is called without a credential.")
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing. Exits with 3, as `plan` does.")
@click.option("--yes", "is_confirmed", is_flag=True, help="Do not ask before applying the plan.")
@admin_command
def add(
    client: AdminClient,
    output: Output,
    name: str,
    vendor: str | None,
    dialect: str | None,
    base_url: str | None,
    private_network: bool,
    model: str | None,
    route: str | None,
    secret: str | None,
    from_file: Path | None,
    no_key: bool,
    dry_run: bool,
    is_confirmed: bool,
) -> None:
    """Add a provider with its key, and with --model a model to call in test.

    Well known are openai, anthropic, mistral, groq, deepseek, openrouter, together, fireworks, xai, cerebras and
    ollama; any other needs --dialect and --base-url. The key is typed hidden, piped in, or read from a file, and kept
    as a secret. The plan is shown first.
    """
    found = _vendor(name, vendor, dialect, base_url, private_network=private_network)
    if no_key and (secret or from_file):
        raise click.UsageError("--no-key goes with neither --secret nor --from-file")
    needs_key = not no_key and (found.variable is not None or bool(secret) or from_file is not None)
    wanted = Wanted(name, found, (secret or name) if needs_key else None, secret is not None, model, route)
    _refuse_taken(client, output, wanted)
    documents = [_provider(wanted)]
    card = None
    if model is not None:
        card, path = _card_and_route(client, wanted, model)
        documents += [card, path]
    request: dict[str, Any] = {
        "files": [{"name": f"{noun['kind']}/{noun['name']}", "text": json.dumps(noun)} for noun in documents],
        "managed_by": ManagedBy.CLI.value,
        "note": f"providers add {name}",
    }
    if wanted.secret is not None and not wanted.is_secret_known:
        # A plan keeps no value, so to look at one nobody needs to have the key at hand.
        key = "not-asked-for" if dry_run else read_secret(f"Key of {found.title} (not shown)", from_file)
        request["secrets"] = {wanted.secret: key}
    if dry_run:
        show_plan_only(client, output, request)
    plan = client.post(path_of("plans"), request)
    for line in plan_lines(plan):
        output.note(line)
    confirm(f"Apply this to {client.url}?", is_confirmed=is_confirmed)
    applied = client.post(path_of("changes"), {**request, "plan": plan["digest"]})
    output.silent(applied["gateways"])
    _tell(client, output, wanted, documents, applied)


def _tell(
    client: AdminClient,
    output: Output,
    wanted: Wanted,
    documents: list[dict[str, Any]],
    applied: Mapping[str, Any],
) -> None:
    facts: dict[str, Any] = {
        "provider": wanted.name,
        "base_url": wanted.vendor.base_url,
        "secret": wanted.secret,
        "model": None,
        "route": None,
        "environment": None,
        "url": None,
        "change": applied["change"],
        "revision": applied["revision"],
    }
    lines = [f"provider {wanted.name} is in force (revision {applied['revision']})",
             f"does it answer?    lineclear providers test {wanted.name}"]  # fmt: skip
    if wanted.model is not None:
        path = documents[-1]
        operation = _ASKING[wanted.vendor.dialect]
        gateway_url = client.get(path_of("status"))["gateway_url"]
        facts |= {
            "model": path["environments"][ENVIRONMENT]["targets"][0]["model"],
            "route": path["name"],
            "environment": ENVIRONMENT,
            "url": gateway_url + OPERATION_PATH[operation],
        }
        lines += [
            f"what does it cost? lineclear usage --by route,model --route {path['name']}",
            f"the first call, with LINECLEAR_KEY from `lineclear keys create --app default --env {ENVIRONMENT}`:",
            "",
            *first_call(gateway_url, operation, path["name"]),
        ]
    else:
        lines.append("a model to call:   `lineclear providers add` takes --model, or write a Model and a Route")
    output.value(facts, lines)


def _vendor(
    name: str, vendor: str | None, dialect: str | None, base_url: str | None, *, private_network: bool
) -> Vendor:
    """The vendor that the options describe.

    Raises:
        click.UsageError: for a name that is not well known and an address that is not complete.
    """
    asked = vendor or name
    known = VENDORS.get(asked)
    if known is None and (vendor or not (dialect and base_url)):
        near = difflib.get_close_matches(asked, VENDORS, n=1)
        also = f" Did you mean {near[0]!r}?" if near else f" Well known: {', '.join(VENDORS)}."
        raise click.UsageError(f"{asked!r} is not well known; it needs --dialect and --base-url.{also}")
    if known is None:
        known = Vendor(name, name, Dialect(str(dialect)), str(base_url), "", "")
    return Vendor(
        known.name,
        known.title,
        Dialect(dialect) if dialect else known.dialect,
        base_url or known.base_url,
        known.variable,
        known.source,
        private_network or (known.private_network and base_url is None),
    )


def _refuse_taken(client: AdminClient, output: Output, wanted: Wanted) -> None:
    names = [item["name"] for item in client.get(path_of("providers"))["items"]]
    if wanted.name in names:
        hint = f"`lineclear providers show {wanted.name}` shows it"
        if wanted.secret is not None:
            hint += f"; `lineclear secrets set {wanted.name}` gives it a new key"
        output.fail(ExitCode.CONFLICT, f"there is a provider {wanted.name!r} already", hint=hint, kind="conflict")
    secrets = [item["name"] for item in client.get(path_of("secrets"))["secrets"]]
    if wanted.secret in secrets and not wanted.is_secret_known:
        output.fail(
            ExitCode.CONFLICT,
            f"there is a secret {wanted.secret!r} already",
            hint=f"use it with --secret {wanted.secret}, or give the provider another name",
            kind="conflict",
        )


def _provider(wanted: Wanted) -> dict[str, Any]:
    vendor = wanted.vendor
    return {
        "kind": "Provider",
        "name": wanted.name,
        "dialects": [vendor.dialect.value],
        "base_url": vendor.base_url,
        **({"credential": f"secret:{wanted.secret}"} if wanted.secret else {}),
        **({"private_network": True} if vendor.private_network else {}),
    }


def _card_and_route(client: AdminClient, wanted: Wanted, upstream_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A card with one version, and a route of its name in test. Cards and routes that stand are not written over.

    Raises:
        click.UsageError: if the names are taken, or cannot be made of the vendor's.
    """
    name, version = model_names(upstream_id)
    route = wanted.route or name
    for what, taken in (("models", name), ("routes", route)):
        if taken in [item["name"] for item in client.get(path_of(what))["items"]]:
            fix = (
                "--route takes another name" if what == "routes" else "add a version to its card with `lineclear apply`"
            )
            raise click.UsageError(f"there is a {what[:-1]} {taken!r} already; {fix}")
    card = {
        "kind": "Model",
        "name": name,
        "owner": TEAM,
        "versions": [{"version": version, "provider": wanted.name, "upstream_id": upstream_id, "status": "test"}],
    }
    targets = [{"model": f"{name}@{version}"}]
    return card, {"kind": "Route", "name": route, "team": TEAM, "environments": {ENVIRONMENT: {"targets": targets}}}


def model_names(upstream_id: str) -> tuple[str, str]:
    """A card's name and a version for what a vendor calls a model: its date is the version, where it has one.

    Raises:
        click.UsageError: if no name can be made of it.
    """
    last = upstream_id.rpartition("/")[2]
    dated = _DATED.fullmatch(last)
    stem, version = dated.groups() if dated else (last, LATEST)
    name = re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")
    if not NAME.fullmatch(name) or not VERSION.fullmatch(version):
        raise click.UsageError(
            f"--model {upstream_id!r}: no name for its card can be made of it; write a Model instead"
        )
    return name, version
