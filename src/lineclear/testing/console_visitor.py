"""A browser without a screen: cookies, redirects left alone, forms. Standard library only."""

import http.client
import http.cookies
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def location(self) -> str:
        return str(self.headers["location"])

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Visitor:
    """One browser on one server."""

    link: str
    """A sign-in link."""
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> str:
        """Path of the console."""
        return urlsplit(self.link).path.removesuffix("/sign-in")

    def sign_in(self) -> Answer:
        parts = urlsplit(self.link)
        return self.ask("GET", f"{parts.path}?{parts.query}")

    def get(self, path: str, **headers: str) -> Answer:
        """A page by its path below the console."""
        return self.ask("GET", self.home + path, **headers)

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Answer:
        given = {"content_type": "application/x-www-form-urlencoded", **headers}
        return self.ask("POST", self.home + path, urlencode(fields), **given)

    def form_token(self) -> str:
        """As the pages of this session carry it."""
        found = re.search(r'name="form_token" value="([0-9a-f]+)"', self.get("/").text)
        assert found is not None
        return found[1]

    def ask(self, method: str, target: str, body: str | None = None, **headers: str) -> Answer:
        parts = urlsplit(self.link)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        try:
            connection.request(method, target, body, sent)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read().decode())
        finally:
            connection.close()
        for line in answer.headers.get_all("set-cookie") or ():
            for name, morsel in http.cookies.SimpleCookie(line).items():
                self.cookies[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.cookies[name]
        return answer
