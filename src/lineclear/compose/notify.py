"""Tells a service manager how the platform is, in the protocol of sd_notify(3).

In: assignments such as READY=1. Out: one datagram each. Standard library only. Must not fail or wait: a manager that
does not listen is its own problem.
"""

import logging
import socket

log = logging.getLogger(__name__)


class Notifier:
    """One manager's socket, or nobody's."""

    def __init__(self, address: str) -> None:
        """`address` is what NOTIFY_SOCKET says: a path, or a name after `@`; empty = nobody wants to know."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._last = ""

    def tell(self, *assignments: str) -> None:
        """Sends the assignments as one message."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as messenger:
                messenger.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            log.warning("the service manager could not be told", extra={"facts": {"error": str(error)}})

    def tell_status(self, text: str) -> None:
        """Sends one line for a person who asks the manager, if it is not the one sent before."""
        if text != self._last:
            self._last = text
            self.tell(f"STATUS={text}")
