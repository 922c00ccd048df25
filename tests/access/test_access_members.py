"""Members, grants and tokens over the admin port: what is given reaches as far as it says, and ends at once."""

import json
import sqlite3
import threading
import tracemalloc
from collections import Counter
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from lineclear.client.admin import AdminError, path_of
from lineclear.control.access.patience import (
    FAILURES_FREE,
    FAILURES_FREE_ALL,
    FAILURES_FREE_PLACE,
    PLACE_FORGETS_EACH_S,
    WAIT_S_FIRST,
    Patience,
)
from lineclear.control.access.token_text import make_token
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.control.sessions.sessions import IDLE_LIFE_S
from lineclear.store.access_rows import put_groups
from lineclear.testing.access_house import PASSWORD, AccessHouse, refusal
from lineclear.testing.clock import TestClock

HOUR_US = 3_600_000_000


def test_somebody_new_may_nothing_but_see_who_they_are(house: AccessHouse) -> None:
    ann = house.person("ann")
    assert ann.get(path_of("me"))["grants"] == []
    for path in ("keys", "grants", "members", "routes", "audit-events", "status"):
        assert refusal(ann, "GET", path_of(path))[:2] == (403, "forbidden")


def test_a_grant_is_in_force_with_the_next_call_and_gone_with_it(house: AccessHouse) -> None:
    ann = house.person("ann")
    (grant,) = house.grant("ann", "viewer")
    assert ann.get(path_of("status"))["version"]
    house.grant("ann", "auditor team:support")
    house.admin.delete(path_of("grants", grant["id"]))
    assert refusal(ann, "GET", path_of("audit-events"))[:2] == (403, "forbidden")
    assert [item["role"] for item in house.admin.get(path_of("grants"))["grants"]] == ["auditor"]


def test_a_token_is_shown_once_and_stored_nowhere(house: AccessHouse) -> None:
    house.robot("ci", "viewer")
    made = house.admin.post(path_of("tokens"), {"principal": "ci"})
    assert made["token"].startswith(f"lct_{made['id']}_")
    listed = house.admin.get(path_of("tokens"))
    assert made["token"] not in str(listed)
    stored = b"".join(path.read_bytes() for path in house.plane.directory.glob("lineclear.db*"))
    assert made["token"].encode() not in stored
    assert made["token"].rpartition("_")[2][:20].encode() not in stored


def test_two_tokens_live_while_one_takes_over_from_the_other(house: AccessHouse) -> None:
    old = house.robot("ci", "viewer")
    house.clock.advance(1)
    new = house.served.client(house.admin.post(path_of("tokens"), {"principal": "ci"})["token"])
    with pytest.raises(AdminError) as caught:
        house.admin.post(path_of("tokens"), {"principal": "ci"})
    assert caught.value.code == "conflict"
    assert old.get(path_of("status")) == new.get(path_of("status"))
    used = {item["id"]: item["used_at"] for item in house.admin.get(path_of("tokens"))["tokens"]}
    assert all(used.values())
    (first,) = [item["id"] for item in house.admin.get(path_of("tokens"))["tokens"]][1:]
    house.admin.delete(path_of("tokens", first))
    assert refusal(old, "GET", path_of("status"))[:2] == (401, "unauthenticated")
    assert new.get(path_of("status"))


def test_a_token_ends_after_90_days_unless_said_otherwise(house: AccessHouse) -> None:
    ci = house.robot("ci", "viewer")
    house.clock.advance(89 * 24 * 3600)
    assert ci.get(path_of("status"))
    house.clock.advance(24 * 3600 + 1)
    assert refusal(ci, "GET", path_of("status"))[:2] == (401, "unauthenticated")


def test_a_token_carries_what_it_is_narrowed_to_and_never_more_than_its_principal(house: AccessHouse) -> None:
    house.robot("ci", "viewer", "operator team:support")
    narrow = {"principal": "ci", "narrowed_to": [{"role": "viewer", "scope": "environment:live"}]}
    client = house.served.client(house.admin.post(path_of("tokens"), narrow)["token"])
    assert client.get(path_of("me"))["grants"] == ["viewer on environment:live"]
    wide = {"principal": "ci", "narrowed_to": [{"role": "author", "scope": "platform"}]}
    assert refusal(house.admin, "POST", path_of("tokens"), wide)[1] in ("forbidden", "conflict")
    viewer = next(item for item in house.admin.get(path_of("grants"))["grants"] if item["role"] == "viewer")
    house.admin.delete(path_of("grants", viewer["id"]))
    assert client.get(path_of("me"))["grants"] == []


