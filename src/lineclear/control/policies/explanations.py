"""What would become of a call before it is sent: route, task, data class, every model and every rule with its reason.

In: an app, an environment, a request. Out: checks in the order of the walk. The functions are the gateway's own
(`domain.admission`, `domain.policy`); what only a gateway knows at the moment of the call is said to be not known.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lineclear.control.policies.standing import Standing
from lineclear.domain.admission import Exclusion, data_class_of, refusal_of, refused_there, release_models, task_of
from lineclear.domain.catalogue import DataClass, instant_text
from lineclear.domain.errors import CallerError, ErrorCode, LineclearError
from lineclear.domain.evidence import Arm
from lineclear.domain.exchange import OPERATION_DIALECT, Operation
from lineclear.domain.explained import ADVICE, CHECKS, RULES, Check, Verdict, rule_kind
from lineclear.domain.overrides import STOP_ALL
from lineclear.domain.policy import Asked, Caller, conditions_of, deciding, exclusion_by
from lineclear.domain.snapshot import ModelVersionEntry, RouteSection
from lineclear.domain.stopped import stopped_error
from lineclear.observe.checks import CheckRow

LATER = (Check.GUARDRAIL, Check.HEALTH, Check.VARIABLES, Check.LIMIT)
"""Checks that only the call itself can be held to."""


@dataclass(frozen=True)
class Question:
    """A call that was not sent."""

    app: str
    environment: str
    route: str
    operation: Operation
    task: str
    data_class: DataClass | None
    tags: tuple[str, ...]
    at_us: int
    """When it is taken to come: Unix microseconds."""
    arm: Arm = Arm.STABLE
    """Whose release; the candidate's where a rollout is under way."""


@dataclass(frozen=True)
class ModelVerdict:
    """One model of the route's release."""

    model: str
    verdict: str
    """passed | left_out"""
    reason: str
    rule: str | None


@dataclass(frozen=True)
class RuleVerdict:
    """One policy rule, asked of one model that its card allows."""

    rule: str
    model: str
    holds: bool
    decides: bool
    """It is the first of its policy that holds."""
    says: str
    """What follows, or which condition does not hold."""


@dataclass(frozen=True)
class RouteExplanation:
    """What would become of the call."""

    app: str
    team: str
    environment: str
    route: str
    release: str | None
    operation: str
    dialect: str
    task: str | None
    data_class: str | None
    allowed: bool
    """As far as it can be said beforehand."""
    code: str | None
    message: str
    hint: str
    rules: list[str]
    """Of a refusal: who said no. Else the policy rules that had a say."""
    checks: list[CheckRow]
    candidates: list[ModelVerdict]
    policy_rules: list[RuleVerdict]


def explain_route(standing: Standing, question: Question) -> RouteExplanation:
    """Walk as `admit` does and keep what each step says. App and environment have to exist."""
    course = _Course(standing, question)
    try:
        course.walk()
    except LineclearError as error:
        return course.end(error)
    return course.end(None)


