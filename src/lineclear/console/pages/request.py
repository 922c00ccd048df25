"""One request: the very value of `lineclear explain`, drawn."""

from typing import Any

from lineclear.console.page import Page, Visit


def load(visit: Visit) -> dict[str, Any]:
    """The explanation, and the same question for the command line."""
    request_id = visit.parts["request_id"]
    explained = visit.get("/requests/{request_id}", request_id=request_id)
    return {"request": explained, "command": f"lineclear explain {explained['id']}"}


REQUEST = Page("/requests/{request_id}", "request.html", load)
