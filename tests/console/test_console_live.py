"""Pages that change by themselves, the command beside them, and an end that waits for no open page."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from lineclear.testing.console_stream import Stream
from lineclear.testing.console_visitor import Visitor
from lineclear.testing.platform import Platform

DRAIN_S = 4.0
"""Admin calls that run get longer than this at the end; an open page must not take it."""


def test_rows_and_the_first_request_come_by_themselves(tmp_path: Path, child_environment: Mapping[str, str]) -> None:
    with Platform(tmp_path, environment=child_environment) as platform:
        visitor = Visitor(str(platform.facts["console_url"]))
        visitor.sign_in()
        waiting = visitor.get("/start").text
        assert "Waiting for your first request" in waiting
        first, rows = Stream(visitor, "/start/first"), Stream(visitor, "/requests/stream?app=default")
        assert rows.response.headers["content-type"].startswith("text/event-stream")
        others = Stream(visitor, "/requests/stream?app=nobody")

        done = platform.cli("ask", "simulated", "Is it on?", "-o", "json")
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert answer["model"] == "simulated@1"

        name, html = first.event()
        assert (name, "It works" in html, answer["request_id"] in html) == ("first", True, True)
        name, html = rows.event()
        assert (name, html.count("<tr"), answer["request_id"] in html) == ("rows", 1, True)
        assert "Waiting for your first request" not in visitor.get("/start").text

        # What came in since is asked for by its place, so a second look brings nothing twice.
        second = json.loads(platform.cli("ask", "simulated", "Again?", "-o", "json").stdout)
        name, html = rows.event()
        assert (name, html.count("<tr"), second["request_id"] in html) == ("rows", 1, True)

        refused = platform.cli("ask", "absent")
        assert refused.returncode == 8
        assert "404" in refused.stderr

        began = time.monotonic()
        platform.stop()
        assert time.monotonic() - began < DRAIN_S
        assert b"event: rows" not in others.rest()
        for stream in (first, rows, others):
            stream.close()


def test_stream_that_was_cut_goes_on_where_it_was(tmp_path: Path, child_environment: Mapping[str, str]) -> None:
    with Platform(tmp_path, environment=child_environment) as platform:
        visitor = Visitor(str(platform.facts["console_url"]))
        visitor.sign_in()
        rows = Stream(visitor, "/requests/stream")
        asked = [json.loads(platform.cli("ask", "simulated", "One?", "-o", "json").stdout)["request_id"]]
        assert asked[0] in rows.event()[1]
        rows.close()
        asked += [json.loads(platform.cli("ask", "simulated", "Two?", "-o", "json").stdout)["request_id"]]
        again = Stream(visitor, "/requests/stream", rows.place)
        html = again.event()[1]
        assert [one in html for one in asked] == [False, True]
        again.close()


def test_open_page_is_told_when_its_session_ends(tmp_path: Path, child_environment: Mapping[str, str]) -> None:
    with Platform(tmp_path, environment=child_environment) as platform:
        visitor = Visitor(str(platform.facts["console_url"]))
        visitor.sign_in()
        rows = Stream(visitor, "/requests/stream")
        assert platform.cli("sessions", "end", "--all").returncode == 0
        name, text = rows.event()
        assert (name, "signed out" in text) == ("refused", True)
        assert b"event: rows" not in rows.rest()
        rows.close()
