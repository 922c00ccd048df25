"""The poke: a datagram that says "look at the directory again". It carries nothing, so losing one loses little.

In: the run directory. Out: a wake-up at every listener, of a new snapshot or override alike. Must not be relied on
alone: listeners also look by themselves now and then.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from lineclear.handover.files import private_directory

POKE: Final = b"\x01"
DRAIN_MAX: Final = 64
SOCKET_PATH_BYTES_MAX: Final = 107
"""Source: unix(7), sun_path of 108 bytes with its terminator."""


def poke_directory(run_dir: Path) -> Path:
    return run_dir / "poke"


class PokeListener:
    """One process's ear: `run_dir/poke/<source>.sock`."""

    def __init__(self, run_dir: Path, source: str) -> None:
        """Binds the socket; a leftover of the same name is replaced."""
        self._path = private_directory(poke_directory(run_dir)) / f"{source}.sock"
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._loop: asyncio.AbstractEventLoop | None = None
        try:
            _through_directory(self._path, self._socket.bind)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> int:
        """Takes the waiting pokes (at most 64) and says how many there were."""
        for count in range(DRAIN_MAX):
            try:
                self._socket.recv(16)
            except BlockingIOError:
                return count
        return DRAIN_MAX

    def attach(self, loop: asyncio.AbstractEventLoop, on_poke: Callable[[], None]) -> None:
        """Calls `on_poke` in the loop, once for each burst of pokes."""

        def readable() -> None:
            if self.drain():
                on_poke()

        self._loop = loop
        loop.add_reader(self._socket.fileno(), readable)

    def close(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._path.unlink(missing_ok=True)


def poke_all(run_dir: Path) -> int:
    """Pokes every listener; removes sockets nobody listens on.

    Returns:
        How many were reached. One whose queue is full counts: it will look anyway.
    """
    directory = poke_directory(run_dir)
    if not directory.is_dir():
        return 0
    reached = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        for path in sorted(directory.glob("*.sock")):
            reached += _poke(sender, path)
    return reached


def _poke(sender: socket.socket, path: Path) -> bool:
    try:
        _through_directory(path, lambda address: sender.sendto(POKE, address))
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno == errno.ECONNREFUSED:
            with suppress(FileNotFoundError):
                path.unlink()
        elif error.errno != errno.ENOENT:
            raise
        return False
    return True


def _through_directory(path: Path, act: Callable[[str], object]) -> None:
    """Calls `act` with an address of this socket that fits into sun_path."""
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        act(str(path))
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        act(f"/proc/self/fd/{descriptor}/{path.name}")
    finally:
        os.close(descriptor)
