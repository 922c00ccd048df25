"""Notices: told once, to those who really call, over signed webhooks, Slack and letters; tried again; taken note of."""

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lineclear.base.secret import Secret
from lineclear.client.admin import AdminError, path_of
from lineclear.config.manifest import ManifestFile
from lineclear.control import audit
from lineclear.control.audit import AuditAction, AuditEvent
from lineclear.control.changes.apply import Applied, Author
from lineclear.control.changes.requests import ChangeRequests
from lineclear.control.endpoint import AdminCode, Call, Refused
from lineclear.control.notices import http
from lineclear.control.notices.mail import MailServer as MailSetting
from lineclear.control.notices.mail import mail_server
from lineclear.control.notices.outbox import Outbox
from lineclear.control.notices.posting import DEADLINE_S
from lineclear.control.notices.sending import Sender, Ways, receiver_of
from lineclear.control.notices.service import Notices
from lineclear.control.notices.watch import KEPT_S, NoticeWatch
from lineclear.control.notices.webhook import signature_headers
from lineclear.control.notices.workers import (
    RECEIVER_WORKERS_MAX,
    TEAM_WORKERS_MAX,
    WORKERS_MAX,
    Lane,
    Workers,
)
from lineclear.domain.access import Grant, Principal, Role, Scope
from lineclear.domain.manifest import NoticeChannel
from lineclear.domain.notices import ATTEMPTS_MAX, WAITS_S
from lineclear.observe.behaviour import Behaviour
from lineclear.store import control_rows as rows
from lineclear.store import notice_rows
from lineclear.testing import manifests
from lineclear.testing.authority import Authority
from lineclear.testing.clock import TestClock
from lineclear.testing.control_plane import TESTER, ControlPlane, ServedAPI
from lineclear.testing.hook_receiver import HookReceiver
from lineclear.testing.mail_server import MailServer

KEY = "whsec_c2lnbnMgd2hhdCB3ZSBwb3N0"
CALLS = {"callers-app": 400, "own-app": 7, "nobody's": 3}


class House:
    """A control plane with notices, and apps of two teams; who calls is as `calls` says."""

    def __init__(self, plane: ControlPlane, clock: TestClock, ways: Ways) -> None:
        self.plane = plane
        self.clock = clock
        self.calls: Mapping[str, int] = CALLS
        self.asked: list[Mapping[str, str]] = []
        self.sender = Sender(plane.database, clock, plane.publisher.vault, ways)
        self.notices = Notices(plane.database, clock, self.sender)
        self.watch = NoticeWatch(Outbox(plane.database, clock, self._callers), self.sender, plane.database, clock)

    def _callers(self, only: Mapping[str, str]) -> Mapping[str, int]:
        self.asked.append(only)
        return self.calls

    def apply(self, *documents: manifests.Document) -> None:
        self.clock.advance(1)
        self.plane.apply(manifests.text_of(documents))

    def stop(self, scope: str, reason: str) -> None:
        self.plane.overrides.do(lambda desk: desk.stop(scope, "ann", reason))

    def channels(self, team: str, *channels: dict[str, Any]) -> None:
        self.apply(manifests.team(team, notices=list(channels)))

    def told(self) -> list[notice_rows.NoticeRow]:
        with self.plane.database.read() as tx:
            return notice_rows.read_notices(tx, 100)

    def addresses(self, notice: notice_rows.NoticeRow) -> dict[str, tuple[str, dict[str, int]]]:
        with self.plane.database.read() as tx:
            found = notice_rows.read_addresses(tx, [notice.id])
        return {row.team: (row.part, json.loads(row.apps)) for row in found}

    def deliveries(self) -> list[notice_rows.DeliveryRow]:
        with self.plane.database.read() as tx:
            return notice_rows.read_deliveries(tx, 100)


@pytest.fixture
def hook() -> Iterator[HookReceiver]:
    with HookReceiver() as receiver:
        yield receiver


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    yield from opened(tmp_path, Ways(private_network=True, admin_url="https://ai.example"))


def opened(directory: Path, ways: Ways) -> Iterator[House]:
    clock = TestClock()
    plane = ControlPlane(directory, clock=clock)
    plane.publisher.catch_up({})
    plane.overrides.start()
    made = House(plane, clock, ways)
    plane.secrets.put("ann", "hook", Secret(KEY))
    made.apply(
        manifests.team("owners"),
        manifests.team("callers"),
        manifests.app("own-app", "owners"),
        manifests.app("callers-app", "callers"),
        {"kind": "Environment", "name": "live", "class": "live"},
        manifests.provider("vendor", 9),
        manifests.model("small", "vendor", team_name="owners"),
        manifests.model("large", "vendor", team_name="owners"),
        manifests.route("chat", "small", team_name="owners"),
    )
    made.watch.look()
    with plane.database.write() as tx:
        notice_rows.forget_notices(tx, clock.unix_us() + 1)
    made.asked.clear()
    yield made
    plane.close()


def webhook(url: str, name: str = "hook", **more: Any) -> dict[str, Any]:
    return {"name": name, "webhook": url, "secret": "secret:hook", **more}


def move(house: House, model: str = "large") -> None:
    """Another release serves."""
    house.apply(manifests.route("chat", model, team_name="owners"))
    house.watch.look()


# what is told, and to whom


