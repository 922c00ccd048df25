"""Short manifests for tests: a vendor, its models, routes over them.

In: names and ports. Out: documents as plain trees, and their text. Every test says only what it is about.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

Document = dict[str, Any]

INPUT_PER_MTOK_USD = "1.00"
OUTPUT_PER_MTOK_USD = "2.00"
TEAM = "testers"
SUPPORT = """
kind: Team
name: support
"""
"""A team, as text to write further documents behind."""
ACME = """
kind: Provider
name: acme
dialects: [openai]
base_url: https://api.acme.example/v1
credential: ${ACME_KEY}
"""
"""A vendor that is never called, with its credential in ACME_KEY."""
TWO_VERSIONS = (
    SUPPORT
    + "---"
    + ACME
    + """---
kind: Model
name: small
owner: support
versions:
  - {version: "1", provider: acme, upstream_id: a, status: approved, price: {input_per_mtok: "0.15"}}
  - {version: "2", provider: acme, upstream_id: b, status: approved, price: {input_per_mtok: "0.15"}}
"""
)
"""Both, and a model with two approved versions."""


class _PlainDumper(yaml.SafeDumper):
    """Writes a value that stands in two places twice, as a person would, instead of an anchor."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # the base class's signature
        return True


def text_of(documents: Sequence[Document]) -> str:
    """A file of these documents."""
    return str(yaml.dump_all(documents, Dumper=_PlainDumper, sort_keys=False))


def team(name: str = TEAM, **more: Any) -> Document:
    return {"kind": "Team", "name": name, **more}


def app(name: str, team_name: str = TEAM, **more: Any) -> Document:
    """An app that may call every route of its environment."""
    return {"kind": "App", "name": name, "team": team_name, "routes": ["*"], **more}


def provider(name: str, port: int, *dialects: str, path: str = "/v1", credential: str = "") -> Document:
    """A vendor on a loopback port; it speaks `openai` if nothing is said."""
    document = {
        "kind": "Provider",
        "name": name,
        "dialects": list(dialects) or ["openai"],
        "base_url": f"http://127.0.0.1:{port}{path}",
        "private_network": True,
    }
    return {**document, "credential": credential} if credential else document


def model(
    name: str,
    provider_name: str,
    *,
    price: Mapping[str, str] | None = None,
    team_name: str = TEAM,
    **version: Any,
) -> Document:
    """A model with the one version `1`; the vendor calls it by its own name."""
    rates = price or {"input_per_mtok": INPUT_PER_MTOK_USD, "output_per_mtok": OUTPUT_PER_MTOK_USD}
    facts = {"version": "1", "provider": provider_name, "upstream_id": name, "status": "approved"}
    return {
        "kind": "Model",
        "name": name,
        "owner": team_name,
        "purpose": "answers in tests",
        "versions": [{**facts, "price": dict(rates), **version}],
    }


def route(
    name: str,
    *models: str,
    fallback: Sequence[str] = (),
    environments: Sequence[str] = ("live",),
    team_name: str = TEAM,
    **more: Any,
) -> Document:
    """A route over version `1` of models, equal shares, the same in each environment."""
    deployed: Document = {"targets": [{"model": f"{target}@1", "weight": 1} for target in models], **more}
    if fallback:
        deployed["fallback"] = [{"model": f"{target}@1"} for target in fallback]
    return {
        "kind": "Route",
        "name": name,
        "team": team_name,
        "environments": dict.fromkeys(environments, deployed),
    }
