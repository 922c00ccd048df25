"""The audit trail for a person: newest first, narrowed, with the fields that differ."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineclear.client.admin import AdminClient, AdminError, path_of
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.testing.control_plane import ControlPlane, ServedAPI

TEAM = 'kind: Team\nname: support\ndescription: {}\nbudget: {{usd_per_month: "{}"}}\n'


@pytest.fixture
def client(tmp_path: Path) -> Iterator[AdminClient]:
    plane = ControlPlane(tmp_path).start()
    plane.apply(TEAM.format("one", 5))
    plane.apply(TEAM.format("two", 6))
    with plane.database.write() as tx:
        odd = AuditEvent(AuditAction.MANIFEST_UPDATED, "Team/old", before='{"gone": 1}', after="{}")
        keys = [AuditEvent(AuditAction.KEY_CREATED, f"key/{number}", reason="%_") for number in range(3)]
        audit.record(tx, plane.clock, "ann", [*keys, odd])
    served = ServedAPI(plane.endpoints(), plane.authenticate)
    yield served.client()
    served.close()
    plane.close()


def feed(client: AdminClient, **query: Any) -> list[dict[str, Any]]:
    return list(client.get(path_of("audit-feed"), query)["events"])


def test_events_come_newest_first_with_the_fields_that_differ(client: AdminClient) -> None:
    update, create = feed(client, object="Team/support")
    assert create["number"] < update["number"]
    assert [(item["path"], item["before"], item["after"]) for item in update["fields"]] == [
        ("description", "one", "two"),
        ("budget.usd_per_month", "5", "6"),
    ]
    assert update["fields"][1]["words"] == "$5 → $6 a month"
    assert (update["before"], update["after"], update["more_fields"]) == ("", "", 0)
    assert {item["before"] for item in create["fields"]} == {None}


def test_what_a_program_with_other_fields_wrote_is_shown_as_it_stands(client: AdminClient) -> None:
    (event,) = feed(client, object="Team/old")
    assert (event["fields"], event["before"], event["after"]) == ([], '{\n  "gone": 1\n}', "{}")


def test_each_filter_narrows_and_a_page_leads_to_the_next(client: AdminClient) -> None:
    keys = feed(client, actor="ann", action="key.")
    assert [event["object"] for event in keys] == ["key/2", "key/1", "key/0"]
    assert feed(client, action="key") == []
    assert feed(client, object="key/1")[0]["actor"] == "ann"
    assert feed(client, action="%.") == []
    assert len(feed(client, object="key/")) == 3
    change = feed(client, object="Team/support")[0]["change"]
    assert {event["action"] for event in feed(client, change=change)} == {"manifest.updated", "change.applied"}
    first = client.get(path_of("audit-feed"), {"limit": 2, "actor": "ann"})
    second = client.get(path_of("audit-feed"), {"limit": 2, "actor": "ann", "before": first["next_before"]})
    numbers = [event["number"] for event in (*first["events"], *second["events"])]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) == 4
    assert second["next_before"] is None


def test_reading_it_is_an_event_that_can_be_left_out(client: AdminClient) -> None:
    feed(client, actor="ann")
    newest = feed(client)[0]
    assert (newest["action"], newest["after"]) == ("audit.read", "newest first")
    assert feed(client, without="audit.read,audit.verified")[0]["action"] != "audit.read"


@pytest.mark.parametrize("query", [{"before": "x"}, {"limit": "0"}, {"limit": "9999"}])
def test_what_cannot_be_asked_is_refused(client: AdminClient, query: dict[str, str]) -> None:
    with pytest.raises(AdminError) as caught:
        feed(client, **query)
    assert caught.value.code == "invalid_request"
