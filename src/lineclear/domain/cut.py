"""Overrides that end open answers too: which they are, and what the callers of these answers are told. Pure."""

from typing import TypeAlias

from lineclear.domain.errors import CallerError, ErrorCode, LineclearError
from lineclear.domain.overrides import Block, OverrideEntry, Revoke, Stop
from lineclear.domain.snapshot import StopEntry
from lineclear.domain.stopped import stopped_error

Cutting: TypeAlias = Block | Revoke | Stop

KEY_REVOKED = "key.revoked"
"""The rule by which an answer ended with its key."""


def cutting(entry: OverrideEntry) -> Cutting | None:
    """The override, if it ends open answers; else None."""
    match entry.override:
        case Block() | Revoke() | Stop():
            return entry.override if entry.override.cut_streams else None
        case _:
            return None


def cut_error(entry: OverrideEntry, fact: Cutting) -> LineclearError:
    """Why an open answer ended: the code is the one that the next call gets."""
    match fact:
        case Revoke():
            return CallerError(
                ErrorCode.INVALID_API_KEY,
                "this API key was revoked, and its open answers were ended",
                hint="`lineclear keys create` makes another one",
                rules=(KEY_REVOKED,),
            )
        case Block(model=model):
            return CallerError(
                ErrorCode.MODEL_BLOCKED,
                f"{model} was blocked, and its open answers were ended",
                hint="send it again: other models of the route answer, if there are some",
                rules=("status.blocked",),
            )
        case Stop(scope=scope):
            return stopped_error(StopEntry(scope, entry.actor, entry.reason, entry.at_us))