def test_a_release_is_told_to_its_owner_and_to_those_who_really_call_it(house: House) -> None:
    move(house)
    (notice,) = house.told()
    assert (notice.kind, notice.object) == ("release", "deployment/live/chat")
    assert house.asked == [{"environment": "live", "route": "chat"}]
    assert house.addresses(notice) == {
        "owners": ("owner", {"own-app": 7}),
        "callers": ("caller", {"callers-app": 400}),
    }
    facts = json.loads(notice.facts)
    assert (facts["changed"], facts["by"]) == (["targets"], "tester")
    assert notice.audit_number > 0


def test_teams_that_do_not_call_are_not_told(house: House) -> None:
    house.calls = {"own-app": 1, "callers-app": 0}
    move(house)
    assert list(house.addresses(house.told()[0])) == ["owners"]


def test_each_event_is_told_once_whenever_control_ends(house: House) -> None:
    house.apply(manifests.route("chat", "large", team_name="owners"))
    house.watch.look()
    again = NoticeWatch(
        Outbox(house.plane.database, house.clock, house._callers), house.sender, house.plane.database, house.clock
    )
    again.look()
    house.watch.look()
    assert len(house.told()) == 1


def test_what_was_done_before_there_were_notices_is_told_to_nobody(house: House) -> None:
    with house.plane.database.write() as tx:
        newest = rows.last_audit(tx)
        assert newest is not None
        assert notice_rows.cursor(tx) == newest.number


def test_a_deprecation_says_until_when_and_what_to_use(house: House) -> None:
    version: dict[str, Any] = {
        "status": "deprecated",
        "successor": "large@1",
        "deprecated_at": "2026-01-01",
        "sunset": "2031-06-01",
    }
    house.apply(manifests.model("small", "vendor", team_name="owners", **version))
    house.watch.look()
    (notice,) = house.told()
    assert (notice.kind, notice.object) == ("deprecation", "model-version/small@1")
    assert notice.title == "small@1 is deprecated now (was approved); it goes on 2031-06-01; use large@1 instead"
    assert house.asked == [{"model": "small@1"}]
    house.apply(manifests.model("small", "vendor", team_name="owners", **{**version, "sunset": "2031-07-01"}))
    house.watch.look()
    assert [item.kind for item in house.told()] == ["deprecation", "deprecation"]


def test_who_still_calls_is_reminded_before_a_version_goes(house: House) -> None:
    # The clock stands at 2027-01-15 08:00.
    version: dict[str, Any] = {"status": "deprecated", "successor": "large@1", "deprecated_at": "2026-01-01"}
    house.apply(manifests.model("small", "vendor", team_name="owners", **version, sunset="2027-03-01"))
    house.watch.look()
    titles = []
    for passed in (16, 1, 21, 5, 1, 1):
        house.clock.advance(passed * 86_400)
        house.watch.look()
        titles.append(house.told()[0].title.partition(";")[0])
    days = [title.removeprefix("small@1 goes in ").removesuffix(" and is still called") for title in titles]
    assert days == ["29 days", "29 days", "7 days", "7 days", "1 day", "1 day"]
    assert len(house.told()) == 4
    assert house.addresses(house.told()[0])["callers"] == ("caller", {"callers-app": 400})


def test_nobody_is_reminded_of_what_nobody_calls(house: House) -> None:
    house.calls = {}
    house.apply(manifests.model("small", "vendor", team_name="owners", end_of_life="2027-01-20"))
    house.watch.look()
    house.clock.advance(7_200)
    house.watch.look()
    assert [notice.title.partition(";")[0] for notice in house.told()] == [
        "small@1 has other dates or another successor now"
    ]


def test_overrides_are_told_with_their_reason(house: House) -> None:
    house.plane.overrides.do(lambda desk: desk.block("small@1", "ann", "it leaks"))
    house.stop("app:callers-app", "it leaks")
    house.watch.look()
    stop, block = house.told()
    assert (block.kind, json.loads(block.facts)["reason"]) == ("block", "it leaks")
    assert (stop.kind, stop.title) == ("stop", "AI is stopped for app:callers-app: calls are refused")
    assert house.asked == [{"model": "small@1"}, {"app": "callers-app"}]
    assert house.addresses(stop)["callers"][0] == "owner"


def test_what_nobody_owns_is_for_whoever_looks_after_the_platform(house: House) -> None:
    house.calls = {}
    house.stop("provider:vendor", "")
    house.watch.look()
    assert house.addresses(house.told()[0]) == {"": ("operator", {})}


def test_the_same_said_again_is_counted_and_not_sent(house: House, hook: HookReceiver) -> None:
    house.channels("owners", webhook(hook.url))
    stopped = AuditEvent(AuditAction.AI_STOPPED, "stop/route:live/chat", "running", "stopped")

    def again() -> None:
        with house.plane.database.write() as tx:
            audit.record(tx, house.clock, "ann", [stopped])
        house.watch.look()

    for _ in range(3):
        again()
        house.clock.advance(5)
    (notice,) = house.told()
    assert (notice.repeats, len(hook.posts)) == (2, 1)
    house.clock.advance(3_600)
    again()
    assert len(house.told()) == 2


def test_the_first_release_of_a_route_is_no_news(house: House) -> None:
    house.apply(manifests.route("fresh", "small", team_name="owners"))
    house.watch.look()
    assert house.told() == []


CAREFUL = {
    "kind": "Rollout", "name": "careful",
    "steps": [{"weight": {"percent": 10}}, {"holdback": {"percent": 5, "duration_s": 60}}],
}  # fmt: skip


