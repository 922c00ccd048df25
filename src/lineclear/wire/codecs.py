"""Which codec speaks for an operation.

In: an `Operation`. Out: its `Codec`. Must not: know anything else.
"""

from typing import Final

from lineclear.domain.exchange import Operation
from lineclear.wire.anthropic_messages import ANTHROPIC_COUNT_TOKENS, ANTHROPIC_MESSAGES
from lineclear.wire.codec import Codec
from lineclear.wire.openai_chat import OPENAI_CHAT
from lineclear.wire.openai_classify import OPENAI_CLASSIFY
from lineclear.wire.openai_completions import OPENAI_COMPLETIONS
from lineclear.wire.openai_embeddings import OPENAI_EMBEDDINGS

CODECS: Final[dict[Operation, Codec]] = {
    Operation.CHAT: OPENAI_CHAT,
    Operation.MESSAGES: ANTHROPIC_MESSAGES,
    Operation.COUNT_TOKENS: ANTHROPIC_COUNT_TOKENS,
    Operation.COMPLETIONS: OPENAI_COMPLETIONS,
    Operation.EMBEDDINGS: OPENAI_EMBEDDINGS,
    Operation.CLASSIFY: OPENAI_CLASSIFY,
}
"""Complete: a test holds it against `Operation`."""
