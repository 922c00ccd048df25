"""What a request may not ask of llama.cpp: fields that it would ignore in silence, and answers that it would not count.

In: an `EngineCall`. Out: nothing, or a refusal that names the field. It must not refuse what llama.cpp refuses itself.
Source: llama.cpp b6900 and later by experiment: `usage` of several answers is that of the first alone.
"""

from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.domain.exchange import Operation
from lineclear.serving.engine import EngineCall

IGNORED_IN_COMPLETIONS = {"echo": False, "suffix": "", "best_of": 1}
"""With any other value, an answer would not be what was asked for."""


def check_for_llama(call: EngineCall) -> None:
    """Lets a request pass that llama.cpp obeys whole.

    Raises:
        CallerError: `invalid_request` with the field at fault.
    """
    tree = call.tree
    if call.operation is Operation.COMPLETIONS:
        for name, default in IGNORED_IN_COMPLETIONS.items():
            if tree.get(name) not in (None, default):
                raise _refusal(name, f"this model does not know {name!r} in a completion", f"Leave {name} out.")
    if call.operation is Operation.EMBEDDINGS and tree.get("dimensions") is not None:
        raise _refusal("dimensions", "the vectors of this model have one length", "Leave dimensions out.")
    if call.view.choices > 1:
        param = "n" if tree.get("n") not in (None, 1) else "prompt"
        raise _refusal(
            param,
            f"this model counts the tokens of one answer at a time, and {call.view.choices} were asked for",
            "Send a request for each answer.",
        )


def _refusal(param: str, message: str, hint: str) -> CallerError:
    return CallerError(ErrorCode.INVALID_REQUEST, message, hint=hint, param=param)