def test_a_rollout_that_is_taken_back_by_hand_is_one_notice(house: House, hook: HookReceiver) -> None:
    house.channels(
        "owners", webhook(f"{hook.url}/usual"), webhook(f"{hook.url}/all", "all", on=["rollout", "rollback"])
    )
    house.apply(CAREFUL, manifests.route("chat", "large", team_name="owners", rollout="careful"))
    house.watch.look()
    (began,) = house.told()
    assert (began.kind, began.object) == ("rollout", "deployment/live/chat")
    assert [post.path for post in hook.posts] == ["/all"]
    house.clock.advance(1)
    house.plane.overrides.do(lambda desk: desk.rollback("live", "chat", None, "ann", "worse"))
    house.watch.look()
    back, _ = house.told()
    assert (back.kind, back.title.partition(":")[0]) == ("rollback", "chat in live was rolled back")
    assert sorted(post.path for post in hook.posts) == ["/all", "/all", "/usual"]


def test_a_change_that_waits_is_told_to_the_teams_that_it_touches(house: House, hook: HookReceiver) -> None:
    house.channels("owners", webhook(f"{hook.url}/usual"), webhook(f"{hook.url}/decision", "decision", on=["decision"]))
    house.apply({"kind": "Environment", "name": "live", "class": "live", "approvals": 1})
    documents = house.plane.changes.read(
        [ManifestFile("m.yaml", manifests.text_of([manifests.route("chat", "large", team_name="owners")]))]
    )
    opened = house.plane.changes.apply(documents, {}, Author("anna"), note="better answers")
    house.watch.look()
    assert opened.change is not None
    (asked,) = [notice for notice in house.told() if notice.kind == "approval"]
    assert asked.title == f"the change {opened.change} of anna waits for approval"
    assert house.addresses(asked) == {"owners": ("owner", {})}
    assert json.loads(asked.facts)["note"] == "better answers"
    assert [post.path for post in hook.posts] == ["/usual"]
    assert "scopes" not in json.loads(hook.posts[0].body)["data"]
    house.clock.advance(1)
    requests = ChangeRequests(house.plane.changes, house.plane.named)
    requests.withdraw(opened.change, Principal("anna", grants=(Grant(Role.AUTHOR, Scope()),)), "not yet")
    house.watch.look()
    assert house.told()[0].kind == "decision"
    assert [post.path for post in hook.posts] == ["/usual", "/decision"]


def test_an_event_that_cannot_be_read_keeps_no_other_from_being_told(house: House) -> None:
    bad = [AuditEvent(AuditAction.DEPLOYMENT_MOVED, "deployment", "a", "b"),
           AuditEvent(AuditAction.MANIFEST_UPDATED, "Model/small", "{", "}"),
           AuditEvent(AuditAction.ROLLOUT_HELD, "rollout/none")]  # fmt: skip
    with house.plane.database.write() as tx:
        audit.record(tx, house.clock, "ann", bad)
    move(house)
    assert [notice.kind for notice in house.told()] == ["release"]


# webhooks


def test_a_webhook_is_signed_as_the_standard_says(house: House, hook: HookReceiver) -> None:
    house.channels("callers", webhook(f"{hook.url}/in?x=1"))
    move(house)
    (post,) = hook.wait(1)
    assert post.path == "/in?x=1"
    signed = f"{post.headers['webhook-id']}.{post.headers['webhook-timestamp']}.".encode() + post.body
    key = base64.b64decode(KEY.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert post.headers["webhook-signature"] == f"v1,{expected}"
    assert int(post.headers["webhook-timestamp"]) == house.clock.unix_us() // 1_000_000
    content = json.loads(post.body)
    assert (content["type"], content["data"]["team"], content["data"]["apps"]) == (
        "notice.release", "callers", {"callers-app": 400},
    )  # fmt: skip
    assert content["data"]["url"] == "https://ai.example/console/notices"
    assert content["data"]["notice"] == house.told()[0].id


def test_the_signature_of_the_standards_own_example() -> None:
    """Source: the tests of github.com/standard-webhooks/standard-webhooks, libraries/python."""
    found = signature_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        b'{"test": 2432232314}',
        Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    )
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_attempt_has_the_same_id_and_its_own_time(house: House, hook: HookReceiver) -> None:
    hook.statuses = [500, 503]
    house.channels("owners", webhook(hook.url))
    move(house)
    for wait_s in WAITS_S[:2]:
        house.clock.advance(wait_s - 1)
        house.watch.look()
        house.clock.advance(1)
        house.watch.look()
    first, second, third = hook.posts
    ids = {post.headers["webhook-id"] for post in (first, second, third)}
    times = {post.headers["webhook-timestamp"] for post in (first, second, third)}
    signatures = {post.headers["webhook-signature"] for post in (first, second, third)}
    assert (len(ids), len(times), len(signatures)) == (1, 3, 3)
    (delivery,) = house.deliveries()
    assert (delivery.state, delivery.attempts, delivery.problem) == ("delivered", 3, "")


