"""The gate: may a model version serve a call of this kind? Pure, so that compile, `admit` and `explain` agree."""

import msgspec

from lineclear.domain.capability import operation_gap
from lineclear.domain.catalogue import DataClass, EnvironmentClass, ModelStatus, data_class_rank
from lineclear.domain.errors import CallerError, ErrorCode, LineclearError, PlatformFault
from lineclear.domain.exchange import OPERATION_DIALECT, OPERATION_PATH, Dialect, Operation
from lineclear.domain.snapshot import ModelVersionEntry


class Exclusion(msgspec.Struct, frozen=True, gc=False):
    """Why a model version may not serve a call, with the rule that says so."""

    code: ErrorCode
    rule: str
    reason: str
    successor: str | None = None
    offered: tuple[Operation, ...] = ()
    """What the route can be asked instead."""

    def error(self, route: str) -> LineclearError:
        """The refusal of a call for which no model was left."""
        if self.code is ErrorCode.STOPPED:
            return PlatformFault(
                self.code,
                f"route {route!r} has no model left: {self.reason}",
                hint="ask whom the message names; `lineclear status` lists what is stopped",
                rules=(self.rule,),
            )
        paths = ", ".join(OPERATION_PATH[operation] for operation in self.offered)
        hint = {
            ErrorCode.MODEL_RETIRED: f"use {self.successor} instead" if self.successor else "ask the route's team",
            ErrorCode.USE_NOT_APPROVED: "use a route whose models are approved for this task",
            ErrorCode.OPERATION_NOT_SUPPORTED: f"this route answers POST {paths}" if paths else "ask the route's team",
            ErrorCode.DATA_CLASS_REFUSED: "use a route whose models may see this data, or send less sensitive data",
        }.get(self.code, "ask the route's team or its operator")
        return CallerError(
            self.code,
            f"route {route!r} has no model that may serve this call: {self.reason}",
            hint=hint,
            rules=(self.rule,),
            successor=self.successor,
        )


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
    if version.data_classes and data_class_rank(data_class) > max(map(data_class_rank, version.data_classes)):
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
                ErrorCode.MODEL_RETIRED, "status.retired", f"{version.id} is retired", successor=version.successor
            )
        case ModelStatus.BLOCKED:
            return Exclusion(ErrorCode.MODEL_BLOCKED, "status.blocked", f"{version.id} is blocked")
