"""The real supervisor over the fake roles: `python fake_supervisor.py CONFIG-JSON`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from lineclear.compose.supervisor import main

HERE = Path(__file__).parent


def command_of(role: str) -> Sequence[str]:
    if role == "supervisor":
        return (sys.executable, __file__)
    return (sys.executable, str(HERE / "fake_roles.py"), role)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], command_of))