def test_what_never_arrives_is_dead_at_last_and_can_be_sent_again(house: House, hook: HookReceiver) -> None:
    hook.statuses = [500] * ATTEMPTS_MAX
    house.channels("owners", webhook(hook.url))
    move(house)
    for wait_s in WAITS_S:
        house.clock.advance(wait_s)
        house.watch.look()
    (delivery,) = house.deliveries()
    assert (delivery.state, delivery.attempts) == ("dead", ATTEMPTS_MAX)
    assert delivery.problem == "127.0.0.1 answered 500"
    house.clock.advance(1_000_000)
    house.watch.look()
    assert len(hook.posts) == ATTEMPTS_MAX
    house.notices.send_again(delivery, "ann")
    house.watch.look()
    assert house.deliveries()[0].state == "delivered"


def test_a_receiver_may_ask_for_time_or_for_no_more(house: House, hook: HookReceiver) -> None:
    house.channels("owners", webhook(hook.url))
    hook.statuses, hook.headers = [429], {"retry-after": "90"}
    move(house)
    (delivery,) = house.deliveries()
    assert delivery.next_us == house.clock.unix_us() + 90_000_000
    hook.statuses = [410]
    house.clock.advance(90)
    house.watch.look()
    (delivery,) = house.deliveries()
    assert (delivery.state, delivery.problem) == ("dead", "127.0.0.1 answered 410: it wants nothing more")


def test_no_redirect_is_followed(house: House, hook: HookReceiver) -> None:
    hook.statuses, hook.headers = [302], {"location": f"{hook.url}/elsewhere"}
    house.channels("owners", webhook(hook.url))
    move(house)
    assert [post.path for post in hook.posts] == ["/"]
    assert house.deliveries()[0].problem == "127.0.0.1 answered 302"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://127.0.0.1:9/", "has a loopback, private or reserved address"),
        ("https://169.254.169.254/latest", "has a loopback, private or reserved address"),
        ("http://127.0.0.1:9/", "http:// would send notices in clear"),
    ],
)
def test_nothing_is_posted_to_addresses_of_our_own_network(tmp_path: Path, url: str, words: str) -> None:
    for house in opened(tmp_path, Ways()):
        house.channels("owners", webhook(url))
        move(house)
        (delivery,) = house.deliveries()
        assert (delivery.state, delivery.attempts) == ("pending", 1)
        assert words in delivery.problem


def test_metadata_addresses_are_refused_whatever_is_permitted(house: House) -> None:
    house.channels("owners", webhook("http://169.254.169.254/latest"))
    move(house)
    assert "reserved address" in house.deliveries()[0].problem


def test_a_secret_that_is_gone_is_told_by_the_delivery(house: House, hook: HookReceiver) -> None:
    house.channels("owners", webhook(hook.url))
    facts = {item.name: item.used_by for item in house.plane.secrets.facts()}
    assert facts["hook"] == ("Team/owners/hook",)
    house.plane.secrets.remove("ann", "hook", is_forced=True)
    move(house)
    assert house.deliveries()[0].problem == "there is no secret 'hook': `lineclear secrets set hook` makes it"
    assert hook.posts == []


def test_a_channel_that_is_gone_gets_nothing(house: House, hook: HookReceiver) -> None:
    hook.statuses = [500]
    house.channels("owners", webhook(hook.url))
    move(house)
    house.channels("owners")
    house.clock.advance(WAITS_S[0])
    house.watch.look()
    (delivery,) = house.deliveries()
    assert (delivery.state, delivery.problem, len(hook.posts)) == ("dropped", "the channel is gone", 1)


def pile_up(house: House, team: str, count: int) -> None:
    """Deliveries of the newest notice to a team's channel, due for a while."""
    id_, now_us = house.told()[0].id, house.clock.unix_us()
    with house.plane.database.write() as tx:
        for at in range(count):
            due_us = now_us - 1_000_000 + at
            row = notice_rows.DeliveryRow(f"dlv_{at}", id_, team, "hook", "pending", 0, due_us, due_us, 0, "")
            notice_rows.add_delivery(tx, row)


def test_a_receiver_that_hangs_delays_no_other_team(house: House, hook: HookReceiver) -> None:
    move(house)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        house.channels("owners", webhook(f"http://127.0.0.1:{silent.getsockname()[1]}/"))
        house.channels("callers", webhook(hook.url))
        pile_up(house, "owners", 50)
        house.clock.advance(60)
        house.stop("app:callers-app", "it leaks")
        Outbox(house.plane.database, house.clock, house._callers).take()
        house.watch.start()
        (post,) = hook.wait(1, DEADLINE_S)
        house.watch.close()
    assert json.loads(post.body)["type"] == "notice.stop"


def test_what_comes_while_a_receiver_hangs_goes_out_at_once(house: House, hook: HookReceiver) -> None:
    house.channels("callers", webhook(hook.url, on=["stop"]))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        house.channels("owners", webhook(f"http://127.0.0.1:{silent.getsockname()[1]}/"))
        house.apply(manifests.route("chat", "large", team_name="owners"))
        house.watch.start()
        connection, _ = silent.accept()
        with connection:
            house.stop("app:callers-app", "it leaks")
            hook.wait(1)
            assert {row.attempts for row in house.deliveries() if row.team == "owners"} == {0}, "it hangs no more"
        house.watch.close()


