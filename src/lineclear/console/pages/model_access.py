"""Who could call it: the apps that had a way to a model at some instant, and who approved each way.

In: what the audit trail answers. Out: values to show.
"""

from typing import Any

from lineclear.console.page import Page, Visit

PATH = "/model-access"
ASKED = ("model", "environment", "at")


def load(visit: Visit) -> dict[str, Any]:
    """The answer to what stands in the address, and what can be asked about."""
    asked = {name: visit.query[name] for name in ASKED if name in visit.query}
    answer = None
    if "model" in asked:
        answer = visit.get(PATH, {"environment": "live", **asked})
    return {
        "asked": asked,
        "at": None if answer is None else answer["at"],
        "rows": [] if answer is None else answer["access"],
        "is_answered": answer is not None,
        "choices": {
            "model": sorted({one["model"].partition("@")[0] for one in visit.get("/model-versions")["versions"]}),
            "environment": [item["name"] for item in visit.get("/environments")["items"]],
        },
    }


MODEL_ACCESS = Page(PATH, "model_access.html", load, query=ASKED, rows="rows")
