"""Versions of prompts: every text that a release ever pinned, with the releases that pin it.

In: release manifests, deployments, the prompts that stand. Out: versions by digest. Pure.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lineclear.control.release_diff import Passage
from lineclear.control.releases import pinned_prompt, release_id
from lineclear.domain.manifest import Prompt
from lineclear.domain.prompts import prompt_segments, prompt_variables
from lineclear.store.control_rows import DeploymentRow, ReleaseRow


@dataclass(frozen=True)
class PromptVersion:
    """One content of a prompt."""

    name: str
    digest: str
    """SHA-256 of its canonical content."""
    mode: str
    text: str
    variables: tuple[str, ...]
    is_current: bool
    """The prompt says this now."""
    first_us: int | None
    """When a release first pinned it; None if none does."""
    releases: tuple[str, ...]
    """Ids of the releases that pin it, newest first."""
    in_force: tuple[str, ...]
    """`environment/route` of the deployments that it serves."""


@dataclass(frozen=True)
class PromptDiff:
    """Two versions of a prompt."""

    name: str
    before: str
    after: str
    """Digests."""
    mode_before: str
    mode_after: str
    passages: tuple[Passage, ...]


def prompt_versions(
    prompts: Mapping[str, Prompt],
    releases: Iterable[ReleaseRow],
    deployments: Mapping[tuple[str, str], DeploymentRow],
) -> list[PromptVersion]:
    """Every version of every prompt, by name, newest first; what stands now leads where no release pins it yet."""
    stable: dict[str, list[str]] = {}
    for (environment, route), row in deployments.items():
        stable.setdefault(row.stable, []).append(f"{environment}/{route}")
    contents: dict[tuple[str, str], dict[str, str]] = {}
    pins: dict[tuple[str, str], list[ReleaseRow]] = {}
    for release in sorted(releases, key=lambda row: (row.created_us, row.digest)):
        prompt = json.loads(release.manifest)["prompt"]
        if prompt is not None:
            key = prompt["name"], prompt["digest"]
            contents[key] = prompt
            pins.setdefault(key, []).append(release)
    current: dict[str, str] = {}
    for noun in prompts.values():
        pinned = {name: str(value) for name, value in pinned_prompt(noun).items()}
        current[noun.name] = pinned["digest"]
        contents[noun.name, pinned["digest"]] = pinned
    found = [
        PromptVersion(
            name=name,
            digest=digest,
            mode=content["mode"],
            text=content["text"],
            variables=tuple(prompt_variables(prompt_segments(content["text"]))),
            is_current=current.get(name) == digest,
            first_us=pins[name, digest][0].created_us if (name, digest) in pins else None,
            releases=tuple(release_id(row.digest) for row in reversed(pins.get((name, digest), []))),
            in_force=tuple(
                sorted(where for row in pins.get((name, digest), []) for where in stable.get(row.digest, ()))
            ),
        )
        for (name, digest), content in contents.items()
    ]
    return sorted(found, key=lambda item: (item.name, not item.is_current, -(item.first_us or 0), item.digest))
