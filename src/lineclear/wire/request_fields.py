"""Reads the few request fields that the walk needs, each with the refusal that names it.

In: the tree that `json_guard` returned. Out: typed values, None where the caller gave none. Must not:
check what only the target knows, such as the range of a temperature.
"""

from typing import Any

from lineclear.domain.errors import CallerError, ErrorCode

OUTPUT_TOKENS_MAX = 2**31 - 1
CHOICES_MAX = 128
"""Source: OpenAI API reference, chat completions, `n`."""
MODEL_CHARS_MAX = 512


def model_of(tree: dict[str, Any]) -> str:
    """The wire field `model`, never empty."""
    model = tree.get("model")
    if type(model) is not str or not model or len(model) > MODEL_CHARS_MAX:
        raise refused(
            "model",
            f"is missing or is not a text of 1 to {MODEL_CHARS_MAX} characters",
            "Name a route; GET /v1/models lists those that your key may call.",
        )
    return model


def is_stream(tree: dict[str, Any]) -> bool:
    """Whether the answer is to be streamed."""
    return flag(tree, "stream", "stream")


def flag(tree: dict[str, Any], name: str, param: str) -> bool:
    """A boolean that may be absent or null, both meaning false."""
    value = tree.get(name)
    if value is None or value is False:
        return False
    if value is True:
        return True
    raise refused(param, "has to be true or false", f"Send {name} as a JSON boolean.")


def whole_number(tree: dict[str, Any], name: str, most: int) -> int | None:
    """A whole number from 0 to `most`; None if absent or null."""
    value = tree.get(name)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= most:
        raise refused(
            name, f"has to be a whole number from 0 to {most}", f"Send {name} as a JSON integer, or leave it out."
        )
    return value


def require_messages(tree: dict[str, Any]) -> None:
    """`messages` has to be an array of objects; what stands in them is the target's to judge."""
    messages = tree.get("messages")
    if type(messages) is not list:
        raise refused(
            "messages", "is missing or is not an array", 'Send "messages": [{"role": "user", "content": "…"}].'
        )
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise refused(f"messages.{index}", "is not an object", 'Send {"role": "user", "content": "…"}.')


def refused(param: str, problem: str, hint: str) -> CallerError:
    """The error for a field that cannot be read."""
    return CallerError(ErrorCode.INVALID_REQUEST, f"The field {param!r} {problem}.", hint=hint, param=param)
