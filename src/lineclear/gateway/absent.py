"""What the data port says at a path where nothing is: not built yet, or meant otherwise.

In: a path. Out: the refusal, the nearest path first. A wrong base URL is the usual reason, so that is looked at before
spelling. Must not: know any handler.
"""

import difflib
from typing import Final

from lineclear.domain.errors import CallerError, ErrorCode
from lineclear.domain.exchange import OPERATION_PATH
from lineclear.gateway.deprecation import VERSION_PREFIX

POSTED: Final = (*OPERATION_PATH.values(), "/v1/requests/{id}/review")
ASKED: Final = (
    "/v1/models",
    "/v1/me",
    "/v1/requests/{id}",
    "/v1/routes/{route}/config",
    VERSION_PREFIX + "{name@version}",
    "/livez",
    "/readyz",
)
"""What can be asked with GET."""
WORDS: Final = {path: f"POST {path}" for path in POSTED} | {path: f"GET {path}" for path in ASKED}
PROBES: Final = {"/health": "/livez", "/healthz": "/livez", "/ping": "/livez", "/ready": "/readyz"}
"""What others call the probes."""
NOT_BUILT: Final = (
    (
        "/v2",
        "the Open Inference Protocol, which names its tensors, is not built yet",
        "text goes to POST /v1/embeddings or /v1/classify, numbers as nested lists to /v1/classify",
    ),
    (
        "/v1beta",
        "Gemini's own paths are not built yet",
        "a route is called with POST /v1/chat/completions or /v1/messages, whoever serves it",
    ),
    (
        "/v1/responses",
        "OpenAI's Responses API is not built yet",
        "call POST /v1/chat/completions; the official SDKs do so with `chat.completions.create`",
    ),
)
"""Path prefixes of dialects that are to come, each with what to call meanwhile."""
BASE_URL: Final = "OpenAI's clients take a base URL that ends in /v1, Anthropic's one without it. "
PATH_CHARS_SHOWN = 200
CLOSE_ENOUGH = 0.75
"""Likeness from which a path is offered; `/v1/chat` and `/v1/completions` are less alike."""


def absent(path: bytes) -> CallerError:
    """Why there is nothing, and what may have been meant."""
    shown = path[:PATH_CHARS_SHOWN].decode("latin-1")
    for prefix, message, hint in NOT_BUILT:
        if f"{shown}/".startswith(f"{prefix}/"):
            return CallerError(ErrorCode.NOT_YET_SUPPORTED, message, hint=hint)
    near, why = _nearest(shown)
    meant = f"; did you mean {WORDS[near]}?" if near else ""
    known = f"POST {', '.join(POSTED)}; GET {', '.join(ASKED)}. Else: the admin port."
    return CallerError(ErrorCode.NOT_FOUND, f"there is nothing at {shown!r}{meant}", hint=why + known)


def _nearest(path: str) -> tuple[str, str]:
    """The path that was meant and why it was missed, both empty where nothing is like it."""
    parts = [part for part in path.split("/") if part]
    for place in range(len(parts)):
        tail = "/" + "/".join(parts[place:])
        if tail in PROBES or tail in PROBES.values():
            return PROBES.get(tail, tail), ""
        if f"/v1{tail}" in WORDS:
            return f"/v1{tail}", "" if parts[:place] == ["v1"] else BASE_URL
    near = difflib.get_close_matches(path, WORDS, n=1, cutoff=CLOSE_ENOUGH)
    return (near[0] if near else ""), ""
