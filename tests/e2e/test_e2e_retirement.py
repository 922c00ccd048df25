"""Journey 8: a version's vendor announces its end; callers are found, told and moved, then it is gone."""

import json
from pathlib import Path

from lineclear.testing import manifests
from lineclear.testing.load import chat_call
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage


def documents(port: int) -> list[Document]:
    return [
        manifests.team(),
        manifests.provider("vendor", port),
        manifests.model("small", "vendor"),
        manifests.model("large", "vendor"),
        manifests.route("chat", "small"),
    ]


def test_a_version_is_retired_step_by_step(tmp_path: Path) -> None:
    with Stage(tmp_path, documents) as stage:
        cli = stage.platform.cli
        answer = stage.call(chat_call(stage.key, "chat", "hello"))
        assert (answer.failure, "sunset" in answer.headers) == ("", False)

        # The vendor announces its end: in the file, as any fact of the card.
        file = tmp_path / "end.yaml"
        file.write_text(manifests.text_of([manifests.model("small", "vendor", end_of_life="2031-07-01")]))
        assert cli("apply", "-f", str(file)).returncode == 0
        told = stage.call(chat_call(stage.key, "chat", "hello"))
        assert told.headers["sunset"] == "Tue, 01 Jul 2031 00:00:00 GMT"

        # Who calls it?
        (row, *_) = stage.platform.cli_json("models", "inventory")["versions"]
        assert (row["model"], row["end_of_life"], row["requests"]) == ("small@1", "2031-07-01", 2)
        (caller,) = stage.platform.cli_json("models", "callers", "small@1")["callers"]
        assert (caller["app"], caller["environment"], len(caller["keys"])) == ("default", "live", 1)

        # They are told in every answer.
        done = cli("models", "deprecate", "small@1", "--successor", "large@1", "--sunset", "2031-06-01")
        assert done.returncode == 0, done.stderr
        warned = stage.call(chat_call(stage.key, "chat", "hello", stream=True))
        assert warned.headers["deprecation"].startswith("@")
        assert warned.headers["sunset"] == "Sun, 01 Jun 2031 00:00:00 GMT"
        assert 'rel="successor-version"' in warned.headers["link"]

        # It cannot go while they call, nor be named anew.
        refused = cli("models", "retire", "small@1", "-o", "json")
        assert refused.returncode == 6
        assert "default in live, 3 requests" in json.loads(refused.stderr or refused.stdout)["error"]["message"]
        new = tmp_path / "new.yaml"
        new.write_text(manifests.text_of([manifests.route("again", "small")]))
        again = cli("plan", "-f", str(new))
        assert again.returncode == 1
        assert "small@1 is deprecated and no new release may name it; name large@1 instead" in again.stderr

        # Their routes are moved; the calls go on.
        assert cli("models", "replace", "small@1", "large@1", "--dry-run").returncode == 3
        assert cli("models", "replace", "small@1", "large@1", "--yes").returncode == 0
        after = stage.call(chat_call(stage.key, "chat", "hello"))
        assert (after.headers["x-lineclear-model"], "sunset" in after.headers) == ("large@1", False)

        # Who called lately holds it until an approver says otherwise; then it is gone and says where to go.
        assert cli("models", "retire", "small@1").returncode == 6
        assert cli("models", "retire", "small@1", "--force", "--reason", "all have moved").returncode == 0
        assert stage.platform.cli_json("models", "inventory")["versions"]
        back = cli("plan", "-f", str(new))
        assert (back.returncode, "small@1 is retired" in back.stderr) == (1, True)
