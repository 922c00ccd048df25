"""People on a platform under test, each with the two doors a person has: the command line and the console.

In: a running platform, names, roles. Out: who they are, signed in at both doors with a password they chose themselves.
"""

import json
import subprocess
from dataclasses import dataclass
from typing import Any

from lineclear.testing.console_visitor import Answer, Visitor
from lineclear.testing.platform import Platform

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Person:
    """One person, signed in."""

    name: str
    platform: Platform
    token: str
    """Of the command line."""
    browser: Visitor

    def cli(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command as they type it."""
        return self.platform.cli(*words, "--url", self.platform.admin_url, "--token", self.token)

    def cli_json(self, *words: str, code: int = 0) -> Any:
        """What a command prints with `-o json`; it has to exit with `code`. Any: decoded JSON."""
        done = self.cli(*words, "-o", "json")
        assert done.returncode == code, f"{words} exited {done.returncode}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout or done.stderr)

    def sees(self, path: str) -> Any:
        """The JSON twin of a page. Any: decoded JSON."""
        bare, mark, query = path.partition("?")
        answer = self.browser.get(f"{bare}.json{mark}{query}")
        assert answer.status == 200, answer.text
        return answer.json()

    def sends(self, path: str, **fields: str) -> Answer:
        """A form of the console."""
        return self.browser.post(path, {"form_token": self.browser.form_token(), **fields})


def person(platform: Platform, name: str, *roles: str) -> Person:
    """A new person with these roles on the platform, who chose a password and signed in."""
    platform.admin("POST", "/api/v1/members", {"name": name})
    for role in roles:
        platform.admin("POST", "/api/v1/grants", {"principal": name, "role": role})
    invited = platform.cli_json("access", "invite", name)["url"].partition("token=")[2]
    browser = Visitor(f"{platform.admin_url}/console/sign-in")
    chosen = browser.post("/password", {"token": invited, "password": PASSWORD, "again": PASSWORD})
    assert chosen.status == 303, chosen.text
    assert browser.post("/sign-in", {"name": name, "password": PASSWORD}).status == 303
    token = platform.admin("POST", "/sign-in", {"name": name, "password": PASSWORD})["token"]
    return Person(name, platform, token, browser)
