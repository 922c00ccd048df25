"""Deterministic answers of a scripted upstream in both dialects, built without the product's own codecs.

In: a path, a request's JSON and a Script. Out: usage, a whole body, or a stream's frames.
The same request and script always give the same bytes, so tests can compare them.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from lineclear.testing.item_answers import CLASSIFY, EMBEDDINGS, item_answer
from lineclear.testing.script import Script

OPENAI = "openai"
ANTHROPIC = "anthropic"
COMPLETIONS = "completions"
CREATED = 1_700_000_000
"""A fixed `created` keeps answers equal from run to run."""


@dataclass(frozen=True)
class Stream:
    """A stream's frames in the order they are sent."""

    preamble: tuple[bytes, ...]
    content: tuple[bytes, ...]
    closing: tuple[bytes, ...]
    """Stop reason and usage."""
    terminator: bytes


@dataclass(frozen=True)
class Asked:
    """What the upstream reads of a request."""

    dialect: str
    model: str
    stream: bool
    include_usage: bool
    input_tokens: int
    answer_id: str
    kind: str
    """The last part of the path: what is asked."""
    tree: dict[str, Any]

    @property
    def puts_out_tokens(self) -> bool:
        """Whether words come back, and not vectors or labels."""
        return self.kind not in (EMBEDDINGS, CLASSIFY)


def read_request(path: str, body: bytes) -> Asked:
    """Facts of a request body; a body that is not a JSON object counts as empty."""
    try:
        tree: Any = json.loads(body)
    except ValueError:
        tree = {}
    if not isinstance(tree, dict):
        tree = {}
    options = tree.get("stream_options") or {}
    said = tree.get("messages") or tree.get("prompt") or tree.get("input") or []
    text = json.dumps(said, sort_keys=True)
    kind = path.strip("/").rpartition("v1/")[2]
    return Asked(
        dialect=ANTHROPIC if "messages" in kind else OPENAI,
        model=str(tree.get("model", "")),
        stream=tree.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        input_tokens=1 + len(text) // 4,
        answer_id=hashlib.sha256(text.encode()).hexdigest()[:20],
        kind=kind,
        tree=tree,
    )


def token_text(index: int, script: Script) -> str:
    """The text of one token, e.g. `w7 `, or one piece of the script's own text."""
    if script.text:
        chars = -(-len(script.text) // max(1, script.tokens))
        return script.text[index * chars : (index + 1) * chars]
    return f"w{index} ".ljust(script.token_bytes)


def answer_text(script: Script) -> str:
    """The whole text of an answer."""
    return "".join(token_text(index, script) for index in range(script.tokens))


def whole_answer(asked: Asked, script: Script) -> bytes:
    """The body of a whole answer."""
    if not asked.puts_out_tokens:
        return item_answer(asked.kind, asked.tree, asked.input_tokens, no_usage=script.no_usage)
    text = answer_text(script)
    if asked.dialect == ANTHROPIC:
        tree: dict[str, Any] = {
            "id": f"msg_{asked.answer_id}",
            "type": "message",
            "role": "assistant",
            "model": asked.model,
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": _anthropic_usage(asked, script.tokens),
        }
    elif asked.kind == COMPLETIONS:
        tree = {
            "id": f"cmpl-{asked.answer_id}",
            "object": "text_completion",
            "created": CREATED,
            "model": asked.model,
            "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}],
            "usage": _openai_usage(asked, script.tokens),
        }
    else:
        tree = {
            "id": f"chatcmpl-{asked.answer_id}",
            "object": "chat.completion",
            "created": CREATED,
            "model": asked.model,
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"},
            ],
            "usage": _openai_usage(asked, script.tokens),
        }
    if script.no_usage:
        del tree["usage"]
    return json.dumps(tree).encode()


def stream_answer(asked: Asked, script: Script) -> Stream:
    """The frames of a streamed answer."""
    if asked.kind == COMPLETIONS:
        return _completion_stream(asked, script)
    return _anthropic_stream(asked, script) if asked.dialect == ANTHROPIC else _openai_stream(asked, script)


