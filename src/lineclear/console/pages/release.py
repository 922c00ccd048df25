"""One release: what it pins, in what it differs from another one, where it was in force, who brought it there.

In: releases, their differences and the history of deployments as the API tells them. Out: values to show.
"""

from itertools import pairwise
from typing import Any

from lineclear.console.change_words import deployment_words
from lineclear.console.page import Page, Visit
from lineclear.console.pages.evals import runs_of
from lineclear.control.endpoint import AdminCode, Refused

PATH = "/releases/{release}"
GONE = (AdminCode.NOT_FOUND, AdminCode.FORBIDDEN)


def load(visit: Visit) -> dict[str, Any]:
    """The release, compared with `against`, else with the one that it took over from."""
    release = visit.get(PATH, release=visit.parts["release"])
    siblings = [one for one in visit.get("/releases")["releases"] if one["route"] == release["route"]]
    stretches = _stretches(visit, release["route"], [one["environments"] for one in siblings])
    others = [one["id"] for one in siblings if one["id"] != release["id"]]
    before = visit.query.get("against", "") or _before(release["id"], stretches, others)
    components: list[dict[str, Any]] = []
    if before:
        asked = {"before": before, "after": release["id"]}
        components = visit.get("/release-diffs", asked)["components"]
    words = deployment_words({"before": before, "after": release["id"], "components": components}) if before else ""
    change = _change(visit, release["change"])
    return {
        "release": release,
        "against": before,
        "others": others,
        "components": components,
        "words": words,
        "stretches": [one for one in stretches if one["release"] == release["id"]],
        "change": change,
        "gates": runs_of(visit, release["route"], release=release["id"]),
        "radius": [one for one in change["change"]["plan"].get("radius", ()) if one["route"] == release["route"]]
        if change is not None
        else [],
    }


def _stretches(visit: Visit, route: str, known: list[list[str]]) -> list[dict[str, Any]]:
    """The history of its route in every environment that may be seen, newest first."""
    item = next((one for one in visit.get("/routes")["items"] if one["name"] == route), None)
    places = set(item["manifest"]["environments"]) if item is not None else set()
    places |= {name for names in known for name in names}
    found: list[dict[str, Any]] = []
    for environment in sorted(places):
        try:
            history = visit.get("/deployment-history", {"route": route, "environment": environment})
        except Refused as refused:
            if refused.code not in GONE:
                raise
            continue
        found += [{**one, "environment": environment} for one in history["stretches"]]
    return found


def _before(release: str, stretches: list[dict[str, Any]], others: list[str]) -> str:
    """What it took over from when it was first put in force; where it never was, what is in force now."""
    for newer, older in reversed(list(pairwise(stretches))):
        is_same_place = newer["environment"] == older["environment"]
        if newer["release"] == release and is_same_place and older["release"] not in (None, release):
            return str(older["release"])
    if any(one["release"] == release for one in stretches):
        return ""
    now = next((one["release"] for one in stretches if one["until_at"] is None and one["release"]), None)
    return now if now in others else ""


def _change(visit: Visit, change_id: str) -> dict[str, Any] | None:
    """The change that it came with; None for who may not read it."""
    if not change_id:
        return None
    try:
        found: dict[str, Any] = visit.get("/changes/{change_id}", change_id=change_id)
    except Refused as refused:
        if refused.code not in GONE:
            raise
        return None
    return found


RELEASE = Page(PATH, "release.html", load, query=("against",))
