"""A policy from its file to its hits: asked before a call, held at the gateway, counted in the ledger."""

import json
from dataclasses import replace
from pathlib import Path

from lineclear.testing import manifests
from lineclear.testing.load import chat_call
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

POLICY = {
    "kind": "Policy", "name": "careful",
    "rules": [
        {"id": "urgent-may", "when": {"tag": ["urgent"]}, "then": "allow"},
        {"id": "dear", "when": {"model": ["large"]}, "then": "deny", "description": "too dear"},
    ],
}  # fmt: skip


def documents(port: int) -> list[Document]:
    return [
        manifests.team(),
        manifests.provider("vendor", port),
        manifests.model("small", "vendor"),
        manifests.model("large", "vendor"),
        manifests.route("chat", "large", "small"),
        manifests.route("dear", "large"),
        POLICY,
    ]


def test_what_is_said_before_is_done_and_counted(tmp_path: Path) -> None:
    with Stage(tmp_path, documents) as stage:
        cli = stage.platform.cli
        body = tmp_path / "request.json"
        body.write_bytes(chat_call("", "dear", "hello").body)

        asked = cli("routes", "explain", str(body), "--app", "default", "-o", "json")
        assert asked.returncode == 8, asked.stderr
        said = json.loads(asked.stdout)
        refused = stage.call(chat_call(stage.key, "dear", "hello"))
        assert refused.status == 403
        error = json.loads(refused.body)["error"]
        assert (said["code"], said["message"], said["rules"]) == (error["code"], error["message"], error["rules"])

        urgent = cli("routes", "explain", str(body), "--app", "default", "--tag", "urgent")
        assert (urgent.returncode, "it would be served by large@1" in urgent.stdout) == (0, True), urgent.stdout
        call = chat_call(stage.key, "dear", "hello")
        tagged = replace(call, headers={**call.headers, "x-lineclear-tags": "urgent"})
        assert stage.call(tagged).headers["x-lineclear-policy"] == "policy.allow:careful/urgent-may"
        for _ in range(3):
            answer = stage.call(chat_call(stage.key, "chat", "hello"))
            assert answer.headers["x-lineclear-model"] == "small@1"

        hits = {one["rule"]: one for one in stage.platform.cli_json("policies", "list")["rules"]}
        assert (hits["dear"]["hits_7d"], hits["dear"]["refused_30d"]) == (4, 1)
        assert (hits["urgent-may"]["hits_30d"], hits["urgent-may"]["refused_30d"]) == (1, 0)
        assert hits["dear"]["last_hit_at"] is not None
        shown = cli("policies", "show", "careful").stdout
        assert "hits: 4 in 30 days, 1 of them refused" in shown

        outage = stage.platform.cli_json("routes", "simulate", "--down", "vendor")["routes"]
        assert {(one["route"], one["outcome"]) for one in outage} == {
            ("chat", "nothing_serves"), ("dear", "nothing_serves"),
        }  # fmt: skip


def test_data_that_an_environment_does_not_take_is_refused_from_the_next_call_on(tmp_path: Path) -> None:
    with Stage(tmp_path, documents) as stage:
        body = tmp_path / "request.json"
        body.write_bytes(chat_call("", "chat", "hello").body)
        plain = chat_call(stage.key, "chat", "hello")
        secret = replace(plain, headers={**plain.headers, "x-lineclear-data-class": "restricted"})
        assert stage.call(secret).status == 200
        live = {"kind": "Environment", "name": "live", "class": "live", "allowed_data_classes": ["internal"]}
        wish = tmp_path / "live.yaml"
        wish.write_text(manifests.text_of([live]))
        assert stage.platform.cli("apply", "-f", str(wish)).returncode == 0
        refused = stage.call(secret)
        error = json.loads(refused.body)["error"]
        assert (refused.status, error["code"], error["rules"]) == (
            403,
            "data_class_refused",
            ["environment.data-class"],
        )
        assert stage.call(plain).status == 200
        asked = stage.platform.cli(
            "routes", "explain", str(body), "--app", "default", "--data-class", "restricted", "-o", "json"
        )
        said = json.loads(asked.stdout)
        assert (asked.returncode, said["message"], said["rules"]) == (8, error["message"], error["rules"])
        told = stage.platform.cli_json("explain", error["request_id"])
        (row,) = [row for row in told["checks"] if row["verdict"] == "refused"]
        assert (row["check"], row["about"], row["rule"]) == ("data_class", "restricted", "environment.data-class")
