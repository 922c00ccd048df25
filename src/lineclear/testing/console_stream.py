"""A page of the console that follows something, as its server sends it: events one by one.

In: a signed-in visitor, a path. Out: names and data of events. Standard library only.
"""

import http.client
from urllib.parse import urlsplit

from lineclear.testing.console_visitor import Visitor

EVENT_S = 60.0


class Stream:
    """A page that follows something."""

    def __init__(self, visitor: Visitor, path: str, place: str = "") -> None:
        self.place = ""
        parts = urlsplit(visitor.link)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=EVENT_S)
        cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        self._connection.request("GET", visitor.home + path, headers={"cookie": cookie, "last-event-id": place})
        self.response = self._connection.getresponse()

    def event(self) -> tuple[str, str]:
        """The next one's name and data."""
        name, data = "", []
        while True:
            line = self.response.readline().decode().rstrip("\n")
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("id: "):
                self.place = line.removeprefix("id: ")
            elif line.startswith("data: "):
                data.append(line.removeprefix("data: "))
            elif not line and name:
                return name, "\n".join(data)

    def rest(self) -> bytes:
        """Everything up to its end."""
        return self.response.read()

    def close(self) -> None:
        self.response.close()
        self._connection.close()
