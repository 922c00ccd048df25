"""Open answers end with their key, app or model where that is asked, and only then; the books stay exact."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest

from lineclear.testing import manifests
from lineclear.testing.load import chat_call
from lineclear.testing.manifests import Document
from lineclear.testing.people import Person, person
from lineclear.testing.stage import Stage

END_S = 2.0
"""An answer has ended this long after the revocation was written. Source: design, governance §5."""
LONG = "tell me everything [[tokens=1500,event-delay-ms=20]]"
"""Half a minute: what ends before did not end by itself."""
SHORT = "tell me something [[tokens=100,event-delay-ms=20]]"
BUDGET = {"usd_per_month": "5", "mode": "strict"}


def documents(port: int) -> list[Document]:
    return [
        manifests.team(),
        manifests.app("shop", budget=BUDGET),
        manifests.app("desk"),
        manifests.provider("vendor", port, "openai"),
        manifests.provider("claude", port, "anthropic", path=""),
        manifests.model("chatty", "vendor"),
        manifests.model("talky", "claude"),
        manifests.model("spare", "vendor"),
        manifests.route("chat", "chatty", fallback=("spare",)),
        manifests.route("talk", "talky"),
    ]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, child_environment: Mapping[str, str]) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("cut"), documents, workers=2, environment=child_environment) as stage:
        yield stage


@pytest.fixture(scope="module")
def admin(stage: Stage) -> Person:
    return person(stage.platform, "ada", "admin", "viewer", "operator")


@dataclass
class Listening:
    """One stream as an application reads it with its vendor's SDK."""

    text: str = ""
    request_id: str = ""
    error: Any = None  # Any: the exception of either SDK
    ended_at: float = 0.0
    began: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def end(self, within_s: float) -> None:
        assert self.thread is not None
        self.thread.join(within_s)
        assert not self.thread.is_alive(), "the stream goes on"

    @property
    def is_open(self) -> bool:
        return self.thread is not None and self.thread.is_alive()

    @property
    def code(self) -> str:
        """The error's code, in the body that each SDK keeps."""
        body = self.error.body
        return str((body.get("error") or body)["code"])

    @property
    def body(self) -> dict[str, Any]:
        return dict(self.error.body.get("error") or self.error.body)


def openai_stream(stage: Stage, key: str, prompt: str) -> Listening:
    def read(listening: Listening) -> None:
        with (
            openai.OpenAI(base_url=stage.platform.gateway_url + "/v1", api_key=key, max_retries=0) as client,
            client.chat.completions.with_streaming_response.create(
                model="chat", messages=[{"role": "user", "content": prompt}], stream=True, max_tokens=3_000
            ) as raw,
        ):
            listening.request_id = raw.headers["x-request-id"]
            for chunk in raw.parse():
                if chunk.choices:
                    listening.text += chunk.choices[0].delta.content or ""
                listening.began.set()

    return listen(read, openai.APIError)


def anthropic_stream(stage: Stage, key: str, prompt: str) -> Listening:
    def read(listening: Listening) -> None:
        with anthropic.Anthropic(base_url=stage.platform.gateway_url, api_key=key, max_retries=0) as client:
            asked: Any = {"model": "talk", "max_tokens": 3_000, "messages": [{"role": "user", "content": prompt}]}
            with client.messages.stream(**asked) as stream:
                listening.request_id = stream.response.headers["x-request-id"]
                for text in stream.text_stream:
                    listening.text += text
                    listening.began.set()

    return listen(read, anthropic.APIError)


def listen(read: Any, errors: type[Exception]) -> Listening:
    listening = Listening()

    def run() -> None:
        try:
            read(listening)
        except errors as error:
            listening.error = error
        finally:
            listening.ended_at = time.time()
            listening.began.set()

    listening.thread = threading.Thread(target=run, daemon=True)
    listening.thread.start()
    assert listening.began.wait(20)
    assert listening.error is None, listening.error
    return listening


def new_key(stage: Stage, app: str = "shop") -> tuple[str, str]:
    made = stage.platform.cli_json("keys", "create", "--app", app, "--env", "live")
    return made["id"], made["key"]


def written_at(stage: Stage) -> float:
    """When the newest override was written, in unix seconds."""
    line = (stage.platform.data_dir / "overrides" / "journal").read_bytes().splitlines()[-1]
    return float(json.loads(line)["at_us"]) / 1e6


def demand_cut(stage: Stage, streams: list[Listening], code: str) -> None:
    """Each ended in time with this error, at a caller who has read a part and never a whole."""
    at = written_at(stage)
    for stream in streams:
        stream.end(END_S + 3)
        assert stream.error is not None
        assert stream.code == code
        assert stream.body["request_id"] == stream.request_id
        assert stream.body["hint"]
        assert stream.ended_at - at < END_S
        assert stream.text


