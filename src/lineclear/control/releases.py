"""Releases: what a route does in one environment, pinned by content, and the pointer that moves between them.

In: the wanted state. Out: release manifests with their digest, and deployments to write. Pure.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from lineclear.base.canonical import JSONValue, canonical_json, digest_hex
from lineclear.control.desired import Desired
from lineclear.control.guardrails import rules_of
from lineclear.domain.guardrails import GuardrailRule
from lineclear.domain.manifest import Guardrail, Parameters, Prompt, Route, RouteEnvironment, Strategy, Tools
from lineclear.domain.parameters import ParameterValue
from lineclear.domain.prompts import prompt_segments
from lineclear.domain.snapshot import PromptEntry, ReleaseEntry, TargetEntry, Timeouts
from lineclear.domain.tools import ToolsEntry
from lineclear.store.control_rows import DeploymentRow

RELEASE_SCHEMA = 1
PREVIOUS_MAX = 10
"""Releases that a rollback can choose from."""
DEFAULT_TIMEOUTS = Timeouts()


@dataclass(frozen=True)
class Release:
    """An immutable release manifest."""

    digest: str
    route: str
    manifest: str
    """Canonical JSON; the digest is its SHA-256."""

    @property
    def id(self) -> str:
        return release_id(self.digest)


def release_id(digest: str) -> str:
    """`rel_` + 16 hex of the digest. Source: design decision 52."""
    return f"rel_{digest[:16]}"


def build_releases(wanted: Desired) -> dict[tuple[str, str], Release]:
    """The release of every route by (environment, route)."""
    return {
        (environment, route.name): _build(route, deployed, wanted.prompts, wanted.guardrails)
        for route in wanted.routes.values()
        for environment, deployed in route.environments.items()
    }


def _build(
    route: Route, deployed: RouteEnvironment, prompts: Mapping[str, Prompt], guardrails: Mapping[str, Guardrail]
) -> Release:
    # The environment is no part of it: promoting carries the same digest.
    manifest: dict[str, JSONValue] = {
        "schema": RELEASE_SCHEMA,
        "route": route.name,
        "strategy": deployed.strategy.value,
        "targets": [{"model": target.model, "weight": _weight(target.weight)} for target in deployed.targets],
        "fallback": [fallback.model for fallback in deployed.fallback],
        "prompt": pinned_prompt(prompts[deployed.prompt]) if deployed.prompt is not None else None,
        "timeouts": {
            "connect_s": _seconds(deployed.timeouts.connect_s, DEFAULT_TIMEOUTS.connect_s),
            "first_event_s": _seconds(deployed.timeouts.first_event_s, DEFAULT_TIMEOUTS.first_event_s),
            "between_events_s": _seconds(deployed.timeouts.between_events_s, DEFAULT_TIMEOUTS.between_events_s),
            "total_s": _seconds(deployed.timeouts.total_s, DEFAULT_TIMEOUTS.total_s),
        },
        "max_tokens": deployed.max_tokens,
    }
    if deployed.guardrails:
        # These parts stand only where they are set: the digests of releases without them stay what they were.
        manifest["guardrails"] = [_pinned_guardrail(guardrails[name], guardrails) for name in deployed.guardrails]
    if parameters := _values(deployed.parameters):
        manifest["parameters"] = {"digest": digest_hex(parameters), "values": parameters}
    if deployed.retrieval:
        manifest["retrieval"] = {"digest": digest_hex(deployed.retrieval), "values": deployed.retrieval}
    if deployed.tools is not None:
        manifest["tools"] = _pinned_tools(deployed.tools)
    return Release(digest_hex(manifest), route.name, canonical_json(manifest).decode())


def _pinned_tools(tools: Tools) -> dict[str, JSONValue]:
    definitions: list[JSONValue] = [
        {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
        for tool in tools.definitions
    ]
    content: dict[str, JSONValue] = {"mode": tools.mode.value, "definitions": definitions}
    return {"digest": digest_hex(content), **content}


def _values(parameters: Parameters) -> dict[str, JSONValue]:
    """What a route sets; what it leaves to callers and vendors is no part of its release."""
    plain: dict[str, JSONValue] = msgspec.json.decode(msgspec.json.encode(parameters))
    return {name: value for name, value in plain.items() if value not in (None, [])}


def _weight(weight: int | None) -> int:
    return 1 if weight is None else weight


def pinned_prompt(prompt: Prompt) -> dict[str, JSONValue]:
    """A prompt as a release pins it: name, digest, mode, text."""
    content: dict[str, JSONValue] = {"mode": prompt.mode.value, "text": prompt.text}
    return {"name": prompt.name, "digest": digest_hex(content), **content}


def _pinned_guardrail(guardrail: Guardrail, guardrails: Mapping[str, Guardrail]) -> dict[str, JSONValue]:
    rules: JSONValue = msgspec.json.decode(msgspec.json.encode(rules_of([guardrail.name], guardrails)))
    content: dict[str, JSONValue] = {"rules": rules}
    return {"name": guardrail.name, "digest": digest_hex(content), **content}


def _seconds(value: float | None, default: float | None) -> str | None:
    chosen = default if value is None else value
    return None if chosen is None else repr(float(chosen))


def release_entry(digest: str, manifest: str) -> ReleaseEntry:
    """A stored release manifest as gateways read it."""
    content: dict[str, Any] = json.loads(manifest)
    prompt = content["prompt"]
    # Any: a time that was left out is None only for first_event_s, where the type allows it.
    timeouts: dict[str, Any] = {
        name: None if text is None else float(text) for name, text in content["timeouts"].items()
    }
    return ReleaseEntry(
        id=release_id(digest),
        digest=digest,
        targets=tuple(TargetEntry(item["model"], item["weight"]) for item in content["targets"]),
        fallback=tuple(content["fallback"]),
        strategy=Strategy(content["strategy"]).value,
        prompt=None
        if prompt is None
        else PromptEntry(prompt["name"], prompt["digest"], prompt["mode"], prompt_segments(prompt["text"])),
        timeouts=Timeouts(**timeouts),
        max_tokens=content["max_tokens"],
        guardrails=tuple(
            msgspec.convert(rule, GuardrailRule)
            for guardrail in content.get("guardrails", ())
            for rule in guardrail["rules"]
        ),
        parameters=_sent(content.get("parameters", {}).get("values", {})),
        retrieval=content.get("retrieval", {}).get("values", {}),
        tools=msgspec.convert(content["tools"], ToolsEntry) if "tools" in content else None,
    )


def _sent(values: dict[str, Any]) -> dict[str, ParameterValue]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def named_versions(manifest: str) -> set[str]:
    """Every `name@version` that a stored release manifest names."""
    content: dict[str, Any] = json.loads(manifest)
    return {item["model"] for item in content["targets"]} | set(content["fallback"])


def move(
    deployment: DeploymentRow | None, environment: str, release: Release, change_id: str, now_us: int
) -> DeploymentRow | None:
    """The deployment that makes `release` the stable one and the one asked for; None if it already is both."""
    if deployment is None:
        return DeploymentRow(environment, release.route, 1, release.digest, (), change_id, now_us, release.digest)
    previous = deployment.previous
    if deployment.stable != release.digest:
        previous = (deployment.stable, *(digest for digest in previous if digest != deployment.stable))
    elif deployment.asked == release.digest:
        return None
    return DeploymentRow(
        environment,
        release.route,
        deployment.generation + 1,
        release.digest,
        previous[:PREVIOUS_MAX],
        change_id,
        now_us,
        release.digest,
    )
