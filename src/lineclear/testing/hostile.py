"""Text that tries to be more than text, wherever a person, an app or a vendor can leave some.

In: a directory. Out: manifests, calls and a vendor whose answers are full of it.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lineclear.testing import manifests
from lineclear.testing.browser_pages import PLANTED
from lineclear.testing.manifests import Document

SCRIPT = f"<script>window.{PLANTED}=1</script>"
TEXT = (
    f"{SCRIPT}\"'><img src=x onerror='window.{PLANTED}=1'><svg/onload=window.{PLANTED}=1> &lt;b&gt; "
    f"javascript:window.{PLANTED}=1 {{{{7*7}}}} {{% raw %}} ${{7*7}} \u202egnp.exe\u2066 </textarea></style></title> "
    + "w"
    * 300
)
"""Markup, an attribute's end, a scheme, template braces, direction marks, and a word without an end."""
LINE = TEXT.encode("ascii", "ignore").decode()
"""The same where only ASCII may stand."""
KEY = "hostile-key"
COMPARERS = "comparers"
"""A team whose budget lets it ask each case of two releases."""


def documents(port: int, stepped_tokens: int = 8) -> list[Document]:
    """Every kind with every free text full of it; other `stepped_tokens` begin a rollout."""
    names = ("first-" + "x" * 40, "second")
    models = [manifests.model(name, "vendor") for name in names]
    for model in models:
        model |= {"purpose": TEXT, "limitations": TEXT, "risks": TEXT}
    route = manifests.route("hostile/route:1", *names, fallback=["second"], environments=("live", "test"))
    return [
        manifests.team(description=TEXT, budget={"usd_per_month": "0.01"}),
        manifests.provider("vendor", port) | {"description": TEXT},
        *models,
        {"kind": "Prompt", "name": "voice", "text": "Be short.", "description": TEXT},
        route | {"description": TEXT},
        manifests.app("caller", purpose=TEXT, description=TEXT),
        manifests.app("idle"),
        {"kind": "Rollout", "name": "careful", "steps": [{"weight": {"percent": 10, "bake_s": 3600}}]},
        manifests.route("stepped", "second", rollout="careful", max_tokens=stepped_tokens),
        manifests.team(COMPARERS),
        manifests.app("comparer", COMPARERS),
        {
            "kind": "Route", "name": "compared", "team": COMPARERS,
            "environments": {
                environment: {"targets": [{"model": f"{name}@1"}]}
                for environment, name in zip(("live", "test"), names, strict=True)
            },
        },
        {
            "kind": "Policy", "name": "planted", "description": TEXT,
            "rules": [{"id": "tagged", "when": {"tag": [LINE[:60]]}, "then": "allow", "description": TEXT}],
        },
        {
            "kind": "Eval", "name": "planted", "team": COMPARERS, "app": "comparer", "dataset": "planted",
            "description": TEXT, "checks": [{"id": "asked", "judge": {"route": "simulated", "question": TEXT}}],
        },
    ]  # fmt: skip


def cases() -> str:
    """A dataset of it: what the vendor answers to it differs by model."""
    request = {"messages": [{"role": "user", "content": TEXT}]}
    return "\n".join(json.dumps({"id": f"{at} {LINE}"[:100], "request": request, "expected": TEXT}) for at in range(3))


class _Vendor(BaseHTTPRequestHandler):
    """Speaks the OpenAI dialect and means no good."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "fail" in json.dumps(body.get("messages")):
            self._say(400, {"error": {"message": TEXT, "type": TEXT, "code": TEXT, "param": TEXT}})
            return
        message = {"role": "assistant", "content": f"{TEXT} of {body.get('model')}"}
        self._say(
            200,
            {
                "id": TEXT,
                "object": "chat.completion",
                "created": 1,
                "model": TEXT,
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1000, "completion_tokens": 1000, "total_tokens": 2000},
            },
        )

    def do_GET(self) -> None:
        self._say(200, {"object": "list", "data": [{"id": TEXT, "object": "model"}]})

    def _say(self, status: int, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.send_header("x-request-id", LINE[:200])
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests have nothing to read here."""


@contextmanager
def vendor() -> Iterator[int]:
    """The vendor's port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Vendor)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
