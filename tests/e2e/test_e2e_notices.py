"""Whoever really calls a route is told, signed, when it moves or is stopped; a receiver that is away loses nothing."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lineclear.testing import manifests
from lineclear.testing.hook_receiver import HookReceiver, Post
from lineclear.testing.load import chat_call
from lineclear.testing.mail_server import MailServer
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

KEY = "a-key-of-the-receiver"


def documents(port: int) -> list[Document]:
    return [
        manifests.team(),
        manifests.team("callers"),
        manifests.team("silent"),
        manifests.app("storefront", "callers"),
        manifests.app("never-calls", "silent"),
        manifests.provider("vendor", port),
        manifests.model("small", "vendor"),
        manifests.model("large", "vendor"),
        manifests.route("chat", "small"),
    ]


def apply(stage: Stage, *made: Document) -> None:
    file = stage.directory / "change.yaml"
    file.write_text(manifests.text_of(made))
    done = stage.platform.cli("apply", "-f", str(file))
    assert done.returncode == 0, done.stderr


def content(post: Post) -> dict[str, Any]:
    signed = f"{post.headers['webhook-id']}.{post.headers['webhook-timestamp']}.".encode() + post.body
    expected = base64.b64encode(hmac.new(KEY.encode(), signed, hashlib.sha256).digest()).decode()
    assert post.headers["webhook-signature"] == f"v1,{expected}"
    return dict(json.loads(post.body))


def test_callers_are_told_what_happens(tmp_path: Path, child_environment: Mapping[str, str]) -> None:
    with HookReceiver() as hook, MailServer() as mail:
        environment = {
            **child_environment,
            "LINECLEAR_NOTICES_PRIVATE_NETWORK": "1",
            "LINECLEAR_SMTP_URL": f"smtp://127.0.0.1:{mail.port}?tls=none",
        }
        with Stage(tmp_path, documents, environment=environment) as stage:
            cli, cli_json = stage.platform.cli, stage.platform.cli_json
            key = cli_json("keys", "create", "--app", "storefront", "--env", "live")["key"]
            assert stage.call(chat_call(key, "chat", "hello")).failure == ""
            assert cli("secrets", "set", "hook", stdin=KEY).returncode == 0
            apply(
                stage,
                manifests.team(
                    "callers",
                    notices=[
                        {"name": "hook", "webhook": f"{hook.url}/in", "secret": "secret:hook"},
                        {"name": "mail", "email": ["callers@callers.example"], "on": ["stop"]},
                    ],
                ),
                manifests.team("silent", notices=[{"name": "mail", "email": ["silent@silent.example"]}]),
            )

            # Somebody tries the channels first.
            tried = cli_json("notices", "test", "callers", "--channel", "hook")["deliveries"]
            assert [row["state"] for row in tried] == ["delivered"]
            assert content(hook.wait(1)[0])["type"] == "notice.test"

            # The receiver is away for a moment when another release comes; it is told all the same.
            hook.statuses = [503]
            apply(stage, manifests.route("chat", "large"))
            _, away, told = hook.wait(3)
            assert away.headers["webhook-id"] == told.headers["webhook-id"]
            release = content(told)["data"]
            assert (release["kind"], release["route"], release["changed"]) == ("release", "chat", ["targets"])
            assert (release["part"], release["apps"]) == ("caller", {"storefront": 1})

            # It is taken back, and stopped.
            assert cli("rollback", "chat", "-e", "live", "--reason", "worse answers").returncode == 0
            rollback = content(hook.wait(4)[3])["data"]
            assert (rollback["kind"], rollback["reason"]) == ("rollback", "worse answers")
            assert (rollback["before"], rollback["after"]) == (release["after"], release["before"])
            assert cli("stop", "route:live/chat", "--reason", "it leaks").returncode == 0
            assert content(hook.wait(5)[4])["data"]["title"].startswith("AI is stopped for route:live/chat")
            assert mail.arrived.wait(60)
            assert [letter.recipients for letter in mail.letters] == [["callers@callers.example"]]
            assert "it leaks" in mail.letters[0].message.get_content()

            # The inbox has all of it, until somebody takes note; who never calls has none of it.
            found = cli_json("notices", "list", "--team", "callers")["notices"]
            assert [notice["kind"] for notice in found] == ["stop", "rollback", "release"]
            assert cli_json("notices", "list", "--team", "silent", "--state", "all")["notices"] == []
            for notice in found:
                assert cli("notices", "ack", notice["id"]).returncode == 0
            assert cli_json("notices", "list", "--team", "callers")["notices"] == []
            shown = cli("notices", "show", found[2]["id"]).stdout
            assert "for callers (caller): storefront 1 requests in 30 days; " in shown
            assert "callers/hook delivered" in shown

            # The changelog knows how both releases behaved.
            assert cli("start", "route:live/chat").returncode == 0
            assert stage.call(chat_call(key, "chat", "hello")).failure == ""
            log = cli("releases", "changelog", "chat").stdout
            assert "targets:" in log
            assert "requests, errors 0.00%" in log


@pytest.mark.parametrize("url", ["http://mail", "smtp://h?tls=off"])
def test_a_mail_server_that_cannot_be_keeps_control_from_starting(
    tmp_path: Path, child_environment: Mapping[str, str], url: str
) -> None:
    environment = {**child_environment, "LINECLEAR_SMTP_URL": url}
    with pytest.raises(Exception, match="LINECLEAR_SMTP_URL"), Stage(tmp_path, documents, environment=environment):
        pass
