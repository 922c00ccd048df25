"""Lets the supervisor become a newer program without letting go of anything: pid, children, sockets, lock.

In: the state of a running supervisor as plain values. Out: the same after `exec`. Standard library only.
"""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from lineclear.compose.child import Child
from lineclear.compose.part import Part

CHECK_S = 20.0
_HELD_BACK = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD}

State = dict[str, Any]
"""Plain JSON; Any because each reader below names the fields and their types itself."""


async def can_exec(command: Sequence[str]) -> bool:
    """Whether the installed supervisor loads at all; nothing is given up for one that does not."""
    process = await asyncio.create_subprocess_exec(*command, "--check", stdin=asyncio.subprocess.DEVNULL)
    try:
        return await asyncio.wait_for(process.wait(), CHECK_S) == 0
    except TimeoutError:
        process.kill()
        await process.wait()
        return False


def exec_anew(command: Sequence[str], state: State, fds: Iterable[int]) -> NoReturn:
    """Becomes `command --resume FD`. Signals that come meanwhile wait until `unblock_signals`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    carrier = os.memfd_create("lineclear-supervisor", 0)
    with os.fdopen(os.dup(carrier), "w", encoding="utf-8") as file:
        json.dump(state, file)
    for fd in fds:
        os.set_inheritable(fd, True)
    os.execv(command[0], [*command, "--resume", str(carrier)])  # noqa: S606 - no shell is wanted


def read_state(carrier: int) -> State:
    """What `exec_anew` left."""
    os.lseek(carrier, 0, os.SEEK_SET)
    with os.fdopen(carrier, "r", encoding="utf-8") as file:
        state: State = json.load(file)
    return state


def unblock_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)


def adopt_socket(fd: int) -> socket.socket:
    """An inherited socket, hidden again from children that are not handed it."""
    os.set_inheritable(fd, False)
    adopted = socket.socket(fileno=fd)
    adopted.setblocking(False)
    return adopted


def part_state(part: Part) -> State:
    """A part and its processes as plain values. A successor in the making is told to leave: it will be made again."""
    return {
        "name": part.name,
        "role": part.role,
        "slot": part.slot,
        "options": dict(part.options),
        "listeners": [listener.fileno() for listener in part.listeners],
        "current": None if part.current is None else _child_state(part.current),
        "leaving": [_child_state(child) for child in part.leaving],
        "lives": part.lives,
        "failures": part.failures,
        "last_end": part.last_end,
        "is_wanted": part.is_wanted,
    }


def part_of(state: State, listener_of: Callable[[int], socket.socket]) -> Part:
    """The part that `part_state` described."""
    return Part(
        name=state["name"],
        role=state["role"],
        slot=state["slot"],
        options=state["options"],
        listeners=tuple(listener_of(fd) for fd in state["listeners"]),
        current=None if state["current"] is None else _child_of(state["name"], state["role"], state["current"]),
        leaving=[_child_of(state["name"], state["role"], child) for child in state["leaving"]],
        lives=state["lives"],
        failures=state["failures"],
        last_end=state["last_end"],
        is_wanted=state["is_wanted"],
    )


def life_fds(parts: Iterable[Part]) -> list[int]:
    """The life sockets that must survive the exec: closing one would tell its child to drain."""
    children = [child for part in parts for child in part.children()]
    return [child.life_socket.fileno() for child in children if child.life_socket is not None]


def _child_state(child: Child) -> State:
    return {
        "life": child.life,
        "pid": child.pid,
        "start_ticks": child.start_ticks,
        "life_fd": None if child.life_socket is None else child.life_socket.fileno(),
        "state": child.state,
        "reason": child.reason,
        "facts": dict(child.facts),
        "ready_ns": child.ready_ns,
        "leaving": child.leaving,
        "is_booted": child.is_booted,
        "unread": child.unread.hex(),
    }


def _child_of(part: str, role: str, state: Mapping[str, Any]) -> Child:
    life_fd = state["life_fd"]
    return Child(
        part=part,
        role=role,
        life=state["life"],
        pid=state["pid"],
        start_ticks=state["start_ticks"],
        life_socket=None if life_fd is None else adopt_socket(life_fd),
        state=state["state"],
        reason=state["reason"],
        facts=state["facts"],
        ready_ns=state["ready_ns"],
        leaving=state["leaving"],
        is_booted=state.get("is_booted", True),
        unread=bytes.fromhex(state["unread"]),
    )
