"""A person with a vendor's key: add the provider, see that it answers, get the first answer, see what it cost."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from openai import OpenAI

from lineclear.testing import proc
from lineclear.testing.keyboard import type_at
from lineclear.testing.platform import Platform
from lineclear.testing.upstream_process import UpstreamProcess

KEY = "sk-proj-0123456789-of-a-person"
NEW_KEY = "sk-proj-9876543210-of-a-person"
MODEL = "gpt-4o-mini"
"""The price file knows it; the vendor behind it is scripted."""


def test_from_a_key_to_a_cost_in_three_commands(tmp_path: Path, child_environment: Mapping[str, str]) -> None:
    with (
        UpstreamProcess(tmp_path / "vendor.jsonl") as vendor,
        Platform(tmp_path, environment=child_environment) as platform,
    ):
        vendor.account(KEY, [MODEL])
        place = ["--base-url", vendor.base_url, "--private-network"]
        add = [sys.executable, "-m", "lineclear", "providers", "add", "openai", *place, "--model", MODEL]
        answers = [("Key of OpenAI (not shown): ", KEY), ("[y/N]: ", "y")]
        code, shown = type_at([*add, "--data", str(platform.data_dir)], answers, child_environment)
        assert code == 0, shown
        assert KEY not in shown
        assert "Provider/openai create" in shown
        assert "lineclear providers test openai" in shown

        tested = platform.cli("providers", "test", "openai")
        assert tested.returncode == 0, tested.stderr
        assert "openai works in test with secret:openai: it answers and lists 1 model" in tested.stdout

        client = OpenAI(base_url=f"{platform.gateway_url}/v1", api_key=platform.keys["test"])
        raw = client.chat.completions.with_raw_response.create(
            model=MODEL, messages=[{"role": "user", "content": "Hello."}]
        )
        assert raw.parse().choices[0].message.content
        cost_usd = raw.headers["x-lineclear-cost-usd"]
        assert float(cost_usd) > 0

        def has_cost() -> bool:
            rows = platform.cli_json("usage", "--by", "route,model")["rows"]
            return [(row["route"], row["cost_usd"]) for row in rows] == [(MODEL, cost_usd)]

        platform.wait_for(has_cost, "the cost of the first answer")

        processes = {item["name"]: item for item in platform.cli_json("ps")["processes"]}
        assert {"control", "accountant", "gateway.0"} < processes.keys()
        for item in processes.values():
            assert item["pid"] in proc.descendants(platform.pid)
            assert item["rss_bytes"] > 1024 * 1024
            assert 0 < item["uptime_s"] < 300
        assert [item["replica"] for item in processes.values() if item["role"] == "runtime"] == [0]

        # A new key is in force for the very next call, and the old one is gone.
        vendor.account(NEW_KEY, [MODEL])
        assert platform.cli("secrets", "set", "openai", stdin=NEW_KEY + "\n").returncode == 0
        again = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Again."}])
        assert again.choices[0].message.content
        audit = json.dumps(platform.cli_json("audit", "list"))
        assert "secret/openai" in audit
        stored = [path.read_bytes() for path in platform.data_dir.rglob("*") if path.is_file()]
        for secret in (KEY, NEW_KEY):
            assert secret not in audit
            assert not any(secret.encode() in content for content in stored)
            assert secret not in platform.log_path.read_text()
