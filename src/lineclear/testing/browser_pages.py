"""A signed-in page of a real browser that notes whatever it should not have seen.

In: a browser, a sign-in link. Out: pages, accessibility findings, violations of the content policy, requests to others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Response

WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation",
  (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""
PLANTED = "planted"
"""What hostile text sets on the window if any of it ever runs."""
ROUNDING_PX = 1

Scheme = Literal["light", "dark"]


@dataclass
class Visit:
    """One page of the browser on one server."""

    page: Page
    home: str
    """Address of the console, without a slash at its end."""
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> Response:
        """Open a page by its path below the console."""
        response = self.page.goto(self.home + path)
        assert response is not None
        return response

    def violations(self) -> list[str]:
        """What the content policy stopped, what ran that should not have, what the console complained of."""
        found = [str(one) for one in self.page.evaluate("window.violations")]
        if self.page.evaluate(f"window.{PLANTED} !== undefined"):
            found.append("planted text ran as a script")
        return [*found, *self.complaints]

    def strangers(self) -> list[str]:
        """Requests to any other place than this server."""
        return [url for url in self.asked if urlsplit(url).netloc != urlsplit(self.home).netloc]

    def findings(self, axe: str) -> list[str]:
        """What axe (its script's text) says against the page: rule, and where."""
        self.page.evaluate(axe)
        result: Any = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{rule['id']}: {node['target']} {node.get('failureSummary', '')}"
            for rule in result["violations"]
            for node in rule["nodes"]
        ]

    def overflow_px(self) -> int:
        """How much wider the page is than the window; tables of wide windows and charts scroll in themselves."""
        return max(0, int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth")) - ROUNDING_PX)

    def scrolling_tables(self) -> list[str]:
        """How the tables begin that are wider than their panel, those that are folded away too."""
        found: Any = self.page.evaluate(
            """(slack) => {
                 for (const folded of document.querySelectorAll("details:not([open])")) folded.open = true;
                 return [...document.querySelectorAll(".wide")]
                   .filter((box) => box.scrollWidth > box.clientWidth + slack)
                   .map((box) => box.innerText.slice(0, 60));
               }""",
            ROUNDING_PX,
        )
        return [str(one) for one in found]


@contextmanager
def visit(browser: Browser, link: str, *, width_px: int = 1440, scheme: Scheme = "light") -> Iterator[Visit]:
    """Sign in with a link; the page is closed at the end."""
    size: Any = {"width": width_px, "height": 900}
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce", timezone_id="UTC")
    context.add_init_script(WATCH)
    page = context.new_page()
    made = Visit(page, link.partition("/sign-in")[0])
    page.on("request", lambda request: made.asked.append(request.url))
    page.on("pageerror", lambda error: made.complaints.append(f"script error: {error}"))
    page.on("console", lambda message: made.complaints.append(message.text) if message.type == "error" else None)
    page.goto(link)
    try:
        yield made
    finally:
        context.close()
