"""Replaces processes one place at a time, so that no request is refused meanwhile.

In: a keeper and the part to renew. Out: a successor in its place, or the reason why the old process stays.
Standard library and base only.
"""

from lineclear.compose.child import Child
from lineclear.compose.keeper import STAGE_S, Keeper
from lineclear.compose.life import FAILED, READY, WAITING
from lineclear.compose.part import Part

START_S = 60.0
RUNTIME_START_S = 600.0
"""A runtime may have to read and warm a large model."""
IMPORT_S = 60.0


class RestartFailed(Exception):
    """A successor did not become ready; the message says why and what goes on."""


async def replace_all(keeper: Keeper) -> None:
    """Gateways, accountant, control, then runtimes: what reads a format is renewed before what writes it.

    Raises:
        RestartFailed: at the first part that cannot be renewed; those after it go on as they are.
    """
    for part in [part for part in keeper.parts.values() if part.role == "gateway"]:
        await replace_beside(keeper, part, START_S)
    await replace_after(keeper, keeper.parts["accountant"])
    await replace_after(keeper, keeper.parts["control"])
    for part in [part for part in keeper.parts.values() if part.role == "runtime" and part.is_wanted]:
        await replace_beside(keeper, part, RUNTIME_START_S)


async def replace_beside(keeper: Keeper, part: Part, start_s: float) -> None:
    """The successor takes the same socket and is ready before the old process stops accepting.

    Raises:
        RestartFailed: the successor did not become ready; the old one goes on.
    """
    async with part.renewing:
        await _replace_beside(keeper, part, start_s)


async def _replace_beside(keeper: Keeper, part: Part, start_s: float) -> None:
    if part.current is None:
        await _fill_empty(keeper, part, start_s)
        return
    successor = keeper.start(part)
    if successor is None:
        raise RestartFailed(f"no successor of {part.name} could be started: {part.last_end}")
    part.successor = successor
    keeper.boot(part, successor)
    await keeper.until(lambda: _is_decided(successor), start_s)
    if successor.state != READY:
        why = _why_not_ready(successor, start_s)
        _discard_successor(keeper, part, successor)
        old = "the old one goes on" if part.is_ready else "the old one is not ready either"
        raise RestartFailed(f"the successor of {part.name} did not become ready: {why}; {old}")
    _promote(keeper, part, successor)


async def _fill_empty(keeper: Keeper, part: Part, start_s: float) -> None:
    """Where nobody is left to be relieved, the next start is the new process."""
    keeper.fill(part)
    newcomer = part.current
    if newcomer is not None:
        await keeper.until(lambda: _is_decided(newcomer), start_s)
    if part.is_wanted and (newcomer is None or newcomer.state != READY):
        why = part.last_end if newcomer is None else _why_not_ready(newcomer, start_s)
        raise RestartFailed(f"{part.name} was down and did not become ready: {why}; it is tried again")


def _is_decided(child: Child) -> bool:
    """It is ready, or known never to be: one that says `failed` may take its time to end."""
    return child.state in (READY, FAILED) or not child.is_alive


def _why_not_ready(child: Child, start_s: float) -> str:
    if child.is_alive and child.state != FAILED:
        return f"still {child.state} after {start_s:g} s" + (f" ({child.reason})" if child.reason else "")
    ended = [] if child.is_alive else [child.exit_text()]
    return ": ".join([*ended, *filter(None, [child.end_reason])])


async def replace_after(keeper: Keeper, part: Part) -> None:
    """For what must not run twice: the successor is loaded and waits, the old one leaves, the successor begins.

    Raises:
        RestartFailed: the successor did not even load; the old one goes on. Or it did not become ready.
    """
    async with part.renewing:
        await _replace_after(keeper, part)


async def _replace_after(keeper: Keeper, part: Part) -> None:
    successor = keeper.start(part)
    if successor is None:
        raise RestartFailed(f"no successor of {part.name} could be started: {part.last_end}")
    part.successor = successor
    await keeper.until(lambda: successor.state == WAITING or not successor.is_alive, IMPORT_S)
    if successor.state != WAITING:
        _discard_successor(keeper, part, successor)
        raise RestartFailed(f"the successor of {part.name} could not load ({successor.exit_text()})")
    old = part.current
    if old is not None:
        keeper.let_go(part, old)
        await keeper.until(lambda: not old.is_alive, STAGE_S + 5)
    _promote(keeper, part, successor)
    keeper.boot(part, successor)
    await keeper.until(lambda: successor.state == READY or not successor.is_alive, START_S)
    if successor.state != READY:
        raise RestartFailed(f"the new {part.name} is not ready ({successor.state}: {successor.reason})")


def _promote(keeper: Keeper, part: Part, successor: Child) -> None:
    old, part.current, part.successor = part.current, successor, None
    if old is not None and not old.leaving:
        keeper.let_go(part, old)
    if not successor.is_alive:
        part.forget(successor)
        keeper.retry_later(part)


def _discard_successor(keeper: Keeper, part: Part, successor: Child) -> None:
    part.successor = None
    if successor.is_alive:
        successor.leaving = True
        part.leaving.append(successor)
        successor.kill()
    keeper.fill(part)
