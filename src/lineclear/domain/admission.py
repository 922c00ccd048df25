"""The gate: may a model version serve a call of this kind? Pure, so that compile, `admit` and `explain` agree."""

from collections.abc import Sequence

import msgspec

from lineclear.domain.capability import CONVERSATIONS, operation_gap
from lineclear.domain.catalogue import Capability, DataClass, EnvironmentClass, ModelStatus, data_class_rank
from lineclear.domain.errors import CallerError, ErrorCode, LineclearError, PlatformFault
from lineclear.domain.exchange import OPERATION_DIALECT, OPERATION_PATH, Dialect, Operation
from lineclear.domain.parameters import without_place
from lineclear.domain.snapshot import EnvironmentEntry, ModelVersionEntry, ProviderEntry, ReleaseEntry, StopEntry
from lineclear.domain.stopped import stop_rule, stop_words
from lineclear.domain.tools import WITH_TOOLS

ENVIRONMENT_DATA_CLASS = "environment.data-class"
"""The rule by which an environment takes no data of a class."""

ADVISED = frozenset({ErrorCode.MODEL_RETIRED, ErrorCode.OPERATION_NOT_SUPPORTED})
"""Refusals whose advice is short, and stands in the message too: some clients show nothing else."""


class Exclusion(msgspec.Struct, frozen=True, gc=False):
    """Why a model version may not serve a call, with the rule that says so."""

    code: ErrorCode
    rule: str
    reason: str
    successor: str | None = None
    offered: tuple[Operation, ...] = ()
    """What the route can be asked instead."""
    route: str = ""
    """The route that a policy asks for."""
    also: tuple[str, ...] = ()
    """Further rules that say no."""
    version: str = ""
    """The version that is retired."""

    def error(self, route: str, instead: Sequence[str] = ()) -> LineclearError:
        """The refusal of a call for which no model was left.

        Args:
            route: that was called.
            instead: routes of the caller that serve the successor; a version's own name cannot be called.
        """
        if self.code is ErrorCode.STOPPED:
            return PlatformFault(
                self.code,
                f"route {route!r} has no model left: {self.reason}",
                hint="ask whom the message names; `lineclear status` lists what is stopped",
                rules=(self.rule,),
            )
        if self.rule == ENVIRONMENT_DATA_CLASS:
            hint = "call it with a key of an environment that takes such data, or send less sensitive data"
            return CallerError(
                self.code, f"route {route!r} may not take this call: {self.reason}", hint=hint, rules=(self.rule,),
                param="x-lineclear-data-class",
            )  # fmt: skip
        paths = ", ".join(OPERATION_PATH[operation] for operation in self.offered)
        hint = {
            ErrorCode.MODEL_RETIRED: self._after_retirement(instead),
            ErrorCode.USE_NOT_APPROVED: "use a route whose models are approved for this task",
            ErrorCode.OPERATION_NOT_SUPPORTED: f"this route answers POST {paths}" if paths else "ask the route's team",
            ErrorCode.POLICY_DENIED: f"call route {self.route!r}"
            if self.route
            else "ask whose policy it is; the rule's id names it",
            ErrorCode.DATA_CLASS_REFUSED: "use a route whose models may see this data, or send less sensitive data",
        }.get(self.code, "ask the route's team or its operator")
        message = f"route {route!r} has no model that may serve this call: {self.reason}"
        return CallerError(
            self.code,
            f"{message}; {hint}" if self.code in ADVISED else message,
            hint=hint,
            rules=(self.rule, *self.also),
            successor=self.successor,
        )

    def _after_retirement(self, instead: Sequence[str]) -> str:
        if self.successor is None:
            return "ask the route's team"
        if instead:
            return f"call route {instead[0]!r} instead, which serves its successor {self.successor}"
        return f"ask the route's team for a route that serves its successor {self.successor}"


def task_of(route: str, tasks: Sequence[str], asked: str) -> str:
    """The task of a call; empty where the route lists none. Source: decision 30.

    Raises:
        CallerError: TASK_NOT_ALLOWED, TASK_REQUIRED.
    """
    if asked:
        if asked in tasks:
            return asked
        listed = ", ".join(tasks) or "none; leave the header out"
        raise CallerError(
            ErrorCode.TASK_NOT_ALLOWED,
            f"task {asked!r} is not a task of route {route!r}",
            hint=f"tasks of this route: {listed}",
            rules=("task.not-listed",),
            param="x-lineclear-task",
        )
    if len(tasks) > 1:
        raise CallerError(
            ErrorCode.TASK_REQUIRED,
            f"route {route!r} serves several tasks; say with x-lineclear-task which one this call is for",
            hint=f"send x-lineclear-task with one of: {', '.join(tasks)}",
            param="x-lineclear-task",
        )
    return tasks[0] if tasks else ""


def data_class_of(lowest: DataClass, asked: DataClass | None) -> DataClass:
    """The data class of a call: a caller may raise that of its route, never lower it (decision 30)."""
    return lowest if asked is None or data_class_rank(asked) <= data_class_rank(lowest) else asked


def is_above(data_class: DataClass, allowed: Sequence[DataClass]) -> bool:
    """Whether data is more sensitive than everything on a list; a list of none limits nothing."""
    return bool(allowed) and data_class_rank(data_class) > max(map(data_class_rank, allowed))


def refused_there(environment: EnvironmentEntry, data_class: DataClass) -> Exclusion | None:
    """Why an environment takes no call with such data, whatever its models are; None if it does."""
    if not is_above(data_class, environment.data_classes):
        return None
    highest = max(environment.data_classes, key=data_class_rank)
    reason = f"environment {environment.name!r} takes data up to {highest.value}, and this is {data_class.value}"
    return Exclusion(ErrorCode.DATA_CLASS_REFUSED, ENVIRONMENT_DATA_CLASS, reason)


