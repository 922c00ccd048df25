"""The golden sample: the one request that a model must answer before anybody else may ask it.

In: an engine and its settings. Out: what it answered, in words for the state `ready`, or the reason against it.
It asks as a caller would and must not know what the engine is.
"""

from typing import Any

import msgspec

from lineclear.domain.exchange import Finished, Operation, TextDelta
from lineclear.domain.runtimes import RuntimeSettings
from lineclear.serving.engine import CollectedOutlet, Engine, EngineCall, EngineRefused
from lineclear.serving.simulate import Directives
from lineclear.wire.codecs import CODECS
from lineclear.wire.json_guard import guard

GOLDEN_TOKENS = 16
NORM_SLACK = 1e-3
"""How far the length of a vector may be from 1."""
ORDER = (Operation.CHAT, Operation.EMBEDDINGS, Operation.CLASSIFY)
"""The first of these that an engine offers is asked."""


async def answer_golden(engine: Engine, settings: RuntimeSettings) -> str:
    """Asks the engine, and judges what it says.

    Returns:
        The outcome in words.

    Raises:
        EngineRefused: the answer is none, or not the expected one.
        LineclearError: the engine failed.
    """
    operation = next(operation for operation in ORDER if operation in engine.operations)
    outlet = CollectedOutlet()
    await engine.answer(golden_call(operation, settings.golden_prompt, engine.golden_input), outlet)
    if outlet.status != 200 or not outlet.complete:
        raise EngineRefused(f"the golden sample was not answered (status {outlet.status})")
    try:
        if operation is Operation.CHAT:
            return _judge_text(outlet.body, settings.golden_expect)
        item = msgspec.json.decode(outlet.body)["data"][0]
        if operation is Operation.EMBEDDINGS:
            return _judge_vector(item["embedding"])
        return _judge_label(item, settings.golden_expect)
    except (ValueError, LookupError, TypeError) as error:
        raise EngineRefused(f"the golden sample's answer cannot be read: {error}") from error


def golden_call(operation: Operation, prompt: str, given: object = None) -> EngineCall:
    """The warm-up's request: greedy, a few tokens; `given` stands for the prompt where a text is no input."""
    asked: dict[str, Any] = {"model": "golden"}
    if operation is Operation.CHAT:
        asked |= {"messages": [{"role": "user", "content": prompt}], "max_tokens": GOLDEN_TOKENS, "temperature": 0}
    else:
        asked |= {"input": prompt if given is None else given}
    body = msgspec.json.encode(asked)
    tree = guard(body)
    codec = CODECS[operation]
    return EngineCall(
        operation=operation,
        codec=codec,
        body=body,
        tree=tree,
        view=codec.view(tree, len(body)),
        request_id="golden",
        directives=Directives(),
    )


def _judge_text(body: bytes, expected: str) -> str:
    events = CODECS[Operation.CHAT].read_whole(body)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    if not text or not any(isinstance(event, Finished) for event in events):
        raise EngineRefused("the golden sample was answered without a text")
    if expected not in text:
        raise EngineRefused(f"the golden sample's answer does not contain {expected!r}")
    return f"the golden sample was answered in {len(text)} characters"


def _judge_vector(vector: list[float]) -> str:
    length = sum(value * value for value in vector) ** 0.5
    if abs(length - 1) > NORM_SLACK:
        raise EngineRefused(f"the golden sample's vector has length {length:.4f} and not 1")
    return f"the golden sample gave a vector of {len(vector)} dimensions"


def _judge_label(item: dict[str, Any], expected: str) -> str:
    if expected not in ("", item["label"]):
        raise EngineRefused(f"the golden sample was labelled {item['label']!r} and not {expected!r}")
    return f"the golden sample was labelled {item['label']!r}, one of {item['num_classes']}"
