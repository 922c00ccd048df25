"""The first start, and what later starts leave alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from lineclear.control.bootstrap import make_first_keys
from lineclear.domain.snapshot import AppsSection, EnvironmentsSection
from lineclear.serving.bundled import bundled_documents
from lineclear.store import control_rows as rows
from lineclear.testing.control_plane import ControlPlane

Open = Callable[..., ControlPlane]


def bundled(version: str) -> list[dict[str, Any]]:
    target = {"targets": [{"model": f"toy@{version}"}]}
    return [
        {
            "kind": "Model",
            "name": "toy",
            "owner": "default",
            "versions": [{"version": version, "engine": "simulated", "status": "approved"}],
        },
        {"kind": "Route", "name": "toy", "team": "default", "environments": {"test": target, "live": target}},
    ]


def test_the_first_start_makes_the_promised_state(open_plane: Open, tmp_path: Path) -> None:
    plane = open_plane().start(bundled_documents(tmp_path / "models"))
    sections = plane.load().sections
    assert set(msgspec.json.decode(sections["environments"], type=EnvironmentsSection).environments) == {"test", "live"}
    app = msgspec.json.decode(sections["apps"], type=AppsSection).apps["default"]
    assert (app.team, app.routes) == ("default", ("*",))
    assert {"routes/test/simulated", "routes/live/simulated"} <= sections.keys()
    with plane.database.read() as tx:
        assert {event.actor for event in rows.read_audit(tx, 0, 1000)} == {"bootstrap"}


def test_first_keys_are_made_once(plane: ControlPlane, open_plane: Open) -> None:
    texts = make_first_keys(plane.publisher, plane.keys)
    assert texts is not None
    assert [text.split("_")[1] for text in texts.values()] == ["test", "live"] == list(texts)
    assert make_first_keys(plane.publisher, plane.keys) is None
    again = open_plane().start()
    assert make_first_keys(again.publisher, again.keys) is None


def test_revoked_first_keys_do_not_come_back(plane: ControlPlane, open_plane: Open) -> None:
    make_first_keys(plane.publisher, plane.keys)
    for facts in plane.keys.facts():
        plane.keys.revoke("ann", facts.id)
    again = open_plane().start()
    assert make_first_keys(again.publisher, again.keys) is None


def test_a_new_bundled_version_comes_by_itself(open_plane: Open) -> None:
    open_plane().start(bundled("1"))
    plane = open_plane().start(bundled("2"))
    assert b'"toy@2"' in plane.load().sections["routes/live/toy"]


def test_what_people_changed_is_left_alone(open_plane: Open) -> None:
    plane = open_plane().start(bundled("1"))
    plane.apply("kind: App\nname: default\nteam: default\nroutes: []\n")
    plane.apply(
        "kind: Route\nname: toy\nteam: default\ntasks: [play]\nenvironments: {live: {targets: [{model: toy@1}]}}\n"
    )
    again = open_plane().start(bundled("2"))
    sections = again.load().sections
    assert msgspec.json.decode(sections["apps"], type=AppsSection).apps["default"].routes == ()
    assert b'"toy@1"' in sections["routes/live/toy"]
    assert b'"play"' in sections["routes/live/toy"]
