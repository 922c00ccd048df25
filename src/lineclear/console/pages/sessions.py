"""Sessions: who is signed in to the console, and the end of one or of all."""

from collections.abc import Mapping
from typing import Any

from lineclear.console.page import Action, Onward, Page, Visit

PATH = "/sessions"


def load(visit: Visit) -> dict[str, Any]:
    """Sessions that are open, newest first."""
    return {"rows": visit.get(PATH)["sessions"], "command": "lineclear sessions list"}


def end(visit: Visit, _form: Mapping[str, str]) -> Onward:
    """Sign one browser out."""
    visit.delete(f"{PATH}/{{session_id}}", session_id=visit.parts["session_id"])
    return Onward(PATH, {})


def end_all(visit: Visit, form: Mapping[str, str]) -> Onward:
    """Sign every browser out, this one too."""
    visit.delete(PATH, {"reason": form.get("reason", "")})
    return Onward(PATH, {})


SESSIONS = Page(PATH, "sessions.html", load, rows="rows")
END_SESSION = Action(f"{PATH}/{{session_id}}/end", end, PATH)
END_ALL_SESSIONS = Action(f"{PATH}/end", end_all, PATH)
