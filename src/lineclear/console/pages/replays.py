"""Replays: which were made, and one of them: how far it is, what it cost, in what the answers of two releases differ.

In: replays as the API tells them. Out: values to show. Nothing is compared here.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from lineclear.console.comparison_words import DIFFERENT, KINDS, OPEN, STATES
from lineclear.console.page import Action, Feed, Onward, Page, Visit, news_of
from lineclear.console.pages import replay_cases
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.permissions import Permission

PATH = "/replays"
FILTERS = ("environment", "route", "state")
LIMIT = "200"
CASES_SHOWN = 25
CASES_SHOWN_OF_KIND = 200


def load(visit: Visit) -> dict[str, Any]:
    """Replays that fit, newest first."""
    asked = {name: visit.query[name] for name in FILTERS if name in visit.query}
    found = visit.get(PATH, {**asked, "limit": LIMIT})["replays"]
    return {
        "filters": asked,
        "rows": [{**one, **progress(one)} for one in found],
        "choices": {
            "environment": [item["name"] for item in visit.get("/environments")["items"]],
            "route": [item["name"] for item in visit.get("/routes")["items"]],
            "state": list(STATES),
        },
    }


def progress(facts: Mapping[str, Any]) -> dict[str, Any]:
    """How much of it is done, and how much of its money is spent, from 0 to 1."""
    calls = facts["cases"] * len(facts["sides"])
    cap = Decimal(facts["spend_cap_usd"])
    return {
        "done": sum(side["asked"] for side in facts["sides"]) / calls if calls else 0.0,
        "spent": float(Decimal(facts["spent_usd"]) / cap) if cap else 0.0,
    }


def load_replay(visit: Visit) -> dict[str, Any]:
    """One replay whole, its cases narrowed by `kind`."""
    kind = visit.query.get("kind", "")
    if kind and kind not in KINDS:
        raise Refused(AdminCode.INVALID_REQUEST, f"kind {kind!r} is none of {', '.join(KINDS)}")
    detail = visit.get(f"{PATH}/{{replay_id}}", replay_id=visit.parts["replay_id"])
    return _now(visit, detail, kind)


def _now(visit: Visit, detail: Mapping[str, Any], kind: str = "") -> dict[str, Any]:
    """The replay as it stands at this look; its answers once it has ended."""
    facts = detail["replay"]
    is_open = facts["state"] in OPEN
    cases = None
    if not is_open:
        id_ = facts["id"]
        cases = replay_cases.read_cases(visit, id_, kind) if kind else replay_cases.read_differing(visit, detail)
    is_alone = len(facts["sides"]) == 1
    listed = [] if cases is None else cases if kind or is_alone else replay_cases.differing(cases)
    shown = listed[: CASES_SHOWN_OF_KIND if kind else CASES_SHOWN]
    fit = sum(detail["kinds"][one] for one in ([kind] if kind else DIFFERENT))
    if is_alone and not kind:
        fit = facts["sides"][0]["asked"]
    return {
        **detail,
        **progress(facts),
        "is_open": is_open,
        "kind": kind,
        "may_read": is_open or cases is not None,
        "may_stop": is_open and may_run(visit, facts),
        "cases": shown,
        "more": 0 if cases is None else fit - len(shown),
        "told": [] if kind else replay_cases.told(visit, facts["id"], listed),
    }


def may_run(visit: Visit, facts: Mapping[str, Any]) -> bool:
    """Whether the person may stop what runs on this route."""
    route = next((one for one in visit.get("/routes")["items"] if one["name"] == facts["route"]), None)
    team = "" if route is None else route["manifest"]["team"]
    return visit.may(Permission.EVALUATION_RUN, team, facts["environment"], facts["route"])


def begin_watch(visit: Visit) -> Callable[[], dict[str, Any] | None]:
    """Follow one replay."""
    replay_id = visit.query.get("replay", "")

    def look() -> dict[str, Any]:
        found: dict[str, Any] = visit.get(f"{PATH}/{{replay_id}}", replay_id=replay_id)
        return found

    return news_of(look, lambda found: _now(visit, found))


def stop(visit: Visit, form: Mapping[str, str]) -> Onward:
    """Make no further calls."""
    replay_id = visit.parts["replay_id"]
    visit.post(f"{PATH}/{{replay_id}}/stops", {"reason": reason_of(form)}, replay_id=replay_id)
    return Onward(f"{PATH}/{quote(replay_id, safe='')}", {})


def reason_of(form: Mapping[str, str]) -> str:
    """Why somebody stops it.

    Raises:
        Refused: `invalid_request` if nothing is said.
    """
    reason = form.get("reason", "").strip()
    if not reason:
        raise Refused(AdminCode.INVALID_REQUEST, "say why: the reason is kept with it and in the audit trail")
    return reason


REPLAYS = Page(PATH, "replays.html", load, query=FILTERS, rows="rows")
REPLAY = Page(f"{PATH}/{{replay_id}}", "replay.html", load_replay, query=("kind",))
STOP_REPLAY = Action(f"{PATH}/{{replay_id}}/stop", stop, f"{PATH}/{{replay_id}}")
WATCH_REPLAY = Feed(f"{PATH}/stream", "replay_now.html", "parts", begin_watch, query=("replay",))
