"""What every operation of the OpenAI dialect says in the same way: errors, the cost comment, stream usage.

In: errors, a cost, request trees. Out: bytes of this dialect. Must not: know one operation's answers.
Source: OpenAI API reference; research/protocols.md §3, §4.
"""

from typing import Any, Final

import msgspec

from lineclear.domain.errors import ErrorCode, LineclearError, PlatformFault
from lineclear.domain.exchange import Dialect
from lineclear.wire import codec
from lineclear.wire.native_errors import read_native_error
from lineclear.wire.problems import openai_error_body
from lineclear.wire.request_fields import flag, refused
from lineclear.wire.splice import encoded, join, top_level

_INCLUDE_USAGE = b'{"include_usage":true}'


class OpenAIDialect:
    """The part of a codec that all operations of this dialect share."""

    dialect: Final = Dialect.OPENAI

    def error_frame(self, error: LineclearError, request_id: str) -> bytes:
        """A `data:` event with an `error` object, which the official SDK raises; no `[DONE]` follows it."""
        return b"data: " + openai_error_body(error, request_id) + b"\n\n"

    def cost_comment(self, cost_text: str, basis: str) -> bytes:
        return codec.cost_comment(cost_text, basis)

    def read_error(self, body: bytes) -> tuple[str, str]:
        """See `codec.Codec.read_error`."""
        return read_native_error(body)


def wants_usage(tree: dict[str, Any]) -> bool:
    """Whether the caller asked for `stream_options.include_usage`."""
    options = tree.get("stream_options")
    if options is None:
        return False
    if type(options) is not dict:
        raise refused("stream_options", "has to be an object", 'Send {"include_usage": true} or leave it out.')
    return flag(options, "include_usage", "stream_options.include_usage")


def with_usage(tree: dict[str, Any], options: bytes | msgspec.Raw | None) -> bytes:
    """The caller's stream options with `include_usage` true and the others as they were."""
    if options is None or not tree.get("stream_options"):
        return _INCLUDE_USAGE
    inner = top_level(options)
    inner["include_usage"] = encoded(True)
    return join(inner)


def without_prompt(patch: codec.Patch) -> None:
    """For operations whose body has no place for a route's prompt.

    Raises:
        PlatformFault: if there is one; such a call is refused when the route is compiled.
    """
    if patch.prompt_text is not None:
        raise PlatformFault(ErrorCode.INTERNAL_ERROR, "a prompt reached an operation that carries none")
