"""A disk without room for control: changes are refused and nothing of them is done, and apps notice nothing.

Control's process is denied every byte that a file would grow by, as a full disk or a used-up quota would.
"""

import asyncio
import resource
from collections.abc import Iterator, Mapping

import pytest

from lineclear.testing import manifests
from lineclear.testing.load import chat_call, closed_loop
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

CALLS = 300


def documents(port: int) -> list[Document]:
    return [
        manifests.team(),
        manifests.app("shop"),
        manifests.provider("vendor", port),
        manifests.model("first", "vendor"),
        manifests.route("chat", "first"),
    ]


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("full")
    with Stage(directory, documents, workers=2, environment=child_environment) as stage:
        yield stage


def test_a_full_disk_stops_changes_and_no_call(stage: Stage) -> None:
    platform = stage.platform
    assert stage.call(chat_call(stage.key, "chat", "before")).status == 200
    before = platform.cli_json("keys", "list")["keys"]
    (control,) = platform.processes("control")
    room = resource.prlimit(control, resource.RLIMIT_FSIZE)
    resource.prlimit(control, resource.RLIMIT_FSIZE, (1, room[1]))

    team = stage.directory / "team.yaml"
    team.write_text("kind: Team\nname: another\n")
    changes = (("keys", "create", "--app", "shop", "-e", "live"), ("apply", "-f", str(team)), ("access", "add", "ann"))
    for words in changes:
        refused = platform.cli(*words)
        assert refused.returncode not in (0, 7), words
        assert "cannot be written" in refused.stderr or "unavailable" in refused.stderr, refused.stderr

    asked = [chat_call(stage.key, "chat", "hello"), chat_call(stage.key, "chat", "hello", stream=True)]
    load = closed_loop(platform.gateway_url, lambda number: asked[number % 2], connections=4, count=CALLS)
    report = asyncio.run(load)
    assert (report.failures, report.answered) == ({}, CALLS)
    assert platform.processes("control") == [control], "it lives on"

    resource.prlimit(control, resource.RLIMIT_FSIZE, room)
    assert platform.cli_json("keys", "list")["keys"] == before, "nothing of what was refused was done"
    assert platform.cli(*changes[1]).returncode == 0
    assert len(platform.cli_json("keys", "list")["keys"]) == len(before)
    assert platform.cli_json(*changes[0])["key"]
    assert platform.cli("audit", "verify").returncode == 0
    platform.wait_for(
        lambda: platform.check_ledger(stage.upstream.log_path)["ok"], "every call of meanwhile in the ledger"
    )
