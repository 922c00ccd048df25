"""CPU time of the codecs per request and per stream event; `python benchmarks/wire_codecs.py`.

Prints one line per operation: the best of several rounds, in µs of this process's CPU. Exits 1 if one of the
limits is passed that the design sets: 6 µs per OpenAI chunk, 5 µs per KB through the JSON guard.
"""

import gc
import json
import sys
import time
from collections.abc import Callable

from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.domain.exchange import Dialect, Started, TextDelta
from lineclear.wire.anthropic_messages import ANTHROPIC_MESSAGES
from lineclear.wire.codec import Patch
from lineclear.wire.json_guard import guard
from lineclear.wire.openai_chat import OPENAI_CHAT
from lineclear.wire.problems import problem

ROUNDS = 9
CALLS = 5_000
LIMITS_US = {"chunk": 6.0, "guard_per_kb": 5.0}

CHUNK = (
    b'data: {"id":"chatcmpl-DHd0mv3wqVnYfTqj7yPs","object":"chat.completion.chunk","created":1755000000,'
    b'"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_abc","choices":[{"index":0,'
    b'"delta":{"content":" hello"},"logprobs":null,"finish_reason":null}],"obfuscation":"abcdef"}\n\n'
)
DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":" hello world"}      }\n\n'
)
REQUEST = json.dumps(
    {
        "model": "support-chat",
        "messages": [
            {"role": "system", "content": "You are the support assistant. " * 6},
            {"role": "user", "content": "Where is my order? " * 40},
        ],
        "temperature": 0.7,
        "max_tokens": 100,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
).encode()
USAGE = {
    "prompt_tokens": 48,
    "completion_tokens": 14,
    "total_tokens": 62,
    "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 0},
    "completion_tokens_details": {"audio_tokens": 0, "reasoning_tokens": 0},
}
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1755000000,
        "model": "gpt-4o",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hello " * 100, "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }
).encode()


def cpu_us(call: Callable[[], object]) -> float:
    """µs of CPU per call, the best round."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time_ns()
        for _ in range(CALLS):
            call()
        best = min(best, (time.process_time_ns() - start) / CALLS / 1_000)
    return best


def main() -> int:
    gc.freeze()
    tree = guard(REQUEST)
    chunks = OPENAI_CHAT.stream_reader()
    deltas = ANTHROPIC_MESSAGES.stream_reader()
    writer = OPENAI_CHAT.stream_writer("r", "m", 0)
    writer.encode(Started("r", "m"))
    refused = CallerError(ErrorCode.RATE_LIMITED, "too many requests", retry_after_ms=10)
    measured = {
        "guard_per_kb": cpu_us(lambda: guard(REQUEST)) / (len(REQUEST) / 1024),
        "view": cpu_us(lambda: OPENAI_CHAT.view(tree, len(REQUEST))),
        "patch_model": cpu_us(lambda: OPENAI_CHAT.patch(REQUEST, tree, Patch("vendor-model"))),
        "chunk": cpu_us(lambda: chunks.feed(CHUNK)),
        "delta": cpu_us(lambda: deltas.feed(DELTA)),
        "read_whole": cpu_us(lambda: OPENAI_CHAT.read_whole(ANSWER)),
        "write_delta": cpu_us(lambda: writer.encode(TextDelta(" hello"))),
        "problem": cpu_us(lambda: problem(Dialect.OPENAI, refused, "req_1")),
    }
    slow = False
    for name, spent_us in measured.items():
        limit_us = LIMITS_US.get(name)
        too_slow = limit_us is not None and spent_us > limit_us
        slow = slow or too_slow
        print(
            f"{name:14} {spent_us:6.2f} µs"
            + (f"   limit {limit_us} µs" if limit_us else "")
            + (" TOO SLOW" if too_slow else "")
        )
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
