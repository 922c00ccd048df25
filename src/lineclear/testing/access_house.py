"""An admin port with two teams and whoever a test lets in, each with a real token over real HTTP.

In: a directory. Out: clients by name, and what they were refused. Service accounts get their token from the admin;
people choose a password with their invitation and sign in with it.
"""

from pathlib import Path
from typing import Any

from lineclear.base.secret import Secret
from lineclear.client.admin import AdminClient, AdminError, path_of
from lineclear.serving.bundled import bundled_documents
from lineclear.testing.clock import TestClock
from lineclear.testing.control_plane import ControlPlane, ServedAPI

MANIFESTS = """
kind: Team
name: support
---
kind: Team
name: sales
---
kind: App
name: shop
team: support
routes: ["*"]
---
kind: App
name: crm
team: sales
routes: ["*"]
---
kind: Route
name: chat
team: support
environments:
  live: {targets: [{model: simulated@1}]}
  test: {targets: [{model: simulated@1}]}
---
kind: Route
name: mail
team: sales
environments:
  live: {targets: [{model: simulated@1}]}
"""
PASSWORD = "correct horse battery"


class AccessHouse:
    """A control plane whose callers are members of it."""

    def __init__(self, directory: Path) -> None:
        self.clock = TestClock()
        self.plane = ControlPlane(directory, clock=self.clock).start(bundled_documents(directory / "models"))
        self.plane.apply(MANIFESTS)
        self.served = ServedAPI(self.plane.endpoints(), self.plane.authenticate)
        self.admin = self.served.client()
        self._clients: dict[str, AdminClient] = {}

    def person(self, name: str, *grants: str) -> AdminClient:
        """A new person with these grants (`role` or `role scope`), signed in."""
        self.admin.post(path_of("members"), {"name": name})
        self.grant(name, *grants)
        invitation = self.admin.post(path_of("members", name, "invitation"), None)
        self.plane.access.passwords.choose(invitation["path"].partition("token=")[2], Secret(PASSWORD))
        return self.sign_in(name)

    def sign_in(self, name: str, password: str = PASSWORD) -> AdminClient:
        """Their client, with a token from signing in."""
        answer = self.served.client("nobody").post("/sign-in", {"name": name, "password": password})
        return self.served.client(answer["token"])

    def robot(self, name: str, *grants: str, team: str = "") -> AdminClient:
        """A new service account with these grants and a token."""
        self.admin.post(path_of("members"), {"name": name, "kind": "service", "team": team})
        self.grant(name, *grants)
        return self.served.client(self.admin.post(path_of("tokens"), {"principal": name})["token"])

    def grant(self, name: str, *grants: str) -> list[dict[str, Any]]:  # Any: nested JSON values
        """Give roles as the admin."""
        made = []
        for text in grants:
            role, _, scope = text.partition(" ")
            request = {"principal": name, "role": role, "scope": scope or "platform"}
            made.append(self.admin.post(path_of("grants"), request))
        return made

    def close(self) -> None:
        """End the port and the database."""
        self.served.close()
        self.plane.close()


def refusal(client: AdminClient, method: str, path: str, body: Any = None) -> tuple[int, str, str]:
    """Status, code and message of what a client is refused; (200, "", "") if it was answered."""
    try:
        if method == "GET":
            client.get(path)
        elif method == "DELETE":
            client.delete(path)
        else:
            client.post(path, body)
    except AdminError as error:
        return error.status, error.code, error.message
    return 200, "", ""
