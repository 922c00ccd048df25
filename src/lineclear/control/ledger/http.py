"""The ledger's endpoints: usage, exchanges, one request, the check.

In: calls of the admin API. Out: values. Each handler first lets ingest catch up, so that who has an answer finds
it here. Must not write, and must not know more of a request than the ledger does.
"""

from dataclasses import dataclass, replace
from typing import Any

from lineclear.base.clock import Clock
from lineclear.control.endpoint import (
    WAITING_CALLS_MAX,
    AdminCode,
    Call,
    Endpoint,
    QueryParameter,
    Reach,
    Refused,
    at_most,
    row_limit,
)
from lineclear.control.ingest.ingest import Ingest
from lineclear.control.ledger.background import BackgroundDesk
from lineclear.control.scopes import scope_of_exchange
from lineclear.domain.access import PLATFORM, Scope
from lineclear.domain.entry import exchange_day, exchange_of, is_exchange_id
from lineclear.domain.ledger import Intent
from lineclear.domain.money import Price
from lineclear.domain.permissions import Permission
from lineclear.observe.arrivals import entries_after, newest_place, place_text, read_place
from lineclear.observe.check import LedgerCheck, check_ledger
from lineclear.observe.dispatches import read_dispatches
from lineclear.observe.entry import LOGS_MAX, NARROW_BY, Entry, EntryQuestion, find_entry
from lineclear.observe.explain import PriceOf, explain_entry, explain_open, find_request
from lineclear.observe.logs import list_logs, log_line
from lineclear.observe.period import Period, period_of
from lineclear.observe.reviews import reviews_of
from lineclear.observe.usage import FIGURES, GROUPS, USAGE_NARROW_BY, UsageQuestion, UsageReport, sum_usage
from lineclear.store.ledger import Ledger

LOGS_DEFAULT = 100
DISPATCHES_BYTES_MAX = 256 * 1024 * 1024
"""About four million dispatches in the compact form."""
ID_CHARS_MAX = 200
NEWEST = "newest"
"""The value of `after` that gives the place behind everything that is there."""

_PERIOD = (
    QueryParameter("since", "begin: a span back from now (24h, 7d) or ISO 8601; default 30d"),
    QueryParameter("until", "end, as since; default now"),
)


@dataclass(frozen=True)
class CheckRequest:
    """What to hold against the ledger."""

    dispatches: str | None = None
    """Lines `<exchange>.<n> status input_tokens output_tokens` (`-` = not said); None = the ledger alone."""


@dataclass(frozen=True)
class LogPage:
    """Entries, newest first; with `after` in the order in which the ledger took them."""

    rows: list[dict[str, Any]]
    """Any: text, int, float, bool and None."""
    before: str | None
    """Pass it as `before` to go on; None = there is no more."""
    demo: bool = False
    """The history is invented."""
    after: str | None = None
    """Where to go on following: pass it as `after`. None where nothing is followed."""