def test_receivers_that_hang_leave_room(house: House, hook: HookReceiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [one.getsockname()[1], other.getsockname()[1]]
        hanging = [webhook(f"http://127.0.0.1:{ports[at % 2]}/", f"hook-{at}") for at in range(6)]
        house.channels("owners", *hanging)
        house.channels(
            "callers", webhook(hook.url, on=["stop"]), webhook(hanging[0]["webhook"], "hangs-too", on=["stop"])
        )
        house.apply(manifests.route("chat", "large", team_name="owners"))
        Outbox(house.plane.database, house.clock, house._callers).take()
        stop = threading.Event()
        assert house.sender.send_due(stop) == TEAM_WORKERS_MAX
        house.stop("app:callers-app", "it leaks")
        Outbox(house.plane.database, house.clock, house._callers).take()
        assert house.sender.send_due(stop) == 2, "a channel that is being tried is not tried twice"
        hook.wait(1)
        assert {row.attempts for row in house.deliveries() if row.team == "owners"} == {0}
        stop.set()


@pytest.mark.parametrize(
    "channels",
    [
        [{"name": f"mail-{at}", "email": ["a@example.com"]} for at in range(6)],
        [{"name": f"slack-{at}", "slack": "secret:hook"} for at in range(6)],
        [webhook("https://hooks.example/in", f"hook-{at}") for at in range(6)],
    ],
)
def test_no_more_than_a_few_wait_for_one_receiver(channels: list[dict[str, Any]]) -> None:
    over, workers = threading.Event(), Workers()

    def hang() -> None:
        over.wait()

    found = [receiver_of(msgspec.convert(channel, NoticeChannel)) for channel in channels]
    begun = [workers.begin(Lane(f"team-{at}", "hook", receiver), hang) for at, receiver in enumerate(found)]
    assert begun == [True] * RECEIVER_WORKERS_MAX + [False] * 2
    others = [workers.begin(Lane(f"other-{at}", "hook", str(at)), hang) for at in range(WORKERS_MAX)]
    assert sum(others) == WORKERS_MAX - RECEIVER_WORKERS_MAX
    over.set()
    workers.wait(threading.Event())
    assert workers.begin(Lane("team-5", "hook", found[5]), lambda: None)


def test_a_channel_is_free_again_where_no_thread_could_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    lane, workers, done = Lane("support", "hook", "hooks.example"), Workers(), threading.Event()

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        assert not workers.begin(lane, done.set)
    assert not workers.busy()
    assert [str(error) for error in workers.broken()] == ["can't start new thread"]
    assert workers.begin(lane, done.set)
    assert done.wait(5)


def test_a_pile_of_one_channel_goes_out_a_few_at_a_look(house: House, hook: HookReceiver) -> None:
    move(house)
    house.channels("owners", webhook(hook.url))
    house.watch.look()
    pile_up(house, "owners", 3)
    house.watch.look()
    assert [row.id for row in house.deliveries() if row.state == "pending"] == ["dlv_2"]
    house.watch.look()
    assert {row.state for row in house.deliveries()} == {"delivered"}


def test_what_arrived_meanwhile_is_not_sent_again(house: House, hook: HookReceiver) -> None:
    hook.statuses = [410]
    house.channels("owners", webhook(hook.url))
    move(house)
    (dead,) = house.deliveries()
    house.notices.send_again(dead, "ann")
    with pytest.raises(Refused, match="is on its way"):
        house.notices.send_again(dead, "ann")
    house.watch.look()
    with pytest.raises(Refused, match="arrived"):
        house.notices.send_again(dead, "ann")
    assert ([row.state for row in house.deliveries()], len(hook.posts)) == (["delivered"], 2)


def test_the_end_of_control_waits_for_no_receiver(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        house.channels("owners", webhook(f"http://127.0.0.1:{silent.getsockname()[1]}/"))
        house.apply(manifests.route("chat", "large", team_name="owners"))
        house.watch.start()
        connection, _ = silent.accept()
        with connection:
            before = time.monotonic()
            house.watch.close()
            assert time.monotonic() - before < DEADLINE_S / 2
            assert [(row.state, row.attempts) for row in house.deliveries()] == [("pending", 0)]


# whose secrets a channel may use


def made_by(house: House, principal: Principal, *documents: manifests.Document) -> Applied:
    reading = house.plane.changes.read([ManifestFile("m.yaml", manifests.text_of(documents))])
    author = Author(principal.name, require=Call(principal).require, principal=principal)
    return house.plane.changes.apply(reading, {}, author, note="a channel")


ANNA = Principal("anna", grants=(Grant(Role.AUTHOR, Scope("callers")),))
BOTH = Principal("bert", grants=(*ANNA.grants, Grant(Role.ADMIN, Scope())))


@pytest.mark.parametrize("channel", [webhook("https://elsewhere.example/"), {"name": "s", "slack": "secret:hook"}])
def test_an_author_takes_no_secret_of_another_team(house: House, channel: dict[str, Any]) -> None:
    house.channels("owners", webhook("https://hooks.example/"))
    wanted = manifests.team("callers", notices=[channel])
    with pytest.raises(Refused) as caught:
        made_by(house, ANNA, wanted)
    assert caught.value.code is AdminCode.FORBIDDEN
    assert "the team 'callers' does not use the secret 'hook' yet" in caught.value.message
    assert "somebody who may secret:set" in caught.value.hint
    assert made_by(house, BOTH, wanted).state == "applied"
    # What stands there may be moved about.
    again = manifests.team("callers", notices=[webhook("https://other.example/", "renamed", on=["stop"])])
    assert made_by(house, ANNA, again).state == "applied"


def test_a_letter_needs_no_secret(house: House) -> None:
    wanted = manifests.team("callers", notices=[{"name": "mail", "email": ["a@callers.example"]}])
    assert made_by(house, ANNA, wanted).state == "applied"


def test_a_change_that_waited_takes_no_secret_of_another_team_either(house: House) -> None:
    house.apply(
        {"kind": "Environment", "name": "live", "class": "live", "approvals": 1},
        manifests.route("mine", "small", team_name="callers"),
    )
    route = manifests.route("mine", "large", team_name="callers")
    opened = made_by(house, BOTH, manifests.team("callers", notices=[webhook("https://x.example/")]), route)
    assert opened.change is not None
    requests = ChangeRequests(house.plane.changes, house.plane.named)
    with pytest.raises(Refused, match="does not use the secret 'hook' yet"):
        requests.rebase(opened.change, ANNA, Call(ANNA).require)


# what a channel gets


def test_a_channel_gets_what_it_names_and_else_what_is_not_quiet(house: House, hook: HookReceiver) -> None:
    house.channels(
        "owners", webhook(f"{hook.url}/usual"), webhook(f"{hook.url}/model", "model", on=["model", "release"])
    )
    house.apply(manifests.model("fresh", "vendor", team_name="owners", status="test"))
    house.apply(manifests.model("fresh", "vendor", team_name="owners", status="approved"))
    house.watch.look()
    assert [post.path for post in hook.posts] == ["/model"]
    move(house)
    assert sorted(post.path for post in hook.posts) == ["/model", "/model", "/usual"]


# Slack and letters


def test_slack_gets_a_text_that_names_nobody(house: House, hook: HookReceiver) -> None:
    house.plane.secrets.put("ann", "slack-url", Secret(f"{hook.url}/services/T0/B0/abc"))
    house.channels("owners", {"name": "slack", "slack": "secret:slack-url"})
    house.stop("route:live/chat", "<!channel> & <@U1>")
    house.watch.look()
    (post,) = hook.wait(1)
    assert (post.path, post.headers["content-type"]) == ("/services/T0/B0/abc", "application/json")
    text = json.loads(post.body)["text"]
    assert text.startswith("*AI is stopped for route:live/chat: calls are refused*\n")
    assert "&lt;!channel&gt; &amp; &lt;@U1&gt;" in text
    assert "webhook-signature" not in post.headers


def test_the_url_of_slack_is_never_told(house: House, hook: HookReceiver) -> None:
    house.plane.secrets.put("ann", "slack-url", Secret("not-a-url-but-a-secret"))
    house.channels("owners", {"name": "slack", "slack": "secret:slack-url"})
    move(house)
    (delivery,) = house.deliveries()
    assert "not-a-url" not in delivery.problem
    assert delivery.problem.startswith("nothing can be posted to the URL of this channel")


def by_mail(server: MailServer, user: str = "", password: str = "") -> Ways:
    return Ways(mail=MailSetting("127.0.0.1", server.port, False, True, user, Secret(password), "ai@lineclear.example"))


def test_a_letter_arrives_at_every_address(tmp_path: Path) -> None:
    with MailServer(user="robot", password="p w") as server:
        for house in opened(tmp_path, by_mail(server, "robot", "p w")):
            house.channels("callers", {"name": "mail", "email": ["a@callers.example", "b@callers.example"]})
            move(house)
            (letter,) = server.letters
            assert (letter.sender, letter.user) == ("ai@lineclear.example", "robot")
            assert letter.recipients == ["a@callers.example", "b@callers.example"]
            message = letter.message
            assert message["subject"].startswith("[Lineclear] chat in live serves another release: rel_")
            assert message["auto-submitted"] == "auto-generated"
            assert message["message-id"] == f"<{house.deliveries()[0].id}@lineclear.example>"
            assert "Your apps that call it (requests in 30 days): callers-app 400." in message.get_content()


def test_a_mail_server_that_says_later_is_asked_later(tmp_path: Path) -> None:
    with MailServer(data_reply="451 later") as server:
        for house in opened(tmp_path, by_mail(server)):
            house.channels("owners", {"name": "mail", "email": ["a@owners.example"]})
            move(house)
            assert house.deliveries()[0].problem == "the mail server 127.0.0.1 answered 451"
            server.data_reply = ""
            house.clock.advance(WAITS_S[0])
            house.watch.look()
            assert (house.deliveries()[0].state, len(server.letters)) == ("delivered", 1)


def test_a_letter_goes_on_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.files("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with MailServer(tls=context, user="robot", password="word") as server:
        url = f"smtp://robot:word@localhost:{server.port}"
        for house in opened(tmp_path, Ways(mail=mail_server(url, "ai@lineclear.example"))):
            house.channels("owners", {"name": "mail", "email": ["a@owners.example"]})
            move(house)
            # Nobody vouches for the server yet, so nothing is handed in.
            assert "SSLCertVerificationError" in house.deliveries()[0].problem
            monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
            house.clock.advance(WAITS_S[0])
            house.watch.look()
            (letter,) = server.letters
            assert (letter.is_encrypted, letter.user) == (True, "robot")


@pytest.mark.parametrize(
    ("host", "password", "problem"),
    [("127.0.0.1", "pä", "UnicodeEncodeError"), ("a..b", "word", "UnicodeError")],
)
def test_what_nobody_foresaw_is_a_failed_attempt_and_is_logged_once(
    tmp_path: Path, hook: HookReceiver, caplog: pytest.LogCaptureFixture, host: str, password: str, problem: str
) -> None:
    with MailServer(user="robot", password=password) as server:
        setting = MailSetting(host, server.port, False, True, "robot", Secret(password), "ai@lineclear.example")
        for house in opened(tmp_path, Ways(mail=setting, private_network=True)):
            house.channels("owners", {"name": "mail", "email": ["a@owners.example"]})
            house.channels("callers", webhook(hook.url))
            move(house)
            found = {row.team: row for row in house.deliveries()}
            failed = found["owners"]
            assert (found["callers"].state, failed.state, failed.attempts) == ("delivered", "pending", 1)
            assert failed.next_us == house.clock.unix_us() + WAITS_S[0] * 1_000_000
            assert failed.problem == f"it could not be sent: {problem}"
            house.clock.advance(WAITS_S[0])
            house.watch.look()
            assert [record.getMessage() for record in caplog.records] == [
                f"delivery {failed.id!r} to channel 'mail' of team 'owners': {failed.problem}"
            ]


def test_an_address_that_is_unknown_is_named(tmp_path: Path) -> None:
    with MailServer() as server:
        server.unknown.add("gone@owners.example")
        for house in opened(tmp_path, by_mail(server)):
            house.channels("owners", {"name": "mail", "email": ["gone@owners.example"]})
            move(house)
            assert "takes nothing for gone@owners.example (550)" in house.deliveries()[0].problem


def test_a_mail_server_that_does_not_encrypt_gets_nothing_unasked(tmp_path: Path) -> None:
    with MailServer() as server:
        ways = Ways(mail=mail_server(f"smtp://robot:word@127.0.0.1:{server.port}", "ai@lineclear.example"))
        for house in opened(tmp_path, ways):
            house.channels("owners", {"name": "mail", "email": ["a@owners.example"]})
            move(house)
            assert "does not encrypt" in house.deliveries()[0].problem
            assert server.letters == []


def test_without_a_mail_server_the_delivery_says_what_is_missing(house: House) -> None:
    house.channels("owners", {"name": "mail", "email": ["a@owners.example"]})
    move(house)
    assert house.deliveries()[0].problem == "this server has no mail server: LINECLEAR_SMTP_URL names one"


@pytest.mark.parametrize(
    "url", ["http://a", "smtp://", "smtp://h:port", "smtps://h?tls=none", "smtp://h?tls=maybe", "smtp://h/x"]
)
def test_a_mail_server_that_cannot_be_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="LINECLEAR_SMTP_URL"):
        mail_server(url, "ai@lineclear.example")


# the API


def behaviour(_environment: str, _route: str, _now_us: int) -> dict[str, Behaviour]:
    return {}


def served(house: House, principals: Mapping[str, Principal]) -> ServedAPI:
    found = http.endpoints(house.notices, house.plane.database, house.clock, behaviour)
    return ServedAPI(found, principals.get)


def viewer(name: str, team: str, role: Role = Role.VIEWER) -> Principal:
    return Principal(name, grants=(Grant(role, Scope(team)),))


PEOPLE = {
    "all": TESTER,
    "owner": viewer("olga", "owners"),
    "caller": viewer("carl", "callers"),
    "other": viewer("otto", "others"),
    "author": viewer("anna", "callers", Role.AUTHOR),
    "stranger": viewer("sven", "others", Role.AUTHOR),
    "live": Principal("liv", grants=(Grant(Role.APPROVER, Scope(environment="live")),)),
}


@pytest.fixture
def api(house: House) -> Iterator[ServedAPI]:
    made = served(house, PEOPLE)
    yield made
    made.close()


def test_everybody_sees_their_own_part_of_a_notice(house: House, api: ServedAPI) -> None:
    move(house)
    seen = {
        name: [address["team"] for notice in api.client(name).get(path_of("notices"))["notices"]
               for address in notice["addresses"]]
        for name in PEOPLE
    }  # fmt: skip
    assert seen == {
        "all": ["callers", "owners"], "owner": ["owners"], "caller": ["callers"], "other": [],
        "author": ["callers"], "stranger": [], "live": ["callers", "owners"],
    }  # fmt: skip
    id_ = house.told()[0].id
    with pytest.raises(AdminError) as caught:
        api.client("other").get(path_of("notices", id_))
    assert caught.value.status == 404


def test_a_loud_team_hides_nothing_of_a_quiet_one(house: House, api: ServedAPI, hook: HookReceiver) -> None:
    hook.statuses = [410]
    house.channels("callers", webhook(hook.url))
    move(house)
    id_, now_us = house.told()[0].id, house.clock.unix_us()
    with house.plane.database.write() as tx:
        for at in range(notice_rows.LIST_ROWS_MAX):
            row = notice_rows.NoticeRow(
                f"ntc_{at}", now_us + 1 + at, "stop", f"stop/{at}", "live", "chat", "a stop", "{}", 0, 0
            )
            notice_rows.add_notice(tx, row, [notice_rows.AddressRow(row.id, "owners", "owner", "{}", now_us, "olga")])
            delivery = notice_rows.DeliveryRow(
                f"dlv_{at}", row.id, "owners", "hook", "dead", 1, now_us, now_us + 1 + at, now_us, "no"
            )
            notice_rows.add_delivery(tx, delivery)
    for name in ("caller", "all"):
        for query in ({"state": "open"}, {"team": "callers"}, {"kind": "release"}):
            found = api.client(name).get(path_of("notices"), query)
            assert ([notice["id"] for notice in found["notices"]], found["open"]) == ([id_], 1), (name, query)
    assert api.client("owner").get(path_of("notices"), {"state": "acknowledged"})["open"] == 1
    for name, query in (("caller", {"state": "dead"}), ("all", {"state": "dead", "team": "callers"})):
        (dead,) = api.client(name).get(path_of("notice-deliveries"), query)["deliveries"]
        assert (dead["notice"], dead["team"]) == (id_, "callers")
    assert api.client("caller").get(path_of("notice-deliveries"), {"team": "owners"})["deliveries"] == []


def test_taking_note_is_written_down_once_for_each_team(house: House, api: ServedAPI) -> None:
    move(house)
    id_ = house.told()[0].id
    where = path_of("notices", id_, "acknowledgements")
    assert api.client("caller").get(path_of("notices"), {"state": "open"})["open"] == 1
    detail = api.client("caller").post(where, {})
    assert [item["acknowledged_by"] for item in detail["notice"]["addresses"]] == ["carl"]
    assert api.client("author").post(where, {})["notice"]["addresses"][0]["acknowledged_by"] == "carl"
    assert api.client("caller").get(path_of("notices"), {"state": "open"})["notices"] == []
    assert api.client("all").get(path_of("notices"), {"state": "open"})["open"] == 1
    with pytest.raises(AdminError) as caught:
        api.client("caller").post(where, {"team": "owners"})
    assert caught.value.status == 404
    with house.plane.database.read() as tx:
        found = [row for row in rows.read_audit(tx, 0, 1_000) if row.action == AuditAction.NOTICE_ACKNOWLEDGED]
    assert [(row.actor, row.object, row.after) for row in found] == [("carl", f"notice/{id_}", "callers")]


def test_a_channel_is_tried_at_once_by_who_may_send(house: House, api: ServedAPI, hook: HookReceiver) -> None:
    hook.statuses = [500]
    house.channels("callers", webhook(hook.url))
    asked = {"team": "callers", "channel": "hook"}
    with pytest.raises(AdminError) as caught:
        api.client("caller").post(path_of("notice-tests"), asked)
    assert (caught.value.status, len(hook.posts)) == (403, 0)
    (failed,) = api.client("author").post(path_of("notice-tests"), asked)["deliveries"]
    assert (failed["state"], failed["attempts"], failed["problem"]) == ("dead", 1, "127.0.0.1 answered 500")
    (arrived,) = api.client("author").post(path_of("notice-tests"), {"team": "callers"})["deliveries"]
    assert (arrived["state"], json.loads(hook.posts[1].body)["type"]) == ("delivered", "notice.test")
    with pytest.raises(AdminError) as caught:
        api.client("author").post(path_of("notice-tests"), {"team": "owners"})
    assert caught.value.status == 404
    with pytest.raises(AdminError) as caught:
        api.client("author").post(path_of("notice-tests"), {"team": "callers", "channel": "none"})
    assert caught.value.status == 404
    assert api.client("caller").get(path_of("notices"), {"state": "open"})["notices"] == []


def test_deliveries_are_listed_and_sent_again(house: House, api: ServedAPI, hook: HookReceiver) -> None:
    hook.statuses = [410]
    house.channels("callers", webhook(hook.url))
    move(house)
    (dead,) = api.client("caller").get(path_of("notice-deliveries"), {"state": "dead"})["deliveries"]
    assert api.client("owner").get(path_of("notice-deliveries"))["deliveries"] == []
    again = path_of("notice-deliveries", dead["id"], "retries")
    for name, status in (("caller", 403), ("stranger", 404)):
        with pytest.raises(AdminError) as caught:
            api.client(name).post(again, None)
        assert caught.value.status == status
    assert api.client("author").post(again, None)["state"] == "pending"
    house.watch.look()
    assert api.client("caller").get(path_of("notice-deliveries"))["deliveries"][0]["state"] == "delivered"
    with pytest.raises(AdminError) as caught:
        api.client("author").post(again, None)
    assert caught.value.status == 409


def test_what_is_asked_for_has_to_exist(api: ServedAPI) -> None:
    for query in ({"state": "new"}, {"kind": "gossip"}, {"limit": "0"}):
        with pytest.raises(AdminError) as caught:
            api.client("all").get(path_of("notices"), query)
        assert caught.value.status == 400


def test_a_changelog_tells_what_differs(house: House, api: ServedAPI) -> None:
    move(house)
    asked = {"route": "chat", "environment": "live"}
    entries = api.client("owner").get(path_of("changelogs"), asked)["entries"]
    assert [(entry["how"], [item["component"] for item in entry["components"]]) for entry in entries] == [
        ("deployment.moved", ["targets"]), ("deployment.moved", []),
    ]  # fmt: skip
    assert entries[0]["before"] == entries[1]["after"]
    assert entries[0]["delta"] is None
    assert len(api.client("owner").get(path_of("changelogs"), {**asked, "limit": 1})["entries"]) == 1
    with pytest.raises(AdminError) as caught:
        api.client("caller").get(path_of("changelogs"), asked)
    assert caught.value.status == 404


def test_old_notices_are_forgotten(house: House) -> None:
    move(house)
    house.clock.advance(KEPT_S + 7_200)
    house.watch.look()
    assert house.told() == []
    with house.plane.database.read() as tx:
        assert notice_rows.count_deliveries(tx) == {}
