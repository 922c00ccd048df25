"""What can be asked of a model version: the operations of its engine, or those that its provider's dialect spells.

In: an engine and its settings, an operation and dialects. Out: operations, or why one cannot be asked. Pure, so that
compile, `admit` and `explain` agree. It knows no route: what a route's release rules out is judged beside it.
"""

from collections.abc import Mapping
from typing import assert_never

from lineclear.domain.catalogue import Engine
from lineclear.domain.exchange import OPERATION_DIALECT, Dialect, Operation
from lineclear.domain.runtimes import CLASSIFICATION, EMBEDDINGS

CONVERSATIONS = frozenset({Operation.CHAT, Operation.MESSAGES, Operation.COUNT_TOKENS})
"""Operations that have a place for a route's prompt, and a counterpart in every dialect."""

TEXT_OPERATIONS = (Operation.CHAT, Operation.MESSAGES, Operation.COUNT_TOKENS, Operation.COMPLETIONS)


def engine_operations(engine: Engine, settings: Mapping[str, int | str | bool]) -> tuple[Operation, ...]:
    """What a hosted model version answers on its runtime's socket, by the setting `task` where there is a choice."""
    match engine:
        case Engine.SIMULATED:
            return tuple(Operation)
        case Engine.GGUF:
            return (Operation.EMBEDDINGS,) if settings.get("task") == EMBEDDINGS else TEXT_OPERATIONS
        case Engine.ONNX:
            return (Operation.CLASSIFY,) if settings.get("task") == CLASSIFICATION else (Operation.EMBEDDINGS,)
    assert_never(engine)


def askable_operations(offered: tuple[Operation, ...] | None, dialects: tuple[Dialect, ...]) -> tuple[Operation, ...]:
    """Every operation that can be asked of a target; arguments as of `operation_gap`."""
    return tuple(operation for operation in Operation if not operation_gap(operation, offered, dialects))


def operation_gap(operation: Operation, offered: tuple[Operation, ...] | None, dialects: tuple[Dialect, ...]) -> str:
    """What keeps a target from an operation that no translation could bring it; empty if nothing does.

    Args:
        operation: what is asked.
        offered: what the target does; None = whatever its dialects spell.
        dialects: what its provider speaks.
    """
    if offered is not None and operation not in offered:
        return f"does {', '.join(offered)}, not {operation.value}"
    if OPERATION_DIALECT[operation] not in dialects and operation not in CONVERSATIONS:
        return f"speaks {', '.join(dialects)}, which has no {operation.value}"
    return ""
