"""What can be asked of whom: engines, versions that say so themselves, dialects."""

import pytest

from lineclear.domain.capability import CONVERSATIONS, TEXT_OPERATIONS, engine_operations, operation_gap
from lineclear.domain.catalogue import Engine
from lineclear.domain.exchange import OPERATION_DIALECT, OPERATION_PATH, Dialect, Operation

BOTH = (Dialect.OPENAI, Dialect.ANTHROPIC)


def test_every_operation_has_a_dialect_and_a_path_of_its_own() -> None:
    assert set(OPERATION_DIALECT) == set(OPERATION_PATH) == set(Operation)
    assert len(set(OPERATION_PATH.values())) == len(Operation)


@pytest.mark.parametrize(
    ("engine", "settings", "operations"),
    [
        (Engine.SIMULATED, {}, tuple(Operation)),
        (Engine.GGUF, {}, TEXT_OPERATIONS),
        (Engine.GGUF, {"task": "generation"}, TEXT_OPERATIONS),
        (Engine.GGUF, {"task": "embeddings"}, (Operation.EMBEDDINGS,)),
        (Engine.ONNX, {}, (Operation.EMBEDDINGS,)),
        (Engine.ONNX, {"task": "classification"}, (Operation.CLASSIFY,)),
    ],
)
def test_an_engine_does_what_it_is_loaded_for(
    engine: Engine, settings: dict[str, int | str | bool], operations: tuple[Operation, ...]
) -> None:
    assert engine_operations(engine, settings) == operations


@pytest.mark.parametrize("operation", list(Operation))
def test_what_is_said_counts_and_else_the_dialect(operation: Operation) -> None:
    assert operation_gap(operation, None, BOTH) == ""
    assert operation_gap(operation, (operation,), BOTH) == ""
    assert operation_gap(operation, (), BOTH).endswith(f"not {operation.value}")
    other = next(dialect for dialect in Dialect if dialect is not OPERATION_DIALECT[operation])
    # A conversation has a counterpart in the other dialect: that is a translation not built, not a gap.
    assert (operation_gap(operation, None, (other,)) == "") is (operation in CONVERSATIONS)
