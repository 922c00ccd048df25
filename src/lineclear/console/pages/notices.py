"""Notices: what happened to what somebody's teams own or call, who took note, and what did not arrive.

In: notices and deliveries as the API tells them. Out: values to show. Nothing is judged here.
"""

import shlex
from collections.abc import Mapping
from typing import Any

from lineclear.console.audit_words import object_path
from lineclear.console.page import Action, Onward, Page, Visit
from lineclear.domain.notices import NoticeKind
from lineclear.domain.permissions import Permission

PATH = "/notices"
LIMIT = "200"
FILTERS = ("state", "kind", "team")
STATES = ("open", "acknowledged", "all")


def load(visit: Visit) -> dict[str, Any]:
    """Notices that fit, newest first, and deliveries that were given up."""
    asked = {name: visit.query[name] for name in FILTERS if name in visit.query}
    found = visit.get(PATH, {"state": "open", **asked, "limit": LIMIT})
    dead = visit.get("/notice-deliveries", {"state": "dead", "limit": LIMIT})["deliveries"]
    return {
        "filters": asked,
        "rows": [{**row, "page": object_path(row["object"])} for row in found["notices"]],
        "open": found["open"],
        "dead": [{**row, "may_send": visit.may(Permission.NOTICE_SEND, row["team"])} for row in dead],
        "choices": {"state": list(STATES), "kind": [kind.value for kind in NoticeKind]},
        "command": _command(asked),
    }


def _command(asked: Mapping[str, str]) -> str:
    words = [word for name, value in asked.items() for word in (f"--{name}", value)]
    return shlex.join(["lineclear", "notices", "list", *words])


def acknowledge(visit: Visit, _form: Mapping[str, str]) -> Onward:
    """Take note, for every team of the person's that the notice is for."""
    visit.post(f"{PATH}/{{notice_id}}/acknowledgements", {}, notice_id=visit.parts["notice_id"])
    return Onward(PATH, {})


def send_again(visit: Visit, _form: Mapping[str, str]) -> Onward:
    """Let a delivery begin anew."""
    visit.post("/notice-deliveries/{delivery_id}/retries", None, delivery_id=visit.parts["delivery_id"])
    return Onward(PATH, {})


NOTICES = Page(PATH, "notices.html", load, query=FILTERS, rows="rows")
NOTICE_ACTIONS = (
    Action(f"{PATH}/{{notice_id}}/acknowledge", acknowledge, PATH),
    Action(f"{PATH}/deliveries/{{delivery_id}}/again", send_again, PATH),
)
