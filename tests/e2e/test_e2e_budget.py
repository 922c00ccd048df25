"""A strict budget for exactly 37 requests, hammered by 200 callers over four workers, gives exactly 37 answers."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from lineclear.testing import manifests
from lineclear.testing.load import chat_call, closed_loop
from lineclear.testing.manifests import Document
from lineclear.testing.stage import Stage

PAID = 37
CALLERS = 200
WORKERS = 4
PER_REQUEST_USD = "0.01"


def documents(port: int) -> list[Document]:
    budget = {"usd_per_month": "0.37", "mode": "strict"}
    price = {"input_per_mtok": "0", "output_per_mtok": "0", "per_request": PER_REQUEST_USD}
    return [
        manifests.team(),
        manifests.provider("vendor", port),
        manifests.model("fixed", "vendor", price=price),
        manifests.route("capped", "fixed", budget=budget),
    ]


def test_exactly_37_of_800(tmp_path: Path, child_environment: Mapping[str, str]) -> None:
    with Stage(tmp_path, documents, workers=WORKERS, environment=child_environment) as stage:
        report = asyncio.run(
            closed_loop(
                stage.platform.gateway_url,
                lambda number: chat_call(stage.key, "capped", f"{number} [[delay-ms=20]]"),
                connections=CALLERS,
                count=WORKERS * CALLERS,
            )
        )
        statuses = Counter(answer.status for answer in report.results)
        assert statuses == {200: PAID, 402: WORKERS * CALLERS - PAID}, report.failures
        refused = next(answer for answer in report.results if answer.status == 402)
        assert refused.json["error"]["code"] == "budget_exceeded"
        assert refused.headers["x-should-retry"] == "false"
        assert stage.upstream.facts()["dispatches"] == PAID
        rows = stage.platform.cli_json("usage", "--by", "route")["rows"]
        (row,) = [row for row in rows if row["route"] == "capped"]
        assert row["cost_usd"] == "0.370000000"
        stage.platform.kill("accountant")
        stage.platform.wait_for(lambda: stage.platform.processes("accountant"), "the accountant to be back")
        again = stage.call(chat_call(stage.key, "capped", "after the accountant's restart"))
        assert again.status in {402, 503}
        stage.platform.wait_for(
            lambda: stage.call(chat_call(stage.key, "capped", "once more")).status == 402, "a 402 again"
        )
        assert stage.upstream.facts()["dispatches"] == PAID