class _Course:
    """One question on its way."""

    def __init__(self, standing: Standing, question: Question) -> None:
        self._standing = standing
        self._question = question
        self._app = standing.apps[question.app]
        self._section: RouteSection | None = None
        self._task: str | None = None
        self._data_class: DataClass | None = None
        self._stage = Check.GRANT
        self._models: list[ModelVerdict] = []
        self._rules: list[RuleVerdict] = []
        self._took_part: dict[str, None] = {}

    def walk(self) -> None:
        asked = self._question
        section = self._standing.route(asked.environment, asked.route, asked.arm)
        if section is None or not ("*" in self._app.routes or asked.route in self._app.routes):
            raise CallerError(
                ErrorCode.MODEL_NOT_FOUND,
                f"no route named {asked.route!r} that app {asked.app!r} may call in environment {asked.environment!r}",
                hint=ADVICE[ErrorCode.MODEL_NOT_FOUND].next_step,
            )
        self._section = section
        stops = self._standing.stops
        for scope in (STOP_ALL, f"route:{asked.environment}/{asked.route}", f"app:{asked.app}"):
            if scope in stops:
                raise stopped_error(stops[scope])
        self._stage = Check.TASK
        self._task = task_of(section.route, section.tasks, asked.task)
        self._stage = Check.DATA_CLASS
        self._data_class = data_class_of(section.data_class, asked.data_class)
        refused = refused_there(self._standing.environments[asked.environment], self._data_class)
        if refused is not None:
            raise refused.error(section.route)
        self._stage = Check.CANDIDATE
        self._judge(section, self._task, self._data_class)

    def _judge(self, section: RouteSection, task: str, data_class: DataClass) -> None:
        question, standing = self._question, self._standing
        asked = Asked(question.environment, question.route, task, data_class, section.data_class)
        caller = Caller(self._app.team, question.app, question.tags, question.at_us)
        judged = standing.judged(section, question.operation, task, data_class)
        for model, exclusion in judged.items():
            if exclusion is None:
                version = standing.versions[model]
                decided = deciding(standing.policies, asked, caller, version)
                judged[model] = exclusion_by(decided, asked, version)
                self._took_part.update(dict.fromkeys(rule.id for rule in decided))
                self._rules += self._asked_rules(model, asked, caller, {rule.id for rule in decided})
        self._models = [_model_verdict(model, exclusion) for model, exclusion in judged.items()]
        if all(exclusion is not None for exclusion in judged.values()):
            refusal = refusal_of([one for one in judged.values() if one is not None])
            raise refusal.error(section.route, tuple(self._serving(refusal.successor)))
        for model, exclusion in judged.items():
            judged[model] = exclusion or _in_brownout(standing.versions[model], question.at_us)
        self._models = [_model_verdict(model, exclusion) for model, exclusion in judged.items()]
        if all(exclusion is not None for exclusion in judged.values()):
            ends = [one for one in judged.values() if one is not None and one.code is ErrorCode.BROWNOUT]
            raise ends[0].error(section.route)

    def _serving(self, model: str | None) -> Iterator[str]:
        """The routes of the app that name a model version and answer such a call, as `admit` tells them."""
        standing, asked = self._standing, self._question
        for (environment, name), section in sorted(standing.routes.items()):
            may = "*" in self._app.routes or name in self._app.routes
            if (environment, may) != (asked.environment, True) or name == asked.route:
                continue
            if model not in release_models(section.stable):
                continue
            if {STOP_ALL, f"route:{environment}/{name}"} & standing.stops.keys():
                continue
            judged = (
                standing.judged(section, asked.operation, task, section.data_class) for task in section.tasks or ("",)
            )
            if any(None in verdicts.values() for verdicts in judged):
                yield name

    def _asked_rules(self, model: str, asked: Asked, caller: Caller, decided: set[str]) -> Iterator[RuleVerdict]:
        version = self._standing.versions[model]
        for rule in (rule for policy in self._standing.policies for rule in policy.rules):
            unmet = [one for one in conditions_of(rule, asked, caller, version) if not one.holds]
            if unmet:
                said = "; ".join(f"{one.field} is {one.is_about or 'none'}" for one in unmet)
            elif rule.id in decided:
                said = RULES[rule_kind(rule.id)]
            else:
                said = "it holds, and a rule above it in its policy decided"
            yield RuleVerdict(rule.id, model, not unmet, rule.id in decided, said)

    def end(self, error: LineclearError | None) -> RouteExplanation:
        asked, section = self._question, self._section
        return RouteExplanation(
            app=asked.app,
            team=self._app.team,
            environment=asked.environment,
            route=asked.route,
            release=None if section is None else section.stable.id,
            operation=asked.operation.value,
            dialect=OPERATION_DIALECT[asked.operation].value,
            task=self._task,
            data_class=None if self._data_class is None else self._data_class.value,
            allowed=error is None,
            code=None if error is None else error.code.value,
            message="" if error is None else error.message,
            hint="" if error is None else error.hint,
            rules=list(self._took_part if error is None else error.rules),
            checks=list(self._checks(error)),
            candidates=self._models,
            policy_rules=self._rules,
        )

    def _checks(self, error: LineclearError | None) -> Iterator[CheckRow]:
        order = (Check.GRANT, Check.TASK, Check.DATA_CLASS)
        about = {
            Check.GRANT: self._question.route,
            Check.TASK: self._task or self._question.task,
            Check.DATA_CLASS: "" if self._data_class is None else self._data_class.value,
        }
        is_over = False
        for check in order:
            is_here = error is not None and check is self._stage
            verdict = Verdict.NOT_REACHED if is_over else Verdict.REFUSED if is_here else Verdict.PASSED
            says = error.message if error is not None and is_here else CHECKS[check]
            rule = error.rules[0] if error is not None and is_here and error.rules else None
            yield CheckRow(check, about[check] or None, verdict, says, rule)
            is_over = is_over or is_here
        for one in self._models:
            yield CheckRow(Check.CANDIDATE, one.model, Verdict(one.verdict), one.reason, one.rule)
        if not self._models:
            yield CheckRow(Check.CANDIDATE, None, Verdict.NOT_REACHED, CHECKS[Check.CANDIDATE], None)
        for check in LATER:
            verdict = Verdict.NOT_KNOWN if error is None else Verdict.NOT_REACHED
            yield CheckRow(check, None, verdict, CHECKS[check], None)


def _in_brownout(version: ModelVersionEntry, at_us: int) -> Exclusion | None:
    at_s = at_us // 1_000_000
    for starts, ends in version.brownouts:
        if starts <= at_s < ends:
            reason = f"{version.id} is in a brownout until {instant_text(ends)}"
            return Exclusion(ErrorCode.BROWNOUT, "status.brownout", reason, successor=version.successor)
    return None


def _model_verdict(model: str, exclusion: Exclusion | None) -> ModelVerdict:
    if exclusion is None:
        return ModelVerdict(model, Verdict.PASSED, CHECKS[Check.CANDIDATE], None)
    return ModelVerdict(model, Verdict.LEFT_OUT, exclusion.reason, exclusion.rule)