def test_nobody_makes_a_token_of_a_person_but_the_person(house: AccessHouse) -> None:
    ann = house.person("ann", "approver")
    assert refusal(house.admin, "POST", path_of("tokens"), {"principal": "ann"})[:2] == (403, "forbidden")
    made = ann.post(path_of("me", "tokens"), {"label": "x", "expires_in_days": 30, "role": "approver"})
    own = house.served.client(made["token"])
    assert own.get(path_of("me"))["grants"] == ["approver on platform"]
    assert refusal(own, "POST", path_of("me", "tokens"), {"label": "y"})[:2] == (403, "forbidden"), "no further"
    assert refusal(ann, "POST", path_of("me", "tokens"), {"label": "sign-in"})[:2] == (400, "invalid_request")
    robot = house.robot("ci", "viewer")
    assert refusal(robot, "POST", path_of("me", "tokens"), {"label": "x"})[:2] == (403, "forbidden")


def test_who_is_disabled_is_out_at_once(house: AccessHouse) -> None:
    ann, ci = house.person("ann", "viewer"), house.robot("ci", "viewer")
    for name, client in (("ann", ann), ("ci", ci)):
        house.admin.post(path_of("members", name, "disable"), None)
        assert refusal(client, "GET", path_of("me"))[:2] == (401, "unauthenticated")
        house.admin.post(path_of("members", name, "enable"), None)
        assert refusal(client, "GET", path_of("me"))[:2] == (401, "unauthenticated"), "old tokens stay ended"
    assert house.sign_in("ann").get(path_of("me"))["name"] == "ann"


def test_sessions_of_who_has_no_access_left_end(house: AccessHouse) -> None:
    house.person("ann")
    (grant,) = house.grant("ann", "viewer")
    ann = house.plane.access.principal("ann")
    assert ann is not None
    session = house.plane.sessions.open(ann)
    assert house.plane.sessions.find(session.token.reveal()) is not None
    house.admin.delete(path_of("grants", grant["id"]))
    assert house.plane.sessions.find(session.token.reveal()) is None


@pytest.mark.parametrize("is_locked", [False, True], ids=["full", "locked"])
def test_who_is_signed_in_stops_what_runs_while_the_database_cannot_be_written(
    house: AccessHouse, is_locked: bool, caplog: pytest.LogCaptureFixture
) -> None:
    pager, ann = house.robot("pager", "operator"), house.person("ann", "operator")
    principal = house.plane.access.principal("ann")
    assert principal is not None
    cookie = house.plane.sessions.open(principal).token.reveal()
    house.clock.advance(120)
    other = sqlite3.connect(house.plane.directory / "lineclear.db", isolation_level=None)
    with house.plane.database.write() as tx:
        tx.exec_driver_sql("PRAGMA busy_timeout = 20")
        if not is_locked:
            tx.exec_driver_sql("PRAGMA query_only = ON")
    if is_locked:
        other.execute("BEGIN IMMEDIATE")
    try:
        for client, scope in ((pager, "all"), (ann, "route:live/chat")):
            assert client.post(path_of("stops"), {"scope": scope, "reason": "it answers nonsense"})
        session = house.plane.sessions.find(cookie)
        assert session is not None
        assert session.principal.name == "ann"
        assert "not written down" in caplog.text
        house.clock.advance(IDLE_LIFE_S)
        assert house.plane.sessions.find(cookie) is None, "it ends when it would have ended unused"
    finally:
        other.close()


def test_the_last_administrator_stays(house: AccessHouse) -> None:
    house.person("ann")
    (first,) = house.grant("ann", "admin")
    assert refusal(house.admin, "DELETE", path_of("grants", first["id"]))[:2] == (409, "conflict")
    assert refusal(house.admin, "POST", path_of("members", "ann", "disable"))[:2] == (409, "conflict")
    house.robot("bot", "admin")
    house.admin.post(path_of("members"), {"name": "bob"})
    house.admin.post(path_of("grants"), {"principal": "bob", "role": "admin", "expires_in_days": 2})
    assert refusal(house.admin, "DELETE", path_of("grants", first["id"]))[1] == "conflict", "no robot, none for a time"
    house.grant("bob", "admin")
    house.admin.delete(path_of("grants", first["id"]))


def test_a_service_account_is_no_approver(house: AccessHouse) -> None:
    house.robot("ci", "operator")
    status, code, message = refusal(house.admin, "POST", path_of("grants"), {"principal": "ci", "role": "approver"})
    assert (status, code) == (403, "forbidden")
    assert "never approves" in message
    house.robot("root", "admin")
    root = house.robot("root2", "admin")
    house.person("ann")
    assert refusal(root, "POST", path_of("grants"), {"principal": "ann", "role": "approver"})[:2] == (403, "forbidden")