class LedgerDesk:
    """Answers questions about what happened."""

    def __init__(
        self,
        ledger: Ledger,
        ingest: Ingest,
        clock: Clock,
        price_of: PriceOf,
        background: BackgroundDesk | None = None,
    ) -> None:
        """Take the parts.

        Args:
            ledger: where entries are.
            ingest: its one writer.
            clock: the present, for periods.
            price_of: the price in force of a model version, None if it has none.
            background: what control's database knows of a request; None = the ledger stands alone.
        """
        self._background = background
        self.is_demo = False
        """The history is invented: every sum and list says so."""
        self._ledger = ledger
        self._ingest = ingest
        self._clock = clock
        self._price_of = price_of

    def usage(self, call: Call) -> UsageReport:
        """Sums by the names in `by`."""
        by = _names(call, "by", "route")
        figures = _names(call, "figures", ",".join(FIGURES))
        is_of_apps = _flag(call, "callers")
        self._ingest.catch_up()
        try:
            only = own_part(call, _only(call, USAGE_NARROW_BY))
            asked = UsageQuestion(by, self._period(call), only, figures=figures, is_of_apps=is_of_apps)
            report = sum_usage(self._ledger, asked)
        except ValueError as error:
            raise Refused(AdminCode.INVALID_REQUEST, str(error)) from error
        return replace(report, demo=self.is_demo)

    def logs(self, call: Call) -> LogPage:
        """One line per exchange: newest first, or with `after` in the order in which the ledger took them."""
        question = EntryQuestion(
            self._period(call),
            own_part(call, _only(call, NARROW_BY)),
            row_limit(call, LOGS_DEFAULT, LOGS_MAX),
            before=call.query.get("before", ""),
            find=call.query.get("find", ""),
            status=call.query.get("status", ""),
            is_failed=_flag(call, "errors"),
        )
        if question.before and not is_exchange_id(question.before):
            raise Refused(
                AdminCode.INVALID_REQUEST,
                f"before: {question.before!r} is no id of an exchange",
                hint="take `before` of the answer above, or the id of a line",
            )
        self._ingest.catch_up()
        try:
            if "after" in call.query:
                return self._follow(call, question)
            rows = list_logs(self._ledger, question)
        except ValueError as error:
            raise Refused(AdminCode.INVALID_REQUEST, str(error)) from error
        return LogPage(rows, rows[-1]["id"] if len(rows) == question.limit else None, self.is_demo)

    def _follow(self, call: Call, question: EntryQuestion) -> LogPage:
        stray = [name for name in ("since", "until", "before") if name in call.query]
        if stray:
            raise ValueError(f"after follows what comes in, so {stray[0]} has no say; leave it out")
        if call.query["after"] == NEWEST:
            return LogPage([], None, self.is_demo, place_text(newest_place(self._ledger)))
        found, place = entries_after(self._ledger, read_place(call.query["after"]), question)
        return LogPage([log_line(entry) for entry in found], None, self.is_demo, place_text(place))

    def explain(self, call: Call) -> dict[str, Any]:
        """Everything about one request. Any: nested JSON values."""
        request = call.path["request_id"]
        if not request or len(request) > ID_CHARS_MAX:
            raise Refused(AdminCode.INVALID_REQUEST, f"a request id has 1 to {ID_CHARS_MAX} characters")
        self._ingest.catch_up()
        entry = find_request(self._ledger, request)
        if entry is not None:
            call.require(Permission.LEDGER_READ, scope_of_exchange(entry.facts), _unknown(request))
            background = self._background.of(entry, entry.detail()) if self._background is not None else None
            reviews = reviews_of(self._ledger, entry.id)
            return {
                **explain_entry(entry, self._price_then(entry), background),
                "reviews": reviews,
                "demo": self.is_demo,
            }
        intent = self._ingest.open_exchanges().get(exchange_of(request))
        call.require(Permission.LEDGER_READ, _scope_of_intent(intent), _unknown(request))
        if intent is not None:
            return explain_open(intent)
        raise _unknown(request)

    def explain_own(self, app: str, environment: str, request: str) -> dict[str, Any]:
        """The same for the app that made the request, without what is the operators' own: people, notes, cards.

        Any: nested JSON values.

        Raises:
            Refused: `not_found` for everything but the app's own requests in that environment.
        """
        entry = self._find_own(request)
        if entry is None:
            self._ingest.catch_up()
            entry = self._find_own(request)
        if entry is not None and (entry.facts["app"], entry.facts["environment"]) == (app, environment):
            return {**explain_entry(entry, self._price_then(entry)), "reviews": reviews_of(self._ledger, entry.id)}
        intent = self._ingest.open_exchanges().get(request) if entry is None else None
        if intent is not None and (intent.app, intent.environment) == (app, environment):
            return explain_open(intent)
        raise _unknown(request)

    def _find_own(self, request: str) -> Entry | None:
        """By our id alone, and only where it can be: whoever asks may not have every day read for a made-up one."""
        day = exchange_day(request)
        return None if day is None else find_entry(self._ledger, request, day)

    def _price_then(self, entry: Entry) -> PriceOf:
        """The price that an entry was charged by, although another may be in force now."""
        wanted = entry.facts["price_version"]

        def price(version: str) -> Price | None:
            found = self._price_of(version)
            if (found is None or found.version != wanted) and self._background is not None:
                return self._background.price_then(version, wanted) or found
            return found

        return price

    def check(self, call: Call) -> LedgerCheck:
        """Whether every record is there once and unaltered."""
        text = call.body.dispatches if call.body is not None else None
        try:
            dispatches = None if text is None else read_dispatches(text.splitlines())
        except ValueError as error:
            raise Refused(AdminCode.INVALID_REQUEST, str(error)) from error
        with self._ingest.still() as open_exchanges:
            return check_ledger(self._ledger, open_exchanges, dispatches, self._price_of)

    def _period(self, call: Call) -> Period:
        try:
            return period_of(call.query.get("since"), call.query.get("until"), self._clock.unix_us())
        except ValueError as error:
            raise Refused(AdminCode.INVALID_REQUEST, str(error)) from error


