"""An accountant process for tests, without a supervisor: started, killed and started again.

In: a data directory with a published snapshot of limits. Out: the process under test, ready.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec

from lineclear.base.log import LogChoice
from lineclear.base.seal import Keys
from lineclear.compose.life import Boot
from lineclear.domain.snapshot import AccountLimits, LimitsSection
from lineclear.handover.snapshot_dir import SnapshotWriter

MASTER_KEY = bytes(range(32))


def publish_limits(data_dir: Path, revision: int, limits: dict[str, AccountLimits]) -> None:
    writer = SnapshotWriter(data_dir / "snapshot", Keys(MASTER_KEY))
    writer.publish({"limits": msgspec.json.encode(LimitsSection(limits))}, {}, revision, 1)


class AccountantProcess:
    """One life of the role, as the supervisor would start it."""

    def __init__(self, data_dir: Path) -> None:
        self.run_dir = data_dir / "run"
        self.run_dir.mkdir(exist_ok=True)
        ours, theirs = socket.socketpair()
        self._life = ours
        self._life.settimeout(20)
        boot = Boot(
            role="accountant",
            data_dir=data_dir,
            run_dir=self.run_dir,
            node="local",
            boot_id="b0",
            slot=0,
            life=1,
            listen_fds=(),
            master_key=MASTER_KEY,
            log=LogChoice("json", "warning"),
            workers=4,
            options={},
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lineclear.compose.accountant", "--life-fd", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
        )
        theirs.close()
        self._life.sendall(boot.to_line())
        self._unread = b""

    @property
    def socket_path(self) -> Path:
        return self.run_dir / "accountant.sock"

    def until(self, state: str) -> dict[str, object]:
        """Waits for a status; its facts and reason."""
        while True:
            while b"\n" not in self._unread:
                part = self._life.recv(65536)
                assert part, f"the accountant ended before it was {state}: {self.stderr()}"
                self._unread += part
            line, self._unread = self._unread.split(b"\n", 1)
            status = json.loads(line)
            if status["state"] == state:
                return {"reason": status["reason"], **status["facts"]}

    def stop_clock(self, *, stopped: bool) -> None:
        """Makes it hang, or go on."""
        os.kill(self._process.pid, signal.SIGSTOP if stopped else signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def drain(self) -> int:
        """Closes the life pipe; its exit code."""
        self._life.shutdown(socket.SHUT_WR)
        return self._end()

    def stderr(self) -> str:
        assert self._process.stderr is not None
        return self._process.stderr.read().decode()

    def _end(self) -> int:
        code = self._process.wait(20)
        self._life.close()
        if self._process.stderr is not None:
            self._process.stderr.close()
        return code