def test_an_administrator_of_a_team_gives_access_in_the_team_only(house: AccessHouse) -> None:
    lead = house.person("lead", "admin team:support")
    house.admin.post(path_of("members"), {"name": "ann"})
    give = path_of("grants")
    for scope, allowed in (
        ("team:support", 200),
        ("route:live/chat", 200),
        ("platform", 403),
        ("team:sales", 404),
        ("environment:live", 403),
        ("route:live/mail", 404),
    ):
        assert refusal(lead, "POST", give, {"principal": "ann", "role": "viewer", "scope": scope})[0] == allowed, scope
    shown = {item["scope"] for item in lead.get(give)["grants"]}
    assert shown == {"team:support", "route:live/chat"}


def test_an_administrator_hands_out_no_credential_of_who_may_more(house: AccessHouse) -> None:
    lead = house.person("lead", "admin team:support")
    lead.post(path_of("members"), {"name": "bot", "kind": "service", "team": "support"})
    lead.post(path_of("grants"), {"principal": "bot", "role": "viewer", "scope": "team:support"})
    assert lead.post(path_of("tokens"), {"principal": "bot"})["token"]
    house.grant("bot", "operator")
    assert refusal(lead, "POST", path_of("tokens"), {"principal": "bot"})[:2] == (403, "forbidden")
    assert refusal(lead, "POST", path_of("members", "bot", "disable"))[:2] == (403, "forbidden")
    lead.post(path_of("members"), {"name": "ann", "team": "support"})
    assert lead.post(path_of("members", "ann", "invitation"), None)["url"]
    house.grant("ann", "admin")
    assert refusal(lead, "POST", path_of("members", "ann", "invitation"))[:2] == (403, "forbidden")


@pytest.mark.parametrize("whose", ["carol", "group:ops"])
def test_what_somebody_could_open_counts_as_theirs(house: AccessHouse, whose: str) -> None:
    """Who invites somebody chooses their password, and whoever signs in as them may break the glass."""
    lead = house.person("lead", "admin team:support")
    lead.post(path_of("members"), {"name": "carol", "team": "support"})
    with house.plane.database.write() as tx:
        put_groups(tx, "carol", ["ops"], house.clock.unix_us())
    assert lead.post(path_of("members", "carol", "invitation"), None)["url"]
    sealed = {"principal": whose, "role": "admin", "scope": "platform", "is_sealed": True, "expires_in_days": 2}
    house.admin.post(path_of("grants"), sealed)
    for step in ("invitation", "disable"):
        assert refusal(lead, "POST", path_of("members", "carol", step))[:2] == (403, "forbidden"), step
    house.clock.advance(2 * 24 * 3600 + 1)
    lead = house.sign_in("lead")
    assert lead.post(path_of("members", "carol", "invitation"), None)["url"], "what has expired opens nothing"


@pytest.mark.parametrize(
    "name", ["admin", "bootstrap", "", "A", "group:x", "a b", "a/b", "x" * 101, "start", "-a", "ann\n"]
)
def test_what_cannot_be_a_name_is_refused(house: AccessHouse, name: str) -> None:
    assert refusal(house.admin, "POST", path_of("members"), {"name": name})[:2] == (400, "invalid_request")


def test_nobody_raises_their_own_rights_by_fields_that_are_not_there(house: AccessHouse) -> None:
    lead = house.person("lead", "admin team:support")
    for path, body in (
        ("members", {"name": "x", "state": "active", "grants": ["admin"]}),
        ("grants", {"principal": "lead", "role": "admin", "scope": "team:support", "granted_by": "admin"}),
        ("tokens", {"principal": "lead", "permissions": ["*"]}),
    ):
        assert refusal(lead, "POST", path_of(path), body)[:2] == (400, "invalid_request")


def test_a_made_up_token_is_nobodys(house: AccessHouse) -> None:
    made = house.admin.post(path_of("members"), {"name": "ci", "kind": "service"})
    assert made["kind"] == "service_account"
    real = house.admin.post(path_of("tokens"), {"principal": "ci"})["token"]
    other = "A" if real[-9] != "A" else "B"
    for text in (make_token().text.reveal(), real[:-1], real + "0", real[:-9] + other + real[-8:], real.upper()):
        assert refusal(house.served.client(text), "GET", path_of("me"))[:2] == (401, "unauthenticated"), text
    assert house.served.client(real).get(path_of("me"))["name"] == "ci"


def test_a_wrong_password_and_a_wrong_name_look_alike_and_slow_down(house: AccessHouse) -> None:
    house.person("ann", "viewer")
    nobody = house.served.client("nobody")
    answers = {refusal(nobody, "POST", "/sign-in", {"name": name, "password": "x" * 12}) for name in ("ann", "eve")}
    assert answers == {(401, "unauthenticated", "name or password is wrong")}
    for _ in range(4):
        refusal(nobody, "POST", "/sign-in", {"name": "ann", "password": "x" * 12})
    assert refusal(nobody, "POST", "/sign-in", {"name": "ann", "password": PASSWORD})[:2] == (429, "rate_limited")
    house.clock.advance(301)
    assert house.sign_in("ann").get(path_of("me"))["name"] == "ann"