def ledger_endpoints(desk: LedgerDesk) -> tuple[Endpoint, ...]:
    """The endpoints of a desk."""
    read = Permission.LEDGER_READ
    return (
        Endpoint(
            "GET",
            "/api/v1/usage",
            read,
            desk.usage,
            "Requests, errors, tokens, cost and latency by any dimension",
            query=(
                QueryParameter("by", f"comma-separated: {', '.join(GROUPS)}; default route"),
                QueryParameter("figures", f"comma-separated, only these: {', '.join(FIGURES)}; default all"),
                QueryParameter("callers", "true = without what replays, evals, judges and shadows alone asked"),
                *_PERIOD,
                *(QueryParameter(name, f"only this {name}") for name in USAGE_NARROW_BY),
            ),
            answer=UsageReport,
            reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET",
            "/api/v1/requests",
            read,
            desk.logs,
            "Exchanges, newest first",
            query=(
                *_PERIOD,
                QueryParameter("limit", f"1 to {LOGS_MAX}; default {LOGS_DEFAULT}"),
                QueryParameter("before", "an exchange id: only older ones"),
                QueryParameter(
                    "after", f"what came in since: {NEWEST} gives the place to begin at, each answer the next"
                ),
                QueryParameter("status", "only this HTTP status, such as 429, or family, such as 5xx"),
                QueryParameter("errors", "true = only what went wrong"),
                QueryParameter("find", "a caller's, vendor's or response's id that the exchange carries"),
                *(QueryParameter(name, f"only this {name}") for name in NARROW_BY),
            ),
            answer=LogPage,
            reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET",
            "/api/v1/requests/{request_id}",
            read,
            desk.explain,
            "What happened to one request, and why",
            reach=Reach.OBJECT,
        ),
        Endpoint(
            "POST",
            "/api/v1/ledger/check",
            read,
            at_most(WAITING_CALLS_MAX, desk.check),
            "Prove that no record is lost, doubled or altered",
            body=CheckRequest,
            answer=LedgerCheck,
            body_bytes_max=DISPATCHES_BYTES_MAX,
        ),
    )


def own_part(call: Call, wanted: dict[str, str]) -> dict[str, str]:
    """What is wanted of the ledger, narrowed to what the caller may read.

    Who may read one scope only is asked nothing: it is that. Who may read several says which.

    Raises:
        Refused: `forbidden` if something else is wanted, or nothing that one grant covers.
    """
    asked = scope_of_exchange(wanted)
    own = {grant.scope for grant in call.principal.grants if Permission.LEDGER_READ in grant.permissions}
    if not call.principal.may(Permission.LEDGER_READ, asked) and len(own) == 1:
        (only,) = own
        parts = {name: value for name in ("team", "environment", "route") if (value := getattr(only, name))}
        narrowed = {**parts, **wanted}
        asked, wanted = scope_of_exchange(narrowed), narrowed
    if not call.principal.may(Permission.LEDGER_READ, asked):
        call.asked.append(Permission.LEDGER_READ)
        known = ", ".join(sorted(map(str, own)))
        raise Refused(
            AdminCode.FORBIDDEN,
            f"{call.principal.name!r} may not {Permission.LEDGER_READ.value} on {asked}",
            hint=f"narrow it to one of yours, such as with team, environment or route: {known}",
        )
    call.require(Permission.LEDGER_READ, asked)
    return wanted


def _scope_of_intent(intent: Intent | None) -> Scope:
    return PLATFORM if intent is None else Scope(intent.team, intent.environment, intent.route)


def _unknown(request: str) -> Refused:
    return Refused(
        AdminCode.NOT_FOUND,
        f"the ledger has no request {request!r}",
        hint="take the id from the response header x-request-id; a call with an unknown key leaves no entry",
    )


def _only(call: Call, names: tuple[str, ...]) -> dict[str, str]:
    return {name: call.query[name] for name in names if name in call.query}


def _names(call: Call, parameter: str, default: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in call.query.get(parameter, default).split(",") if name.strip())


def _flag(call: Call, name: str) -> bool:
    text = call.query.get(name, "false")
    if text not in ("true", "false"):
        raise Refused(AdminCode.INVALID_REQUEST, f"{name} is true or false, not {text!r}")
    return text == "true"