def release_models(release: ReleaseEntry) -> tuple[str, ...]:
    """Every model version that a release names, in its order."""
    return tuple(dict.fromkeys([*(target.model for target in release.targets), *release.fallback]))


def refusal_of(exclusions: Sequence[Exclusion]) -> Exclusion:
    """Why a call is refused for which no model is left.

    A policy is asked last, of models that would serve otherwise: where one says no, that is what can be mended.
    """
    ruled = [found for found in exclusions if found.code is ErrorCode.POLICY_DENIED]
    if ruled:
        rules = dict.fromkeys(rule for found in ruled for rule in (found.rule, *found.also))
        return msgspec.structs.replace(ruled[0], also=tuple(rules)[1:])
    nothing = Exclusion(ErrorCode.NO_HEALTHY_TARGET, "route.no-target", "the route has no target")
    return exclusions[0] if exclusions else nothing


def judge_target(
    version: ModelVersionEntry,
    provider: ProviderEntry,
    stop: StopEntry | None,
    release: ReleaseEntry,
    environment_class: EnvironmentClass,
    operation: Operation,
    task: str,
    data_class: DataClass,
) -> Exclusion | None:
    """Whether a model version may serve such a call under a release; `stop` is its provider's. None if it may."""
    if stop is not None:
        return Exclusion(ErrorCode.STOPPED, stop_rule(stop), f"{version.id} is {stop_words(stop)}")
    found = judge(version, provider.dialects, environment_class, operation, task, data_class)
    return found or _release_in_the_way(release, operation) or _tools_in_the_way(version, release, operation)


def _release_in_the_way(release: ReleaseEntry, operation: Operation) -> Exclusion | None:
    """A prompt or parameter that could not be put into the request is refused, never left out."""
    if release.prompt is not None and operation not in CONVERSATIONS:
        return Exclusion(
            ErrorCode.OPERATION_NOT_SUPPORTED,
            "operation.no-prompt",
            f"the route's prompt {release.prompt.name!r} has no place in {operation.value}",
        )
    if misfits := without_place(operation, release.parameters):
        return Exclusion(
            ErrorCode.OPERATION_NOT_SUPPORTED,
            "operation.no-parameter",
            f"the route's {' and '.join(misfits)} has no place in {operation.value}",
        )
    return None


def _tools_in_the_way(version: ModelVersionEntry, release: ReleaseEntry, operation: Operation) -> Exclusion | None:
    """Tools that have no place in an operation, or that a model cannot call."""
    if release.tools is None or not release.tools.are_sent:
        return None
    if operation not in WITH_TOOLS:
        why = f"the route's tools have no place in {operation.value}"
    elif version.capabilities and Capability.TOOLS not in version.capabilities:
        why = f"{version.id} calls no tools, as its card says, and the route has some"
    else:
        return None
    return Exclusion(ErrorCode.OPERATION_NOT_SUPPORTED, "operation.no-tools", why)


def judge(
    version: ModelVersionEntry,
    dialects: tuple[Dialect, ...],
    environment_class: EnvironmentClass,
    operation: Operation,
    task: str,
    data_class: DataClass,
) -> Exclusion | None:
    """Whether one model version may serve such a call; None if it may.

    Source: design/governance.md §1 (status machine's effects), decisions 28 and 30.
    """
    excluded = _judge_status(version, environment_class)
    if excluded is not None:
        return excluded
    if task in version.prohibited_uses:
        return Exclusion(ErrorCode.USE_NOT_APPROVED, "use.prohibited", f"{version.id} must not serve task {task!r}")
    if version.approved_uses and task not in version.approved_uses:
        named = f"task {task!r}" if task else "a call without a task"
        return Exclusion(ErrorCode.USE_NOT_APPROVED, "use.not-approved", f"{version.id} is not approved for {named}")
    if is_above(data_class, version.data_classes):
        return Exclusion(
            ErrorCode.DATA_CLASS_REFUSED, "data-class.above-card", f"{version.id} may not see {data_class.value} data"
        )
    gap = operation_gap(operation, version.operations, dialects)
    if gap:
        return Exclusion(ErrorCode.OPERATION_NOT_SUPPORTED, "operation.not-offered", f"{version.id} {gap}")
    if OPERATION_DIALECT[operation] not in dialects:
        spoken = ", ".join(dialects)
        return Exclusion(
            ErrorCode.NOT_YET_SUPPORTED,
            "dialect.not-spoken",
            f"{version.id} speaks {spoken} and translation between dialects is not built yet",
        )
    return None


def _judge_status(version: ModelVersionEntry, environment_class: EnvironmentClass) -> Exclusion | None:
    match version.status:
        case ModelStatus.APPROVED | ModelStatus.DEPRECATED:
            return None
        case ModelStatus.TEST:
            if environment_class is EnvironmentClass.TEST:
                return None
            return Exclusion(
                ErrorCode.MODEL_NOT_APPROVED, "status.test", f"{version.id} is in status test and not approved for live"
            )
        case ModelStatus.RETIRED:
            return Exclusion(
                ErrorCode.MODEL_RETIRED,
                "status.retired",
                f"{version.id} is retired",
                successor=version.successor,
                version=version.id,
            )
        case ModelStatus.BLOCKED:
            return Exclusion(ErrorCode.MODEL_BLOCKED, "status.blocked", f"{version.id} is blocked")
