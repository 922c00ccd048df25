"""Cases of a replay: which of them were answered differently, and one of them with both answers, word by word.

In: cases as the API tells them. Out: values to show; None for who may see figures and not answers.
"""

from collections.abc import Mapping
from typing import Any

from lineclear.console.comparison_words import DIFFERENT
from lineclear.console.page import Page, Visit
from lineclear.control.endpoint import AdminCode, Refused

PATH = "/replays/{replay_id}/cases"
CASES_MAX = 1_000
DIFFS_SHOWN = 3
"""Cases whose answers a page shows side by side; the others are a click away."""
GONE = (AdminCode.NOT_FOUND, AdminCode.FORBIDDEN)


def read_cases(visit: Visit, replay_id: str, kind: str = "") -> list[dict[str, Any]] | None:
    """Cases, each in a line; None for who may not read answers, or where the replay is kept no longer."""
    try:
        found = visit.get(PATH, {"kind": kind, "limit": str(CASES_MAX)}, replay_id=replay_id)
    except Refused as refused:
        if refused.code not in GONE:
            raise
        return None
    cases: list[dict[str, Any]] = found["cases"]
    return cases


def read_differing(visit: Visit, detail: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Every case of a replay; of a large one only those whose answers differ. None as in `read_cases`."""
    replay_id, counts = detail["replay"]["id"], detail["kinds"]
    if detail["replay"]["cases"] <= CASES_MAX or len(detail["replay"]["sides"]) == 1:
        return read_cases(visit, replay_id)
    found: list[dict[str, Any]] = []
    for kind in [kind for kind in DIFFERENT if counts[kind]] or DIFFERENT[:1]:
        cases = read_cases(visit, replay_id, kind)
        if cases is None:
            return None
        found += cases
    return found


def differing(cases: list[dict[str, Any]], lost: Mapping[str, list[str]] | None = None) -> list[dict[str, Any]]:
    """Those whose answers differ or that `lost` names with the checks they lost at; most lost first."""
    found = [{**case, "lost": (lost or {}).get(case["id"] or "", [])} for case in cases]
    kept = [case for case in found if case["lost"] or case["kind"] in DIFFERENT]
    order = {kind: place for place, kind in enumerate(DIFFERENT)}
    return sorted(kept, key=lambda case: (-len(case["lost"]), order.get(case["kind"], len(order))))


def told(visit: Visit, replay_id: str, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first few with both answers."""
    return [_detail(visit, replay_id, str(case["number"])) for case in cases[:DIFFS_SHOWN]]


def load(visit: Visit) -> dict[str, Any]:
    """One case whole, and its neighbours."""
    replay_id, number = visit.parts["replay_id"], visit.parts["number"]
    replay = visit.get("/replays/{replay_id}", replay_id=replay_id)["replay"]
    detail = _detail(visit, replay_id, number)
    at, asked = detail["facts"]["number"], max((side["asked"] for side in replay["sides"]), default=0)
    return {
        "replay": replay,
        **detail,
        "before": at - 1 if at > 1 else None,
        "after": at + 1 if at < asked else None,
    }


def _detail(visit: Visit, replay_id: str, number: str) -> dict[str, Any]:
    found: dict[str, Any] = visit.get(f"{PATH}/{{number}}", replay_id=replay_id, number=number)
    return found


REPLAY_CASE = Page(f"{PATH}/{{number}}", "replay_case.html", load)