def error_body(dialect: str, status: int, error_type: str) -> bytes:
    """A vendor's error body for a status."""
    kind = error_type or _ERROR_TYPES.get(status, "server_error")
    message = f"scripted upstream says {status}"
    if dialect == ANTHROPIC:
        return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": kind}}).encode()


def error_frame(dialect: str) -> bytes:
    """An error reported inside a stream."""
    if dialect == ANTHROPIC:
        tree = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        return _anthropic_frame(tree)
    return _openai_frame({"error": {"message": "The server had an error", "type": "server_error", "code": None}})


def malformed_frame(dialect: str) -> bytes:
    """One event whose data is not JSON."""
    start = b"event: content_block_delta\n" if dialect == ANTHROPIC else b""
    return start + b'data: {"broken": \n\n'


_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


def _openai_usage(asked: Asked, tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": asked.input_tokens,
        "completion_tokens": tokens,
        "total_tokens": asked.input_tokens + tokens,
    }


def _anthropic_usage(asked: Asked, tokens: int) -> dict[str, int]:
    return {
        "input_tokens": asked.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": tokens,
    }


def _openai_stream(asked: Asked, script: Script) -> Stream:
    base = {
        "id": f"chatcmpl-{asked.answer_id}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": asked.model,
    }

    def chunk(delta: dict[str, str], finish: str | None) -> bytes:
        return _openai_frame({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    closing = [chunk({}, "stop")]
    if asked.include_usage and not script.no_usage:
        closing.append(_openai_frame({**base, "choices": [], "usage": _openai_usage(asked, script.tokens)}))
    return Stream(
        preamble=(chunk({"role": "assistant", "content": ""}, None),),
        content=tuple(chunk({"content": token_text(i, script)}, None) for i in range(script.tokens)),
        closing=tuple(closing),
        terminator=b"data: [DONE]\n\n",
    )


def _completion_stream(asked: Asked, script: Script) -> Stream:
    base = {
        "id": f"cmpl-{asked.answer_id}",
        "object": "text_completion",
        "created": CREATED,
        "model": asked.model,
    }

    def chunk(text: str, finish: str | None) -> bytes:
        return _openai_frame({**base, "choices": [{"index": 0, "text": text, "finish_reason": finish}]})

    closing = [chunk("", "stop")]
    if asked.include_usage and not script.no_usage:
        closing.append(_openai_frame({**base, "choices": [], "usage": _openai_usage(asked, script.tokens)}))
    return Stream(
        preamble=(),
        content=tuple(chunk(token_text(i, script), None) for i in range(script.tokens)),
        closing=tuple(closing),
        terminator=b"data: [DONE]\n\n",
    )


def _anthropic_stream(asked: Asked, script: Script) -> Stream:
    message: dict[str, Any] = {
        "id": f"msg_{asked.answer_id}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _anthropic_usage(asked, 1),
    }
    delta: dict[str, Any] = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": script.tokens},
    }
    if script.no_usage:
        del message["usage"], delta["usage"]
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    return Stream(
        preamble=(
            _anthropic_frame({"type": "message_start", "message": message}),
            _anthropic_frame(block),
            _anthropic_frame({"type": "ping"}),
        ),
        content=tuple(
            _anthropic_frame(
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "text_delta", "text": token_text(i, script)},
                }
            )
            for i in range(script.tokens)
        ),
        closing=(_anthropic_frame({"type": "content_block_stop", "index": 0}), _anthropic_frame(delta)),
        terminator=_anthropic_frame({"type": "message_stop"}),
    )


def _openai_frame(tree: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(tree).encode() + b"\n\n"


def _anthropic_frame(tree: dict[str, Any]) -> bytes:
    return f"event: {tree['type']}\ndata: {json.dumps(tree)}\n\n".encode()
