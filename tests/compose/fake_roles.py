"""Small stand-ins for the roles, run by the real supervisor as `python fake_roles.py ROLE --life-fd N`.

Files in the data directory steer them: `<role>.fail` (text: report failed with it and exit 1), `<role>.mute`
(never become ready). Each appends `<part> <life> <event>` to `story`, and leaves its variables in `<role>.variables`.
"""

import asyncio
import hashlib
import json
import os
import socket
import sys
from pathlib import Path

from lineclear.base.log import configure_log
from lineclear.compose.life import Boot, Life, life_fd, read_boot


def publish(data_dir: Path, revision: int, runtimes: list[dict[str, object]]) -> None:
    """Writes a snapshot as far as the supervisor reads it."""
    sections = data_dir / "snapshot" / "sections"
    sections.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"runtimes": runtimes}).encode()
    digest = hashlib.sha256(content).hexdigest()
    (sections / digest).write_bytes(content)
    draft = data_dir / "snapshot" / "draft"
    draft.write_text(json.dumps({"epoch": 1, "revision": revision, "sections": {"runtimes": digest}}))
    draft.replace(data_dir / "snapshot" / "CURRENT")


def tell(boot: Boot, event: str) -> None:
    with (boot.data_dir / "story").open("a") as story:
        story.write(f"{boot.role}.{boot.slot} {boot.life} {event}\n")


def control_facts(boot: Boot) -> dict[str, object]:
    is_first = not (boot.data_dir / "snapshot" / "CURRENT").exists()
    if is_first:
        publish(boot.data_dir, 1, [{"name": "simulated", "model": "simulated@1"}])
    keys = {"test": "lc_test_x", "live": "lc_live_x"} if is_first else None
    return {"admin_url": boot.options["admin_url"], "keys": keys, "revision": 1}


async def answer(boot: Boot, connection: socket.socket) -> None:
    """One line in, `<life> <pid>` out, until the caller closes."""
    loop = asyncio.get_running_loop()
    with connection:
        while line := await loop.sock_recv(connection, 100):
            if line == b"slow\n":
                await asyncio.sleep(0.5)
            await loop.sock_sendall(connection, f"{boot.life} {os.getpid()}\n".encode())


class Gateway:
    """Accepts on the inherited listener until told to drain; what was accepted is answered to its end."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._listener = socket.socket(fileno=boot.listen_fds[0])
        self._listener.setblocking(False)
        self._running: set[asyncio.Task[None]] = set()
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            connection.setblocking(False)
            task = asyncio.get_running_loop().create_task(answer(self._boot, connection))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def drain(self) -> None:
        asyncio.get_running_loop().remove_reader(self._listener)
        self._accept()
        self._listener.close()
        if self._running:
            await asyncio.wait(self._running, timeout=5)


async def run(boot: Boot, life: Life) -> None:
    gateway = Gateway(boot) if boot.role == "gateway" else None
    facts = control_facts(boot) if boot.role == "control" else {}
    tell(boot, "ready")
    life.report("ready", facts=facts)
    await life.wait_eof()
    life.report("draining")
    if gateway is not None:
        await gateway.drain()
    tell(boot, "left")


def main() -> None:
    fd = life_fd(sys.argv[2:])
    boot = read_boot(fd)
    configure_log(f"{boot.role}.{boot.slot}", boot.log)
    life = Life(fd)
    tell(boot, "started")
    (boot.data_dir / f"{boot.role}.variables").write_text(json.dumps(dict(os.environ)))
    failure = boot.data_dir / f"{boot.role}.fail"
    if failure.exists():
        life.report("failed", failure.read_text())
        sys.exit(1)
    if (boot.data_dir / f"{boot.role}.mute").exists():
        asyncio.run(life.wait_eof())
        return
    asyncio.run(run(boot, life))


if __name__ == "__main__":
    main()
