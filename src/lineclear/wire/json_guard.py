"""The one guard every JSON body passes before anybody reads it.

In: raw body bytes. Out: the plain tree that policy reads. Must not: repair, guess or rewrite anything.
Source: design decision 12; research/reliability-security.md rows C9, C10.
"""

import json
from typing import Any

import jiter

from lineclear.domain.errors import CallerError, ErrorCode

DEPTH_MAX = 64
KEYS_MAX = 100_000
"""Object keys in one body, all levels together."""
KEY_SHOWN_CHARS = 80
"""A key named in a message is cut here: it is the caller's text."""

_INFINITY = float("inf")


def guard(body: bytes, depth_max: int = DEPTH_MAX) -> dict[str, Any]:
    """Parse a body strictly; what comes back is exactly what every later reader will see.

    Values are plain JSON values, so `Any` stands for "whatever the caller put there".

    Raises:
        CallerError: `invalid_json` if it is not one JSON object in UTF-8, holds NaN, an infinite or oversized
            number or a lone surrogate, is nested deeper than `depth_max` or has more than `KEYS_MAX` keys;
            `duplicate_key` if an object at any depth names a key twice, `param` being the path to it.
    """
    try:
        tree = jiter.from_json(body, allow_inf_nan=False, cache_mode="keys", catch_duplicate_keys=True)
    except ValueError as error:
        raise _refusal(body, error) from error
    if type(tree) is not dict:
        raise CallerError(
            ErrorCode.INVALID_JSON,
            f"The body is a JSON {_json_type(tree)}; it has to be an object.",
            hint='Send a JSON object such as {"model": "…", "messages": […]}.',
        )
    _check_tree(tree, depth_max)
    return tree


def _check_tree(tree: dict[str, Any], depth_max: int) -> None:
    """What jiter has no option for: depth, number of keys, and numbers such as 1e999 that overflow."""
    level: list[Any] = [tree.values()]
    depth, keys = 0, len(tree)
    while level:
        depth += 1
        if depth > depth_max:
            raise CallerError(
                ErrorCode.INVALID_JSON,
                f"The body is nested deeper than {depth_max} levels.",
                hint="Flatten the structure; no model API needs such depth.",
            )
        below: list[Any] = []
        for values in level:
            for value in values:
                kind = type(value)
                if kind is str:
                    continue
                if kind is dict:
                    keys += len(value)
                    below.append(value.values())
                elif kind is list:
                    below.append(value)
                elif kind is float and (value == _INFINITY or value == -_INFINITY):
                    raise _overflow()
        level = below
    if keys > KEYS_MAX:
        raise CallerError(
            ErrorCode.INVALID_JSON,
            f"The body has {keys} object keys; at most {KEYS_MAX} are read.",
            hint="Split the request.",
        )


def _overflow() -> CallerError:
    return CallerError(
        ErrorCode.INVALID_JSON,
        "The body holds a number too large for a double, such as 1e999.",
        hint="Send finite numbers.",
    )


def _refusal(body: bytes, error: ValueError) -> CallerError:
    """Tell a duplicate key from broken JSON by parsing again without that rule, not by the message's text."""
    try:
        jiter.from_json(body, allow_inf_nan=False, cache_mode="none")
    except ValueError:
        return CallerError(
            ErrorCode.INVALID_JSON,
            f"The body is not valid JSON: {str(error)[:200]}.",
            hint="Send one JSON object in UTF-8, without NaN, comments or trailing commas.",
        )
    path = _duplicate_path(json.loads(body, object_pairs_hook=_Pairs))
    return CallerError(
        ErrorCode.DUPLICATE_KEY,
        f"The body names the key {path!r} twice; readers could disagree about which one counts.",
        hint="Send each key once.",
        param=path,
    )


class _Pairs(list[tuple[str, Any]]):
    """An object with its keys as they stood, duplicates included; lets an array stay a plain list."""


def _duplicate_path(tree: object) -> str:
    """The first doubled key as a path such as `messages.0.role`."""
    pending: list[tuple[str, object]] = [("", tree)]
    while pending:
        path, node = pending.pop(0)
        if isinstance(node, _Pairs):
            seen: set[str] = set()
            for key, value in node:
                here = f"{path}{key[:KEY_SHOWN_CHARS]}"
                if key in seen:
                    return here
                seen.add(key)
                pending.append((here + ".", value))
        elif isinstance(node, list):
            pending.extend((f"{path}{index}.", value) for index, value in enumerate(node))
    return ""


def _json_type(value: object) -> str:
    names = {list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")