def explained(stage: Stage, request_id: str) -> dict[str, Any]:
    stage.platform.wait_for(lambda: stage.platform.cli("explain", request_id).returncode == 0, "the ledger")
    return stage.explain(request_id)


def demand_books(stage: Stage, streams: list[Listening], app: str, outcome: str) -> None:
    """Each stream is billed for what went out, once, and what is billed is what is counted everywhere."""
    told = [explained(stage, stream.request_id) for stream in streams]
    for one, stream in zip(told, streams, strict=True):
        assert one["outcome"] == outcome
        # Nobody is billed for less than they read, nor for what was never sent: four bytes are a token.
        bound = -(-len(stream.text) // 4)
        assert Decimal(one["cost_usd"]) >= Decimal(bound) * Decimal(manifests.OUTPUT_PER_MTOK_USD) / 1_000_000
        assert Decimal(one["cost_usd"]) < Decimal("0.003")
    checked = stage.check_ledger()
    assert checked["ok"], checked
    (usage,) = stage.platform.cli_json("usage", "--by", "app", "--app", app)["rows"]
    rows = stage.platform.cli_json("logs", "--app", app, "--limit", "1000")
    assert Decimal(usage["cost_usd"]) == sum(Decimal(row["cost_usd"]) for row in rows)
    # The budget holds neither more nor less back: reservations of what was ended are given back to the last token.
    answer = stage.call(chat_call(new_key(stage)[1], "chat", "what is left?"))
    left = Decimal(answer.headers["x-lineclear-budget-remaining-usd"])
    spent = Decimal(usage["cost_usd"]) + Decimal(answer.headers["x-lineclear-cost-usd"])
    assert left == Decimal(BUDGET["usd_per_month"]) - spent


def test_a_revoked_keys_streams_end_in_both_sdks(stage: Stage) -> None:
    key_id, key = new_key(stage)
    _, other = new_key(stage, "desk")
    streams = [openai_stream(stage, key, LONG), anthropic_stream(stage, key, LONG)]
    bystander = openai_stream(stage, other, LONG)
    done = stage.platform.cli_json("keys", "revoke", key_id, "--cut-streams", "--reason", "leaked")
    assert (done["cut_streams"], done["gateways"]["silent"]) == (True, [])
    demand_cut(stage, streams, "invalid_api_key")
    assert stage.call(chat_call(key, "chat", "again")).status == 401
    assert bystander.is_open
    demand_books(stage, streams, "shop", "truncated")
    for stream in streams:
        told = stage.explain(stream.request_id)
        assert (told["error_code"], told["rules"]) == ("invalid_api_key", ["key.revoked"])
        assert len(stage.dispatches_of(stream.request_id)) == 1
    event = [one for one in stage.platform.cli_json("audit", "list")["events"] if one["object"] == f"key/{key_id}"][-1]
    assert event["reason"] == "leaked (open answers were ended)"
    stage.platform.cli_json("stop", "app:desk", "--cut-streams", "--reason", "the end of the test")
    demand_cut(stage, [bystander], "stopped")
    assert "by admin: the end of the test" in bystander.body["message"]
    stage.platform.cli_json("start", "app:desk")


def test_without_it_streams_run_to_their_end_and_can_be_ended_later(stage: Stage) -> None:
    key_id, key = new_key(stage)
    streams = [openai_stream(stage, key, SHORT), anthropic_stream(stage, key, SHORT)]
    late = openai_stream(stage, key, LONG)
    done = stage.platform.cli_json("keys", "revoke", key_id, "--reason", "rotated")
    assert done["cut_streams"] is False
    assert stage.call(chat_call(key, "chat", "again")).status == 401
    for stream in streams:
        stream.end(20)
        assert stream.error is None
        assert len(stream.text.split()) == 100
    assert late.is_open
    again = stage.platform.cli_json("keys", "revoke", key_id, "--cut-streams", "--reason", "it was not rotated")
    assert (again["app"], again["environment"]) == ("shop", "live")
    demand_cut(stage, [late], "invalid_api_key")
    demand_books(stage, streams, "shop", "ok")


def test_the_consoles_boxes_end_open_answers(stage: Stage, admin: Person) -> None:
    key_id, key = new_key(stage)
    stream = openai_stream(stage, key, LONG)
    assert 'name="cut_streams"' in admin.browser.get(f"/keys/{key_id}").text
    assert admin.sends(f"/keys/{key_id}/revoke", reason="leaked", cut_streams="yes").status == 303
    demand_cut(stage, [stream], "invalid_api_key")
    _, key = new_key(stage, "desk")
    ended, kept = openai_stream(stage, key, LONG), anthropic_stream(stage, key, LONG)
    assert admin.browser.get("/emergency").text.count('name="cut_streams"') == 3
    shown = admin.sends("/emergency/stop", scope="route:live/chat", reason="it lies", cut_streams="yes")
    assert "open answers are ended" in shown.text
    demand_cut(stage, [ended], "stopped")
    assert kept.is_open
    assert admin.sends("/emergency/start", scope="route:live/chat", reason="it does not").status == 200
    stage.platform.admin("POST", "/api/v1/stops", {"scope": "provider:claude", "cut_streams": True, "reason": "fire"})
    demand_cut(stage, [kept], "stopped")
    stage.platform.admin("POST", "/api/v1/starts", {"scope": "provider:claude"})


def test_with_the_database_unusable_streams_end_and_it_is_recorded_later(stage: Stage) -> None:
    key_id, key = new_key(stage)
    stream = anthropic_stream(stage, key, LONG)
    holding = "import sqlite3,sys,time\nc=sqlite3.connect(sys.argv[1],isolation_level=None)\n"
    holding += "c.execute('BEGIN IMMEDIATE')\nprint('held',flush=True)\ntime.sleep(600)"
    holder = subprocess.Popen(
        ["python3", "-c", holding, str(stage.platform.data_dir / "lineclear.db")], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        stage.platform.cli_json("keys", "revoke", key_id, "--reason", "leaked")
        assert stage.call(chat_call(key, "chat", "again")).status == 401
        assert stream.is_open
        # Nobody but the journal knows of the key any more that it was in force.
        done = stage.platform.cli_json("keys", "revoke", key_id, "--cut-streams", "--reason", "used by others")
        assert done["cut_streams"] is True
        demand_cut(stage, [stream], "invalid_api_key")
    finally:
        holder.kill()
        holder.communicate()
    stage.platform.wait_for(
        lambda: (
            [
                event["reason"]
                for event in stage.platform.cli_json("audit", "list")["events"]
                if event["object"] == f"key/{key_id}" and event["action"] == "key.revoked"
            ]
            == ["leaked", "used by others (open answers were ended)"]
        ),
        "both in the audit trail",
    )


def test_with_control_dead_a_blocked_models_streams_end_and_the_fallback_answers(stage: Stage) -> None:
    _, key = new_key(stage)
    streams = [openai_stream(stage, key, LONG)]
    kept = anthropic_stream(stage, key, LONG)
    (control,) = stage.platform.processes("control")
    os.kill(control, signal.SIGSTOP)
    try:
        blocked = stage.platform.cli("block", "chatty@1", "--cut-streams", "--reason", "bad weights")
        assert blocked.returncode == 0, blocked.stderr
        assert "override journal" in blocked.stderr
        demand_cut(stage, streams, "model_blocked")
        assert kept.is_open
        answer = stage.call(chat_call(key, "chat", "who is there?"))
        assert (answer.status, answer.headers["x-lineclear-model"]) == (200, "spare@1")
        stopped = stage.platform.cli("stop", "all", "--cut-streams", "--reason", "enough")
        assert stopped.returncode == 0, stopped.stderr
        demand_cut(stage, [kept], "stopped")
    finally:
        os.kill(control, signal.SIGKILL)
    stage.platform.wait_for(lambda: stage.platform.processes("control") not in ([], [control]), "a new control")
    stage.platform.cli_json("start", "all")
    demand_books(stage, [*streams, kept], "shop", "truncated")
    stage.platform.wait_for(
        lambda: any(
            event["action"] == "model.blocked" and event["reason"] == "bad weights (open answers were ended)"
            for event in stage.platform.cli_json("audit", "list")["events"]
        ),
        "the block in the audit trail",
    )
    assert stage.platform.cli("audit", "verify").returncode == 0


def test_the_pages_of_a_revoked_key_and_of_a_model_end_open_answers_too(stage: Stage, admin: Person) -> None:
    key_id, key = new_key(stage)
    _, other = new_key(stage, "desk")
    ended, kept = anthropic_stream(stage, key, LONG), anthropic_stream(stage, other, LONG)
    assert admin.sends(f"/keys/{key_id}/revoke", reason="rotated").status == 303
    assert "End its open answers" in admin.browser.get(f"/keys/{key_id}").text
    assert ended.is_open
    assert admin.sends(f"/keys/{key_id}/revoke", reason="not rotated", cut_streams="yes").status == 303
    demand_cut(stage, [ended], "invalid_api_key")
    assert admin.browser.get("/catalogue/talky").text.count('name="cut_streams"') == 1
    fields = {"model": "talky@1", "verb": "block", "reason": "it lies", "cut_streams": "yes"}
    assert admin.sends("/catalogue/talky/status", **fields).status == 303
    demand_cut(stage, [kept], "model_blocked")