def test_who_guesses_elsewhere_keeps_nobody_out(house: AccessHouse) -> None:
    house.person("ann", "viewer")
    wrong, right = ({"name": "ann", "password": password} for password in ("x" * 12, PASSWORD))
    statuses = [sign_in_from(house, "127.0.0.2", wrong) for _ in range(FAILURES_FREE + 1)]
    assert statuses == [401] * FAILURES_FREE + [429]
    assert sign_in_from(house, "127.0.0.2", right) == 429, "guessing stays slow"
    assert sign_in_from(house, "127.0.0.1", right) == 201


def test_guessing_from_everywhere_is_slow_and_leaves_where_somebody_signed_in_before(house: AccessHouse) -> None:
    house.person("ann", "viewer")
    wrong, right = ({"name": "ann", "password": password} for password in ("x" * 12, PASSWORD))
    for place in range(FAILURES_FREE_ALL):
        assert sign_in_from(house, f"127.0.1.{place}", wrong) == 401
    assert sign_in_from(house, "127.0.0.3", wrong) == 429
    assert sign_in_from(house, "127.0.0.1", right) == 201


def test_names_that_one_address_makes_up_slow_it_down_and_nobody_who_signed_in_there() -> None:
    clock = TestClock()
    patience = Patience(clock)
    patience.succeeded("ann", "10.0.0.1")
    for number in range(FAILURES_FREE_PLACE):
        patience.demand(f"name{number}", "10.0.0.1")
        patience.failed(f"name{number}", "10.0.0.1")
    with pytest.raises(Refused) as caught:
        patience.demand("another", "10.0.0.1")
    assert caught.value.code is AdminCode.RATE_LIMITED
    patience.demand("ann", "10.0.0.1")
    patience.demand("another", "10.0.0.2")
    clock.advance(WAIT_S_FIRST + 1)
    patience.failed("another", "10.0.0.1")
    clock.advance(3 * PLACE_FORGETS_EACH_S)
    patience.failed("one more", "10.0.0.1")
    patience.demand("some time later", "10.0.0.1")


def test_what_is_too_long_for_a_name_is_refused_at_once_and_not_remembered(house: AccessHouse) -> None:
    sent = {"name": "a" * 101, "password": "x" * 12}
    assert [sign_in_from(house, "127.0.0.2", sent) for _ in range(FAILURES_FREE + 2)] == [401] * (FAILURES_FREE + 2)


def test_what_failed_is_kept_in_mind_in_little_memory() -> None:
    patience = Patience(TestClock())
    tracemalloc.start()
    try:
        for number in range(300):
            patience.failed(f"{number}{'n' * 10_000}", f"{number}{'a' * 10_000}")
        kept_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 1_000_000


def test_one_address_cannot_take_every_place(house: AccessHouse) -> None:
    house.person("ann", "viewer")
    done = threading.Event()
    counts: Counter[int] = Counter()

    def storm() -> None:
        place = 0
        while not done.is_set():
            place += 1
            counts[sign_in_from(house, "127.0.0.2", {"name": f"n{place}", "password": "y" * 12})] += 1

    threads = [threading.Thread(target=storm) for _ in range(8)]
    for thread in threads:
        thread.start()
    try:
        right = {"name": "ann", "password": PASSWORD}
        assert [sign_in_from(house, "127.0.0.1", right) for _ in range(5)] == [201] * 5
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert counts[401] > 0


def sign_in_from(house: AccessHouse, address: str, body: dict[str, str]) -> int:
    """The status of a sign-in whose connection comes from one of loopback's addresses."""
    parts = urlsplit(house.served.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, source_address=(address, 0), timeout=60)
    connection.request("POST", "/sign-in", json.dumps(body), {"content-type": "application/json"})
    status = connection.getresponse().status
    connection.close()
    return status


def test_an_invitation_is_good_once_and_for_a_day(house: AccessHouse) -> None:
    house.admin.post(path_of("members"), {"name": "ann"})
    first = house.admin.post(path_of("members", "ann", "invitation"), None)["path"].partition("token=")[2]
    second = house.admin.post(path_of("members", "ann", "invitation"), None)["path"].partition("token=")[2]
    assert house.plane.access.passwords.invited(first) is None, "a newer link takes its place"
    assert house.plane.access.passwords.invited(second) == "ann"
    house.clock.advance(24 * 3600 + 1)
    assert house.plane.access.passwords.invited(second) is None


def test_everything_about_access_is_in_the_audit_trail(house: AccessHouse) -> None:
    house.person("ann", "viewer")
    actions = [item["action"] for item in house.admin.get(path_of("audit-events"))["events"]]
    for action in ("member.added", "grant.given", "member.invited", "password.set", "token.created"):
        assert action in actions
