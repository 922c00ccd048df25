"""What callers and operators ask about requests while control comes and goes: nothing lost, inference unharmed."""

import http.client
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from lineclear.testing import manifests
from lineclear.testing.load import chat_call
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

LINE_S = 60.0
"""Longest wait for a line: control has to come back first, on a busy machine."""


def documents(port: int) -> list[Document]:
    return [
        manifests.team(),
        manifests.provider("vendor", port),
        manifests.model("target", "vendor"),
        manifests.route("chat", "target", budget={"usd_per_month": "10", "mode": "strict"}),
        manifests.app("other"),
    ]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("asked"), documents, environment=child_environment) as stage:
        yield stage


def get(stage: Stage, path: str, key: str) -> tuple[int, dict[str, str], Any]:
    url = urlsplit(stage.platform.gateway_url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=30.0)
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), json.loads(answer.read())
    finally:
        connection.close()


def ask(stage: Stage, text: str) -> str:
    """One good call; its id."""
    answer = stage.call(chat_call(stage.key, "chat", text))
    assert answer.failure == ""
    return answer.request_id


class Follower:
    """`lineclear logs -f` as a process, its lines as they come."""

    def __init__(self, stage: Stage, *arguments: str) -> None:
        command = [sys.executable, "-m", "lineclear", "logs", "-f", "--data", str(stage.platform.data_dir), *arguments]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=stage.platform.environment,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def line(self) -> str:
        """The next line."""
        return self._lines.get(timeout=LINE_S)

    def interrupt(self) -> tuple[int, list[str], str]:
        """Ctrl-C: exit code, what came besides the lines taken, and what it said on the side."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(LINE_S)
        self._reader.join(LINE_S)
        left = [self._lines.get_nowait() for _ in range(self._lines.qsize())]
        assert self.process.stderr is not None
        return code, left, self.process.stderr.read()

    def close(self) -> None:
        """End it, if it still runs, and let go of its pipes."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LINE_S)
        self._reader.join(LINE_S)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def follow(stage: Stage) -> Iterator[Any]:
    followers: list[Follower] = []

    def begin(*arguments: str) -> Follower:
        followers.append(Follower(stage, *arguments))
        return followers[-1]

    yield begin
    for follower in followers:
        follower.close()


def test_a_caller_learns_what_became_of_its_request_and_what_is_left(stage: Stage) -> None:
    request = ask(stage, "a letter")
    status, fields, found = get(stage, f"/v1/requests/{request}", stage.key)
    assert status == 200
    assert (found["id"], found["outcome"], found["model"]) == (request, "ok", "target@1")
    assert "decided" not in found
    assert fields["x-request-id"] not in ("", request)
    assert fields["x-lineclear-environment"] == "live"
    operators = stage.explain(request)
    told = {name: value for name, value in operators.items() if name in found and name != "summary"}
    assert {name: found[name] for name in told} == told
    assert operators["decided"]["changed_by"] == "up"
    other = stage.platform.cli_json("keys", "create", "--app", "other", "--env", "live")["key"]
    assert get(stage, f"/v1/requests/{request}", other)[0] == 404
    assert get(stage, f"/v1/requests/{request}", stage.platform.keys["test"])[0] == 404
    status, _, me = get(stage, "/v1/me", stage.key)
    assert (status, me["app"], me["environment"]) == (200, "default", "live")
    (budget,) = [row for row in me["budgets"] if row["account"] == "route:live/chat"]
    assert budget["remaining"] == "known"
    assert 0 < float(budget["usd_per_month"]) - float(budget["remaining_usd"]) < 0.01


def test_control_stopped_is_said_to_who_asks_and_harms_no_call(stage: Stage) -> None:
    before = ask(stage, "before")
    (control,) = stage.platform.processes("control")
    os.kill(control, signal.SIGSTOP)
    try:
        status, _, body = get(stage, f"/v1/requests/{before}", stage.key)
        assert (status, body["error"]["code"]) == (503, "control_unavailable")
        during = ask(stage, "without control")
        assert get(stage, "/v1/me", stage.key)[0] == 200
    finally:
        os.kill(control, signal.SIGCONT)
    assert get(stage, f"/v1/requests/{during}", stage.key)[0] == 200


def test_following_loses_and_doubles_nothing_over_a_restart_of_control(stage: Stage, follow: Any) -> None:
    earlier = ask(stage, "earlier")
    follower = follow("-o", "jsonl", "--route", "chat", "--limit", "1")
    assert json.loads(follower.line())["id"] == earlier
    sent = [ask(stage, "one")]
    seen = [json.loads(follower.line())["id"]]
    killed = stage.platform.kill("control")
    assert killed
    sent += [ask(stage, f"away {number}") for number in range(5)]
    stage.platform.wait_for(
        lambda: stage.platform.processes("control") not in ([], [killed]), "another control", LINE_S
    )
    sent += [ask(stage, f"back {number}") for number in range(5)]
    while len(seen) < len(sent):
        seen.append(json.loads(follower.line())["id"])
    assert seen == sent
    code, left, _ = follower.interrupt()
    assert (code, left) == (130, [])


def test_following_is_narrowed_and_aligned(stage: Stage, follow: Any) -> None:
    errors, table = follow("-o", "name", "--errors", "--limit", "1"), follow("--limit", "1", "--app", "default")
    head = table.line()
    assert head.startswith("AT ")
    wrong = stage.call(chat_call(stage.key, "no-such-route", "hello"))
    assert wrong.status == 404
    right = ask(stage, "hello")
    listed = errors.line().strip()
    while listed != wrong.request_id:
        listed = errors.line().strip()
    lines = [table.line() for _ in range(3)]
    place = head.index("OUTCOME")
    assert {line[place:].split()[0] for line in lines} <= {"ok", "refused"}
    assert right in lines[-1]
    assert all(line[head.index("ID") :].startswith("req_") for line in lines)
    code, left, said = errors.interrupt()
    assert (code, left) == (130, [])
    assert "Traceback" not in said
    assert table.interrupt()[0] == 130


def test_following_refuses_what_has_an_end(stage: Stage) -> None:
    for words in (["-o", "json"], ["-o", "yaml"], ["--before", "req_1"], ["--until", "1h"]):
        done = stage.platform.cli("logs", "-f", *words)
        assert done.returncode == 2, words


def test_logs_say_what_nothing_can_match(stage: Stage) -> None:
    wrong = stage.platform.cli("logs", "--before", "zzz")
    assert (wrong.returncode, "before: 'zzz' is no id of an exchange" in wrong.stderr) == (2, True)
    assert stage.platform.cli("logs", "--before", f"req_{0:028x}").returncode == 0
    unknown = stage.platform.cli("logs", "--app", "defautl")
    assert unknown.returncode == 0
    assert "there is no app 'defautl' now; did you mean 'default'?" in unknown.stderr
    assert "there is no app" not in stage.platform.cli("logs", "--app", "default").stderr


def test_explain_reads_as_a_page(stage: Stage) -> None:
    request = ask(stage, "a page")
    page = stage.platform.cli("explain", request).stdout
    for title in ("who asked", "what decided", "checks, in their order", "candidates, best first", "attempts", "cost"):
        assert f"\n{title}\n" in page
    assert "It was answered by target@1 of vendor; it took" in page
    assert "in force since" in page
    assert page.count("█") >= 1
    assert max(len(line) for line in page.splitlines() if not line.startswith("  Release ")) < 200
