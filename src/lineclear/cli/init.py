"""`lineclear init`: the first files of a folder that says what the platform should be.

In: a folder, and on request the vendors' keys of this environment, by name only. Out: a commented manifest and the
schema that editors check it with. Never writes over a file, never writes a key.
"""

import json
from pathlib import Path
from string import Template

import click

from lineclear.cli.connect import local_command
from lineclear.cli.output import ExitCode, Output
from lineclear.config.manifest_schema import manifest_schema
from lineclear.config.settings import process_environment
from lineclear.providers.vendors import VENDORS, Vendor

MANIFEST = "lineclear.yaml"
SCHEMA = "lineclear.schema.json"

_HEAD = Template("""\
# yaml-language-server: $$schema=./$schema
#
# What this platform should be. Documents are parted by ---, their order does not matter. Look first, then apply:
#
#   lineclear validate -f $manifest      mistakes, without a server
#   lineclear plan -f $manifest          what would change
#   lineclear apply -f $manifest         all of it, or nothing
#
# Editors that know the line above complete and check every field.

kind: Team                    # who owns and pays
name: my-team
# budget: {usd_per_month: "50"}     # calls beyond it are refused with 402
---
kind: App                     # who calls: keys are made for it, `lineclear keys create --app my-app --env test`
name: my-app
team: my-team
purpose: what it is for, in a few words
routes: ["*"]                 # which routes it may call; * = all of its environment
# limits: {requests_per_minute: 600}
""")
_PROVIDER = Template("""\
---
kind: Provider                # $title
name: $name
dialects: [$dialect]
base_url: $base_url
credential: $${$variable}     # read where you apply; or a secret: `lineclear secrets set $name`, then secret:$name
""")
_EXAMPLE = """\
# ---
# A vendor, one of its models, and the name under which apps call it. `lineclear providers add openai --model …` writes
# the same into the platform at once.
#
# kind: Provider
# name: openai
# dialects: [openai]
# base_url: https://api.openai.com/v1
# credential: secret:openai          # `lineclear secrets set openai`; or ${OPENAI_API_KEY}
"""
_MODEL = Template("""\
# ---
# kind: Model                   # a card of the catalogue; statuses: test, approved, deprecated, retired, blocked
# name: my-model
# owner: my-team
# purpose: short answers
# versions:
#   - {version: "1", provider: $provider, upstream_id: WHAT-THE-VENDOR-CALLS-IT, status: approved}
# ---
# kind: Route                   # what apps send in the field `model`
# name: my-route
# team: my-team
# environments:
#   test: {targets: [{model: my-model@1}]}
#   live: {targets: [{model: my-model@1}], budget: {usd_per_month: "500"}}
""")


@click.command()
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--from", "source", type=click.Choice(["env"]), default=None,
    help="env: a provider for each vendor's key that is set here, such as OPENAI_API_KEY.",
)  # fmt: skip
@local_command
def init(output: Output, directory: Path, source: str | None) -> None:
    """Write a commented lineclear.yaml, and its schema for editors, into DIRECTORY. Nothing is ever written over."""
    vendors = _vendors_here() if source == "env" else []
    if source == "env" and not vendors:
        known = ", ".join(vendor.variable for vendor in VENDORS.values() if vendor.variable)
        output.fail(
            ExitCode.NOT_FOUND, "no vendor's key is set here", hint=f"set one of {known}; or leave --from out",
            kind="not_found",
        )  # fmt: skip
    manifest, schema = directory / MANIFEST, directory / SCHEMA
    standing = [str(path) for path in (manifest, schema) if path.exists()]
    if standing:
        output.fail(
            ExitCode.CONFLICT, f"{' and '.join(standing)} is there already and is not written over",
            hint=f"check it with `lineclear validate -f {manifest}`, or name another folder", kind="conflict",
        )  # fmt: skip
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _write_new(manifest, manifest_text(vendors))
        _write_new(schema, json.dumps(manifest_schema(), indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        output.fail(
            ExitCode.FAILURE, f"{directory} cannot be written: {error.strerror}", hint="name a folder of your own"
        )
    facts = {"files": [str(manifest), str(schema)], "providers": [vendor.name for vendor in vendors]}
    lines = [f"wrote {manifest} and {schema}"]
    lines += [f"provider {vendor.name} takes its key from {vendor.variable}" for vendor in vendors]
    output.value(facts, [*lines, f"next: lineclear plan -f {manifest}"])


def manifest_text(vendors: list[Vendor]) -> str:
    """The commented manifest, with a provider for each vendor."""
    head = _HEAD.substitute(schema=SCHEMA, manifest=MANIFEST)
    providers = "".join(
        _PROVIDER.substitute(
            title=vendor.title,
            name=vendor.name,
            dialect=vendor.dialect.value,
            base_url=vendor.base_url,
            variable=vendor.variable,
        )
        for vendor in vendors
    )
    return head + (providers or _EXAMPLE) + _MODEL.substitute(provider=vendors[0].name if vendors else "openai")


def _vendors_here() -> list[Vendor]:
    environment = process_environment()
    return [vendor for vendor in VENDORS.values() if vendor.variable and environment.get(vendor.variable)]


def _write_new(path: Path, text: str) -> None:
    # Exclusive: a file that came in between is not written over either.
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
