"""Evals: what answers are held to, every run with its verdict, and one run with what a person decides by.

In: evals, runs and the answers of their replays as the API tells them. Out: values to show. Nothing is judged here.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from lineclear.console.comparison_words import STATES, check_words
from lineclear.console.page import Action, Feed, Onward, Page, Visit, news_of
from lineclear.console.pages import replay_cases
from lineclear.console.pages.replays import may_run, progress, reason_of
from lineclear.control.endpoint import AdminCode, Refused

PATH = "/evals"
RUNS = "/eval-runs"
FILTERS = ("environment", "route", "eval", "state")
RUN_STATES = tuple(state for state in STATES if state != "waiting")
LIMIT = "200"
CASES_SHOWN = 10


def load(visit: Visit) -> dict[str, Any]:
    """Evals with their newest run, and the runs that fit, newest first."""
    asked = {name: visit.query[name] for name in FILTERS if name in visit.query}
    all_runs = visit.get(RUNS, {"limit": LIMIT})["runs"]
    items = visit.get(PATH)["items"]
    return {
        "filters": asked,
        "evals": [_eval(item["manifest"], all_runs) for item in items],
        "rows": visit.get(RUNS, {**asked, "limit": LIMIT})["runs"] if asked else all_runs,
        "choices": {
            "environment": [item["name"] for item in visit.get("/environments")["items"]],
            "route": [item["name"] for item in visit.get("/routes")["items"]],
            "eval": [item["name"] for item in items],
            "state": list(RUN_STATES),
        },
    }


def _eval(manifest: Mapping[str, Any], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """One Eval, what each of its checks asks, and its newest run."""
    names = ("name", "team", "description", "dataset", "app", "spend_usd")
    return {
        **{name: manifest[name] for name in names},
        "checks": [{"id": check["id"], "words": check_words(check)} for check in manifest["checks"]],
        "margin": manifest["verdict"]["margin"],
        "at_least": manifest["at_least"],
        "last": next((run for run in runs if run["eval"] == manifest["name"]), None),
    }


def load_run(visit: Visit) -> dict[str, Any]:
    """One run whole."""
    return _now(visit, visit.get(f"{RUNS}/{{run_id}}", run_id=visit.parts["run_id"]))


def _now(visit: Visit, detail: Mapping[str, Any]) -> dict[str, Any]:
    """The run as it stands at this look; answers once it has ended."""
    run = detail["run"]
    is_open = run["verdict"] is None
    replay = _replay(visit, run)
    cases = None
    if replay is not None and not is_open:
        cases = replay_cases.read_differing(visit, replay)
    differ = [] if cases is None else replay_cases.differing(cases, _lost(detail["checks"]))
    cap = Decimal(run["spend_cap_usd"])
    return {
        **detail,
        "is_open": is_open,
        "done": 0.0 if replay is None else progress(replay["replay"])["done"],
        "spent": float(Decimal(run["spent_usd"]) / cap) if cap else 0.0,
        "defined": _defined(visit, run["eval"]),
        "replay": replay,
        "may_read": is_open or replay is None or cases is not None,
        "may_stop": is_open and may_run(visit, run),
        "cases": differ[:CASES_SHOWN],
        "more": max(0, len(differ) - CASES_SHOWN),
        "told": replay_cases.told(visit, run["replay"], differ),
    }


def _replay(visit: Visit, run: Mapping[str, Any]) -> dict[str, Any] | None:
    """The replay that holds the answers; None before it began, and where it is kept no longer."""
    if run["replay"] is None:
        return None
    try:
        found: dict[str, Any] = visit.get("/replays/{replay_id}", replay_id=run["replay"])
    except Refused as refused:
        if refused.code is not AdminCode.NOT_FOUND:
            raise
        return None
    return found


def _lost(checks: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Checks at which the candidate lost, by the case's id."""
    lost: dict[str, list[str]] = {}
    for check in checks:
        for case in check["worst_cases"]:
            lost.setdefault(case, []).append(check["id"])
    return lost


def _defined(visit: Visit, name: str | None) -> dict[str, str]:
    """What each check of the Eval asks as it is defined now; nothing for who does not see it or where it is gone."""
    item = next((one for one in visit.get(PATH)["items"] if one["name"] == name), None) if name else None
    return {} if item is None else {check["id"]: check_words(check) for check in item["manifest"]["checks"]}


def begin_watch(visit: Visit) -> Callable[[], dict[str, Any] | None]:
    """Follow one run."""
    run_id = visit.query.get("run", "")

    def look() -> dict[str, Any]:
        found: dict[str, Any] = visit.get(f"{RUNS}/{{run_id}}", run_id=run_id)
        return found

    return news_of(look, lambda found: _now(visit, found))


def stop(visit: Visit, form: Mapping[str, str]) -> Onward:
    """End a run without a verdict."""
    run_id = visit.parts["run_id"]
    visit.post(f"{RUNS}/{{run_id}}/stops", {"reason": reason_of(form)}, run_id=run_id)
    return Onward(f"{PATH}/{quote(run_id, safe='')}", {})


def runs_of(visit: Visit, route: str, *, rollout: str = "", release: str = "") -> list[dict[str, Any]]:
    """Runs of a route that a rollout waited for, or that judged a release; newest first."""
    found: list[dict[str, Any]] = visit.get(RUNS, {"route": route, "limit": LIMIT})["runs"]
    wanted = {"rollout": rollout} if rollout else {"candidate": release}
    return [run for run in found if wanted.items() <= run.items()]


EVALS = Page(PATH, "evals.html", load, query=FILTERS, rows="rows")
EVAL_RUN = Page(f"{PATH}/{{run_id}}", "eval_run.html", load_run)
STOP_EVAL_RUN = Action(f"{PATH}/{{run_id}}/stop", stop, f"{PATH}/{{run_id}}")
WATCH_EVAL_RUN = Feed(f"{PATH}/stream", "eval_run_now.html", "parts", begin_watch, query=("run",))
