"""Carrying a release from one environment to another: what the route says there is written as what it says here.

In: the nouns and deployments that stand. Out: the manifest that makes the other environment's release the same, digest
included, or why that cannot be. It is applied like any other change; nothing is written here. Pure.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass

from lineclear.config.manifest_text import manifest_text
from lineclear.control.desired import Desired
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.release_diff import ComponentDiff, diff_releases
from lineclear.control.releases import Release, build_releases, release_id
from lineclear.domain.manifest import RouteEnvironment
from lineclear.store.control_rows import DeploymentRow

NOT_CARRIED = ("limits", "budget", "capture", "rollout")
"""What belongs to an environment and is no part of a release."""
DIFFERENCES_SHOWN = 5


@dataclass(frozen=True)
class Promotion:
    """What has to be applied."""

    release: str
    """Release id that the environment will have."""
    digest: str
    team: str
    document: str
    """The route as a manifest, with the one environment that changes."""


def promotion(
    desired: Desired, deployments: Mapping[tuple[str, str], DeploymentRow], manifests: Mapping[str, str],
    route: str, source: str, target: str,
) -> Promotion:  # fmt: skip
    """Work out what carries the stable release of `source` to `target`.

    Args:
        desired: the nouns that stand.
        deployments: by (environment, route).
        manifests: release manifests by digest.
        route: whose release.
        source: the environment that has it.
        target: the environment that shall have it.

    Raises:
        Refused: `not_found` for a route or environment that is not there, `invalid_request` for the same environment
            twice, `conflict` if the nouns no longer build the release that serves in `source`.
    """
    found = desired.routes.get(route)
    if found is None:
        raise Refused(AdminCode.NOT_FOUND, f"there is no route {route!r}", hint="`lineclear routes list` shows them")
    if target not in desired.environments:
        raise Refused(
            AdminCode.NOT_FOUND,
            f"there is no environment {target!r}",
            hint=f"there are {', '.join(desired.environments)}",
        )
    here, row = found.environments.get(source), deployments.get((source, route))
    if here is None or row is None:
        raise Refused(
            AdminCode.NOT_FOUND,
            f"route {route!r} is not deployed in {source!r}",
            hint=f"it is in {', '.join(found.environments)}",
        )
    if source == target:
        raise Refused(AdminCode.INVALID_REQUEST, f"{source!r} is carried to itself", hint="name another as `to`")
    built = build_releases(desired)[source, route]
    if built.digest != row.stable:
        raise _moved_on(built, row, manifests, route, source)
    written = _carried(here, found.environments.get(target))
    carried = dataclasses.replace(found, environments={target: written})
    return Promotion(built.id, built.digest, found.team, manifest_text([carried]))


def _carried(here: RouteEnvironment, there: RouteEnvironment | None) -> RouteEnvironment:
    """`here`, with what belongs to the other environment as it stands there."""
    kept = there or RouteEnvironment(targets=here.targets)
    return dataclasses.replace(here, **{name: getattr(kept, name) for name in NOT_CARRIED})


def _moved_on(built: Release, row: DeploymentRow, manifests: Mapping[str, str], route: str, source: str) -> Refused:
    """What serves is not what the nouns say, as after a rollback: carrying either would surprise somebody."""
    serves = release_id(row.stable)
    differs = diff_releases(json.loads(manifests[row.stable]), json.loads(built.manifest))
    return Refused(
        AdminCode.CONFLICT,
        f"{serves} serves route {route!r} in {source}, but its manifest builds {built.id}: {_in_words(differs)}",
        hint=f"`lineclear releases diff {serves} {built.id}`; bring the manifest in line with what serves, "
        f"or apply it to {source} again",
    )


def _in_words(differs: list[ComponentDiff]) -> str:
    shown = [
        f"{item.component} {field.field} {field.before!r} → {field.after!r}"
        for item in differs
        for field in item.fields
    ]
    more = len(shown) - DIFFERENCES_SHOWN
    return "; ".join([*shown[:DIFFERENCES_SHOWN], *([f"{more} more"] if more > 0 else [])])
