"""The admin API's endpoints for policies and for what routes would do: rules with hits, explanations, outages."""

from collections.abc import Callable
from dataclasses import dataclass, field

from lineclear.base.clock import Clock
from lineclear.config.manifest_fields import near_words
from lineclear.control.compile import CompileRefused
from lineclear.control.endpoint import (
    API_ROOT,
    WAITING_CALLS_MAX,
    AdminCode,
    Call,
    Endpoint,
    QueryParameter,
    Reach,
    Refused,
    at_most,
)
from lineclear.control.policies.explanations import Question, RouteExplanation, explain_route
from lineclear.control.policies.hits import RuleFacts, rule_facts
from lineclear.control.policies.outages import RouteOutage, outages
from lineclear.control.policies.standing import Standing, read_standing
from lineclear.control.publish import Publisher, read_desired
from lineclear.control.seen import Seen
from lineclear.domain.access import Scope
from lineclear.domain.catalogue import DataClass
from lineclear.domain.evidence import Arm
from lineclear.domain.exchange import Operation
from lineclear.domain.permissions import Permission
from lineclear.observe.period import instant_us
from lineclear.observe.rule_hits import hits_by_rule
from lineclear.store.ledger import Ledger


@dataclass(frozen=True)
class ExplainRequest:
    """A call that was not sent. What it would say is not asked for: it stays with the caller."""

    app: str
    environment: str
    route: str
    """What the call says in `model`."""
    operation: str
    """`chat`, `messages`, `count_tokens`, `completions`, `embeddings` or `classify`."""
    task: str = ""
    """`x-lineclear-task`."""
    data_class: str = ""
    """`x-lineclear-data-class`; empty = the route's."""
    tags: list[str] = field(default_factory=list)
    """`x-lineclear-tags`."""
    at: str = ""
    """When it is taken to come, ISO 8601; empty = now."""
    arm: str = Arm.STABLE.value
    """`stable`, or `candidate` where a rollout is under way."""


@dataclass(frozen=True)
class RuleList:
    rules: list[RuleFacts]


@dataclass(frozen=True)
class OutageList:
    """What each route would do without a provider."""

    provider: str
    routes: list[RouteOutage]
    """Those that it serves now."""


class PolicyDesk:
    """Answers the endpoints."""

    def __init__(self, publisher: Publisher, ledger: Ledger, clock: Clock, catch_up: Callable[[], object]) -> None:
        self._publisher = publisher
        self._ledger = ledger
        self._clock = clock
        self._catch_up = catch_up

    def rules(self, call: Call) -> RuleList:
        """Every rule with its hits; of one policy if it is named."""
        with self._publisher.database.read() as tx:
            desired = read_desired(tx)
        seen = Seen(call, desired)
        wanted = call.query.get("policy")
        known = {name: policy for name, policy in sorted(desired.policies.items()) if seen.is_noun(policy)}
        if wanted is not None and wanted not in known:
            hint = near_words(wanted, list(known)) or "`lineclear policies list` shows names"
            raise Refused(AdminCode.NOT_FOUND, f"there is no policy {wanted!r}", hint=hint)
        self._catch_up()
        hits = hits_by_rule(self._ledger, self._clock.unix_us())
        return RuleList(rule_facts([item for name, item in known.items() if wanted in (None, name)], hits))

    def explain(self, call: Call) -> RouteExplanation:
        """What would become of a call."""
        body: ExplainRequest = call.body
        standing = self._standing()
        section = standing.routes.get((body.environment, body.route))
        unknown = Refused(
            AdminCode.NOT_FOUND, f"there is no route {body.route!r} in {body.environment!r}",
            hint="`lineclear routes list` shows where routes are",
        )  # fmt: skip
        scope = Scope("" if section is None else section.team, body.environment, body.route)
        call.require(Permission.ROUTE_READ, scope, unknown)
        app, no_app = standing.apps.get(body.app), _no_app(body.app)
        call.require(Permission.CATALOGUE_READ, Scope("" if app is None else app.team), no_app)
        if section is None:
            raise unknown
        if app is None:
            raise no_app
        question = self._question(body)
        if standing.route(body.environment, body.route, question.arm) is None:
            raise Refused(AdminCode.CONFLICT, f"no rollout is under way on {body.route} in {body.environment}")
        return explain_route(standing, question)

    def outages(self, call: Call) -> OutageList:
        """Routes without a provider."""
        provider = call.query.get("provider", "")
        standing = self._standing()
        if provider not in standing.providers:
            hint = near_words(provider, sorted(standing.providers)) or "`lineclear providers list` shows names"
            call.only(Permission.ROUTE_READ, (), lambda scope: scope)
            raise Refused(AdminCode.NOT_FOUND, f"there is no provider {provider!r}", hint=hint)
        found = outages(standing, provider, self._clock.unix_us())
        return OutageList(
            provider, call.only(Permission.ROUTE_READ, found, lambda one: Scope(one.team, one.environment, one.route))
        )

    def _standing(self) -> Standing:
        try:
            return read_standing(self._publisher)
        except CompileRefused as error:
            raise Refused(AdminCode.CONFLICT, f"the state does not compile: {error}") from error

    def _question(self, body: ExplainRequest) -> Question:
        now_us = self._clock.unix_us()
        try:
            at_us = instant_us(body.at, now_us) if body.at else now_us
        except ValueError as error:
            raise Refused(AdminCode.INVALID_REQUEST, f"at: {error}") from error
        return Question(
            app=body.app,
            environment=body.environment,
            route=body.route,
            operation=Operation(_one_of("operation", body.operation, [item.value for item in Operation])),
            task=body.task,
            data_class=DataClass(_one_of("data_class", body.data_class, [item.value for item in DataClass]))
            if body.data_class
            else None,
            tags=tuple(body.tags),
            at_us=at_us,
            arm=Arm(_one_of("arm", body.arm, [item.value for item in Arm])),
        )


def endpoints(
    publisher: Publisher, ledger: Ledger, clock: Clock, catch_up: Callable[[], object]
) -> tuple[Endpoint, ...]:
    """Rules with hits, explanations before a call, simulated outages."""
    desk = PolicyDesk(publisher, ledger, clock, catch_up)
    return (
        Endpoint(
            "GET", f"{API_ROOT}/policy-rules", Permission.CATALOGUE_READ, at_most(WAITING_CALLS_MAX, desk.rules),
            "Every rule of every policy with its hits", answer=RuleList, reach=Reach.OBJECT,
            query=(QueryParameter("policy", "Only rules of this policy."),),
        ),
        Endpoint(
            "POST", f"{API_ROOT}/route-explanations", Permission.ROUTE_READ, at_most(WAITING_CALLS_MAX, desk.explain),
            "What would become of a call before it is sent", body=ExplainRequest, answer=RouteExplanation,
            reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", f"{API_ROOT}/outage-simulations", Permission.ROUTE_READ, at_most(WAITING_CALLS_MAX, desk.outages),
            "What each route would do without a provider", answer=OutageList, reach=Reach.OBJECT,
            query=(QueryParameter("provider", "The provider that is taken to be down.", required=True),),
        ),
    )  # fmt: skip


def _no_app(name: str) -> Refused:
    return Refused(AdminCode.NOT_FOUND, f"there is no app {name!r}", hint="`lineclear apps list` shows names")


def _one_of(field_name: str, text: str, words: list[str]) -> str:
    if text in words:
        return text
    raise Refused(AdminCode.INVALID_REQUEST, f"{field_name} must be one of {', '.join(words)}, not {text!r}")
