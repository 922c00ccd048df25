"""The page of a request and lines that come one by one: aligned, whole, and steering no terminal."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from lineclear.base.clock import Clock
from lineclear.cli.explain import page_lines
from lineclear.cli.logs import COLUMNS, WIDTHS
from lineclear.cli.output import Format, Output
from lineclear.cli.stream import RowStream
from lineclear.cli.waterfall import BAR_CHARS, spans_of, waterfall_lines
from lineclear.control.endpoint import Call
from lineclear.control.ingest.ingest import Ingest
from lineclear.control.ledger.http import LedgerDesk
from lineclear.domain.money import Price
from lineclear.store.ledger import Ledger
from lineclear.testing.control_plane import TESTER
from lineclear.testing.records import Spool, exchange_id, intent, refusal, settle

HOSTILE = "\x1b]0;owned\x07\x1b[2Jre\u202ed"
ROW = {"at": "2026-11-22T05:37:36.583Z", "id": "req_1", "app": "shop", "status": 200, "cost_usd": "0.000000001"}


def explained(tmp_path: Path, number: int, *records: Any) -> dict[str, Any]:
    """What the API says of a request of these records."""
    spool = Spool(tmp_path / "spool")
    clock: Clock = spool.clock
    ledger = Ledger.open(tmp_path / "ledger")
    price = Price(version="manifest", input_per_mtok=150_000_000, output_per_mtok=600_000_000)
    try:
        spool.write(*records)
        ingest = Ingest(ledger, spool.directory, clock, accountant_positions=dict)
        desk = LedgerDesk(ledger, ingest, clock, {"acme-small@2026-08": price}.get)
        found = desk.explain(Call(TESTER, {"request_id": exchange_id(number)}))
        return dict(json.loads(json.dumps(found)))
    finally:
        ledger.close()
        spool.close()


def test_page_tells_the_whole_story(tmp_path: Path) -> None:
    lines = list(page_lines(explained(tmp_path, 1, intent(1, tags="blue"), settle(1))))
    text = "\n".join(lines)
    assert lines[0] == f"request {exchange_id(1)}"
    for told in (
        "app                           shop",
        "tags                          blue",
        "input tokens      121   0.150000000  0.000018150",
        "acme-large@2026-08    0.0  left out  weight is 0",
        "cost, USD                     0.000024150",
        "which is                      tokens times the price in force then",
    ):
        assert told in text
    assert " True" not in text
    assert "None" not in text


def test_page_of_a_refusal_has_no_empty_sections(tmp_path: Path) -> None:
    text = "\n".join(page_lines(explained(tmp_path, 1, refusal(1, error_code="task_required", rules=()))))
    assert "not reached" in text
    for absent in ("attempts\n", "what took how long", "usage", "\ncost", "request bytes", "stream"):
        assert absent not in text


def test_page_of_an_open_request(tmp_path: Path) -> None:
    text = "\n".join(page_lines(explained(tmp_path, 1, intent(1))))
    assert "It is still under way" in text


def test_nothing_stored_steers_the_terminal(tmp_path: Path) -> None:
    begun = intent(1, route=HOSTILE, task=HOSTILE, tags=HOSTILE, inbound_id=HOSTILE, release=HOSTILE)
    found = explained(tmp_path, 1, begun, settle(1, model=HOSTILE, response_id=HOSTILE))
    for line in page_lines(found):
        assert line.isprintable(), repr(line)


def test_a_page_of_a_newer_server_is_still_read(tmp_path: Path) -> None:
    found = explained(tmp_path, 1, intent(1), settle(1))
    found["steps_us"]["polish"] = 12
    found["usage"]["dream_tokens"] = 3
    found["checks"].append({"check": "mood", "about": None, "verdict": "glad", "detail": "all is well", "rule": None})
    text = "\n".join(page_lines(found))
    assert all(word in text for word in ("polish", "dream tokens", "mood", "glad"))


def test_bars_follow_each_other_and_stay_in_their_place(tmp_path: Path) -> None:
    found = explained(tmp_path, 1, intent(1), settle(1))
    lines = waterfall_lines(found)
    assert len(lines) == len(list(spans_of(found))) == 10
    assert len({line.index(" ms") for line in lines}) == 1
    name_chars = max(len(span.name) for span in spans_of(found))
    bars = [line[name_chars + 2 : name_chars + 2 + BAR_CHARS] for line in lines]
    begins = [
        len(bar) - len(bar.lstrip()) for bar, span in zip(bars, spans_of(found), strict=True) if span.words != "ok"
    ]
    assert begins == sorted(begins)
    assert waterfall_lines({"steps_us": {}, "duration_ms": 0.0}) == []


def test_lines_that_come_later_stay_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    stream = RowStream(Output(Format.TABLE), COLUMNS, WIDTHS)
    stream.write([])
    stream.write([ROW])
    stream.write([{**ROW, "app": "an-app-with-a-longer-name"}, ROW])
    head, first, wide, after = capsys.readouterr().out.splitlines()
    assert head.index("ID") == first.index("req_1") == wide.index("req_1")
    assert wide.index("0.000000001") == after.index("0.000000001"), "a column that grew stays"


@pytest.mark.parametrize(
    ("format_", "fields", "expected"),
    [
        (Format.JSONL, ("id", "status"), ['{"id":"req_1","status":200}'] * 2),
        (Format.CSV, ("id", "app"), ["id,app", "req_1,shop", "req_1,shop"]),
        (Format.NAME, (), ["req_1"] * 2),
    ],
)
def test_each_format_goes_on_without_end(
    capsys: pytest.CaptureFixture[str], format_: Format, fields: tuple[str, ...], expected: list[str]
) -> None:
    stream = RowStream(Output(format_, fields), COLUMNS, WIDTHS)
    stream.write([ROW])
    stream.write([ROW])
    assert capsys.readouterr().out.splitlines() == expected


@pytest.mark.parametrize("format_", [Format.JSON, Format.YAML])
def test_a_value_with_an_end_is_refused(format_: Format) -> None:
    with pytest.raises(click.UsageError, match="jsonl"):
        RowStream(Output(format_), COLUMNS, WIDTHS)
