"""What a page is: a path, the value it shows, a template. The value is also its JSON twin.

In: a visit (who asks, for what). Out: a value of plain JSON types. Must not know HTTP.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineclear.console.desk import Desk
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.access import Principal, Scope
from lineclear.domain.permissions import Permission

API = "/api/v1"
FORM_BYTES_MAX = 64 * 1024
"""Of a form that says nothing else."""


@dataclass(frozen=True)
class Visit:
    """One look at one page."""

    desk: Desk
    principal: Principal
    now_us: int
    parts: Mapping[str, str]
    """What stands in the braces of the page's path."""
    query: Mapping[str, str]
    """Declared parameters with a value."""
    place: str = ""
    """Where the stream before this one ended, as its `place` told; empty for a page's first."""

    def get(self, path: str, query: Mapping[str, str] | None = None, **parts: str) -> Any:
        """The answer of `GET /api/v1<path>`. Raises as `Desk.ask`."""
        return self.desk.ask(self.principal, "GET", API + path, parts=parts, query=query)

    def post(self, path: str, body: Mapping[str, Any] | None = None, **parts: str) -> Any:
        """The answer of `POST /api/v1<path>`. Raises as `Desk.ask`."""
        return self.desk.ask(self.principal, "POST", API + path, parts=parts, body=body)

    def delete(self, path: str, query: Mapping[str, str] | None = None, **parts: str) -> Any:
        """The answer of `DELETE /api/v1<path>`. Raises as `Desk.ask`."""
        return self.desk.ask(self.principal, "DELETE", API + path, parts=parts, query=query)

    def usage(self, asked: Mapping[str, str]) -> Mapping[str, Any] | None:
        """The answer of `GET /usage`; None for who may not read the ledger."""
        try:
            found: Mapping[str, Any] = self.get("/usage", asked)
        except Refused as refused:
            if refused.code is not AdminCode.FORBIDDEN:
                raise
            return None
        return found

    def may(self, permission: Permission, team: str = "", environment: str = "", route: str = "") -> bool:
        """Whether the person may do that to what lies there, so that a page offers nothing that would be refused."""
        return self.principal.may(permission, Scope(team, environment, route))


@dataclass(frozen=True)
class Page:
    """One page and its twins."""

    path: str
    """Below the console, such as `/requests/{request_id}`; empty for Home."""
    template: str
    load: Callable[[Visit], dict[str, Any]]
    query: Sequence[str] = ()
    """Parameters that it takes; others are refused."""
    rows: str = ""
    """The list in its value that is also offered as CSV; empty = none."""
    has_dotted_names: bool = False
    """What stands in the braces may itself end like a twin, as a route `report.json` does."""


@dataclass(frozen=True)
class Onward:
    """Where to go after a form."""

    path: str
    query: Mapping[str, str]


@dataclass(frozen=True)
class Download:
    """A file to keep."""

    name: str
    media_type: str
    parts: Iterator[bytes]
    """Made while they are sent; what ends too early lacks its end."""


@dataclass(frozen=True)
class Shown:
    """A value to show at once, where it is no plain success."""

    value: dict[str, Any]
    code: AdminCode
    """Why nothing was done."""


@dataclass(frozen=True)
class Action:
    """What a form does."""

    path: str
    """Below the console; POST only."""
    run: Callable[[Visit, Mapping[str, str]], "Onward | Download | Shown | dict[str, Any]"]
    """Takes the form's fields. A value is shown at once by `template`: it is in this answer only."""
    page: str
    """The page that it belongs to, for the navigation."""
    template: str = ""
    form_bytes_max: int = FORM_BYTES_MAX
    again: Callable[[Visit, Mapping[str, str]], Shown] | None = None
    """Shows a form again that an ended session had made, with nothing done; None = it is refused. For forms that hold
    what somebody wrote for an hour."""


@dataclass(frozen=True)
class Feed:
    """What a page follows while it is open."""

    path: str
    """Below the console, such as `/requests/stream`."""
    template: str
    """Renders what was found; gets `value`."""
    event: str
    """The event's name."""
    begin: Callable[[Visit], Callable[[], dict[str, Any] | None]]
    """Called once per stream; what it returns is called every second and says what is new, None for nothing. A
    `place` in it comes back with the visit when the browser connects anew; `place` alone shows nothing."""
    query: Sequence[str] = ()
    is_once: bool = False
    """True: the stream ends with its first find."""


def news_of(
    look: Callable[[], dict[str, Any]], told: Callable[[dict[str, Any]], dict[str, Any]]
) -> Callable[[], dict[str, Any] | None]:
    """What a feed's `begin` returns where one thing is followed: what it looks like, as often as it is another one."""
    seen = look()

    def news() -> dict[str, Any] | None:
        nonlocal seen
        found = look()
        if found == seen:
            return None
        seen = found
        return told(found)

    return news


@dataclass(frozen=True)
class NavEntry:
    """One line of the navigation."""

    path: str
    word: str


NAVIGATION: Mapping[str, Sequence[NavEntry]] = {
    "": (NavEntry("", "Home"), NavEntry("/start", "Get started"), NavEntry("/requests", "Requests")),
    "Run": (
        NavEntry("/routes", "Routes"),
        NavEntry("/rollouts", "Rollouts"),
        NavEntry("/evals", "Evals"),
        NavEntry("/replays", "Replays"),
        NavEntry("/models", "Models and runtimes"),
        NavEntry("/cost", "Cost"),
    ),
    "Know": (NavEntry("/catalogue", "Catalogue"), NavEntry("/providers", "Providers")),
    "Control": (
        NavEntry("/changes", "Changes and audit"),
        NavEntry("/policies", "Policies"),
        NavEntry("/notices", "Notices"),
        NavEntry("/emergency", "Emergency"),
        NavEntry("/access", "Access"),
        NavEntry("/keys", "Keys"),
        NavEntry("/sessions", "Sessions"),
    ),
}
"""Groups of the navigation, in order."""
