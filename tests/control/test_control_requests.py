"""Change requests: what needs approval, whose approval counts, what time and other changes do to one that waits."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lineclear.base.secret import Secret
from lineclear.config.manifest import ManifestFile, Reading, read_values
from lineclear.control.changes.apply import Applied, Author
from lineclear.control.changes.opening import WAITING_EACH_BYTES_MAX
from lineclear.control.changes.requests import ChangeRequests
from lineclear.control.endpoint import AdminCode, Refused
from lineclear.domain.access import PLATFORM, Grant, Principal, PrincipalKind, Role, Scope
from lineclear.domain.change_request import LIFE_S, ChangeState
from lineclear.domain.permissions import Permission
from lineclear.store import change_rows
from lineclear.store import control_rows as rows
from lineclear.testing.clock import TestClock
from lineclear.testing.control_plane import ControlPlane

BASE = """
kind: Team
name: support
---
kind: Team
name: sales
---
kind: Provider
name: acme
dialects: [openai]
base_url: https://api.acme.example/v1
credential: ${ACME_KEY}
---
kind: Model
name: small
owner: support
versions:
  - {version: "1", provider: acme, upstream_id: s1, status: approved, price: {input_per_mtok: "1"}}
  - {version: "2", provider: acme, upstream_id: s2, status: approved, price: {input_per_mtok: "2"}}
---
kind: Prompt
name: voice
text: be kind
---
kind: Environment
name: live
class: live
approvals: 1
"""
ROUTE = """
kind: Route
name: chat
team: support
environments:
  test: {targets: [{model: small@1}]}
  live: {targets: [{model: small@VERSION}], prompt: voice}
"""
LIVE = Scope(environment="live")


def person(name: str, *grants: tuple[Role, Scope], kind: PrincipalKind = PrincipalKind.PERSON) -> Principal:
    return Principal(name, kind, tuple(Grant(role, scope) for role, scope in grants))


ANN = person("ann", (Role.AUTHOR, PLATFORM), (Role.APPROVER, PLATFORM))
BOB = person("bob", (Role.APPROVER, LIVE))
EVE = person("eve", (Role.AUTHOR, PLATFORM))
ZOE, CARL = (person(name, (Role.APPROVER, PLATFORM)) for name in ("zoe", "carl"))


def allow(_permission: Permission, _scope: Scope) -> None:
    """The caller's grants are not what these tests are about."""


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def plane(tmp_path: Path, clock: TestClock) -> Iterator[ControlPlane]:
    made = ControlPlane(tmp_path, clock=clock).start()
    # The first change finds nothing protected: the environment is what it was before.
    assert change(made, "ann", BASE + "---" + ROUTE.replace("VERSION", "1")).state is ChangeState.APPLIED
    yield made
    made.close()


@pytest.fixture
def requests(plane: ControlPlane) -> ChangeRequests:
    people = {item.name: item for item in (ANN, BOB, EVE, ZOE, CARL, replace(BOB, name="Bob"))}
    return ChangeRequests(plane.changes, lambda _tx, name: people[name])


def change(plane: ControlPlane, author: str | Author, text: str, note: str = "why") -> Applied:
    reading = plane.changes.read([ManifestFile("m.yaml", text, str(plane.directory))])
    who = Author(author) if isinstance(author, str) else author
    return plane.changes.apply(reading, {"ACME_KEY": Secret("sk-1")}, who, note=note)


def opened(plane: ControlPlane, version: str = "2", author: str | Author = "ann") -> str:
    done = change(plane, author, ROUTE.replace("VERSION", version))
    assert (done.state, done.change is not None) == (ChangeState.OPEN, True)
    return done.change or ""


def stable(plane: ControlPlane) -> str:
    with plane.database.read() as tx:
        return rows.read_deployments(tx)["live", "chat"].stable


def refused(work: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        work()
    return caught.value


def test_a_change_of_a_protected_environment_waits_and_is_carried_out_once_somebody_else_approves(
    plane: ControlPlane, requests: ChangeRequests
) -> None:
    before = stable(plane)
    change_id = opened(plane)
    assert stable(plane) == before
    assert refused(lambda: requests.apply(change_id, ANN, allow)).code is AdminCode.CONFLICT
    shown = requests.approve(change_id, BOB, "looks good")
    assert (shown.row.state, shown.missing) == (ChangeState.APPROVED, ())
    done = requests.apply(change_id, ANN, allow)
    assert (done.state, done.change) == (ChangeState.APPLIED, change_id)
    assert stable(plane) != before
    with plane.database.read() as tx:
        row = rows.read_change(tx, change_id)
        events = [(item.action, item.actor) for item in rows.read_audit_of(tx, f"change/{change_id}", 10)]
        content = change_rows.read_content(tx, change_id)
    assert row is not None
    assert (row.author, row.approver, row.state) == ("ann", "bob", "applied")
    assert events == [("change.applied", "ann"), ("change.approved", "bob"), ("change.opened", "ann")]
    assert content is None


@pytest.mark.parametrize(
    "text",
    [
        "kind: Environment\nname: live\nclass: live\napprovals: 0\n",
        "kind: Prompt\nname: voice\ntext: be brief\n",
        ROUTE.replace("VERSION", "1").replace("voice}", "voice, limits: {concurrency: 3}}"),
        ROUTE.replace("VERSION", "1").replace("team: support", "team: support\ndata_class: restricted"),
        BASE.split("---")[3].replace('input_per_mtok: "1"', 'input_per_mtok: "9"'),
        BASE.split("---")[2].replace("v1", "v2"),
        BASE.split("---")[3] + '  - {version: "3", provider: acme, upstream_id: s3, status: approved}\n',
    ],
    ids=["protection", "prompt", "limits", "data class", "price", "provider", "status approved"],
)
def test_everything_that_serves_in_a_protected_environment_needs_approval(plane: ControlPlane, text: str) -> None:
    done = change(plane, "ann", text)
    assert done.state is ChangeState.OPEN
    assert {need.environment for need in done.plan.needs} == {"live"}


@pytest.mark.parametrize(
    "text",
    [
        "kind: Team\nname: other\n",
        "kind: Prompt\nname: unused\ntext: a\n",
        "kind: App\nname: shop\nteam: sales\n",
        ROUTE.replace("VERSION", "1").replace("model: small@1}]}\n", "model: small@2}]}\n", 1),
        BASE.split("---")[3] + '  - {version: "3", provider: acme, upstream_id: s3, status: test}\n',
    ],
    ids=["team", "unused prompt", "app", "another environment", "status test"],
)
def test_what_does_not_serve_there_is_applied_at_once(plane: ControlPlane, text: str) -> None:
    done = change(plane, "ann", text)
    assert done.state is ChangeState.APPLIED
    with plane.database.read() as tx:
        (event, *_) = rows.read_audit_of(tx, f"change/{done.change}", 1)
    assert event.before == "self-approved"


@pytest.mark.parametrize(
    ("who", "author", "words"),
    [
        (ANN, Author("ann"), "somebody else"),
        (replace(ANN, name="ANN"), Author("ann"), "somebody else"),
        (BOB, Author("ann", co_authors=("bob",)), "somebody else"),
        (BOB, Author("ci", owners=("bob",)), "somebody else"),
        (EVE, Author("ann"), "may not change:approve"),
        (person("bot", (Role.APPROVER, PLATFORM), kind=PrincipalKind.SERVICE_ACCOUNT), Author("ann"), "never approves"),
        (person("own", (Role.APPROVER, PLATFORM), kind=PrincipalKind.PLATFORM), Author("ann"), "platform"),
        (person("zoe", (Role.APPROVER, Scope(team="sales"))), Author("ann"), "may not change:approve"),
        (person("zoe", (Role.APPROVER, Scope(environment="test"))), Author("ann"), "may not change:approve"),
    ],
    ids=["author", "alias", "co-author", "owner", "no approver", "service account", "platform", "team", "environment"],
)
def test_whose_approval_does_not_count(
    plane: ControlPlane, requests: ChangeRequests, who: Principal, author: Author, words: str
) -> None:
    change_id = opened(plane, author=author)
    error = refused(lambda: requests.approve(change_id, who))
    assert (error.code, words in error.message) == (AdminCode.FORBIDDEN, True), error.message
    assert requests.show(change_id).row.state == ChangeState.OPEN


def test_a_token_that_the_author_handed_out_does_not_approve(plane: ControlPlane, requests: ChangeRequests) -> None:
    change_id = opened(plane)
    error = refused(lambda: requests.approve(change_id, BOB, owners=("ann",)))
    assert "owns what this call was made with" in error.message


def test_a_right_that_somebody_gave_themselves_waits_a_day(
    plane: ControlPlane, requests: ChangeRequests, clock: TestClock
) -> None:
    change_id = opened(plane)
    granted = Grant(Role.APPROVER, LIVE, since_us=clock.unix_us(), granted_by="bob")
    assert "24 hours" in refused(lambda: requests.approve(change_id, Principal("bob", grants=(granted,)))).message


def test_a_scope_that_covers_the_team_of_a_route_is_enough(plane: ControlPlane, requests: ChangeRequests) -> None:
    change_id = opened(plane)
    zoe = person("zoe", (Role.APPROVER, Scope(team="support")))
    assert requests.approve(change_id, zoe).row.state == ChangeState.APPROVED


def test_two_approvals_are_two_people(plane: ControlPlane, requests: ChangeRequests) -> None:
    change_id = change(plane, "ann", BASE.split("---")[5].replace("approvals: 1", "approvals: 2")).change or ""
    requests.approve(change_id, BOB)
    requests.apply(change_id, ANN, allow)
    change_id = opened(plane)
    assert requests.approve(change_id, BOB).row.state == ChangeState.OPEN
    assert requests.approve(change_id, replace(BOB, name="Bob")).row.state == ChangeState.OPEN
    assert requests.approve(change_id, person("zoe", (Role.APPROVER, PLATFORM))).row.state == ChangeState.APPROVED


def test_a_note_is_needed_where_somebody_has_to_approve(plane: ControlPlane) -> None:
    error = refused(lambda: change(plane, "ann", ROUTE.replace("VERSION", "2"), note=" "))
    assert (error.code, "--note" in error.hint) == (AdminCode.INVALID_REQUEST, True)


def test_the_same_change_is_opened_once(plane: ControlPlane, requests: ChangeRequests) -> None:
    change_id = opened(plane)
    assert opened(plane) == change_id
    listed, waiting = requests.listed(10)
    assert [row.state for row in waiting] == [ChangeState.OPEN]
    assert waiting == [row for row in listed if row.state == ChangeState.OPEN]


def test_a_change_elsewhere_leaves_approvals_alone(plane: ControlPlane, requests: ChangeRequests) -> None:
    change_id = opened(plane)
    requests.approve(change_id, BOB)
    change(plane, "ann", "kind: Team\nname: other\n")
    assert requests.show(change_id).row.state == ChangeState.APPROVED
    assert requests.apply(change_id, ANN, allow).state is ChangeState.APPLIED


def test_a_change_below_makes_it_stale_and_a_rebase_loses_its_approvals(
    plane: ControlPlane, requests: ChangeRequests
) -> None:
    change_id = opened(plane)
    requests.approve(change_id, BOB)
    other = change(plane, "eve", BASE.split("---")[2].replace("v1", "v9")).change or ""
    requests.approve(other, BOB)
    requests.apply(other, EVE, allow)
    assert requests.show(change_id).row.state == ChangeState.STALE
    assert refused(lambda: requests.apply(change_id, ANN, allow)).code is AdminCode.CONFLICT
    assert refused(lambda: requests.approve(change_id, BOB)).code is AdminCode.CONFLICT
    shown = requests.rebase(change_id, EVE, allow)
    assert (shown.row.state, shown.row.co_authors) == (ChangeState.OPEN, '["eve"]')
    assert (
        "somebody else"
        in refused(lambda: requests.approve(change_id, person("eve", (Role.APPROVER, PLATFORM)))).message
    )
    assert requests.approve(change_id, BOB).row.state == ChangeState.APPROVED
    assert requests.apply(change_id, ANN, allow).state is ChangeState.APPLIED


def rebased_onto_something_else(plane: ControlPlane, requests: ChangeRequests, change_id: str) -> None:
    other = change(plane, "eve", BASE.split("---")[2].replace("v1", "v9")).change or ""
    requests.approve(other, BOB)
    requests.apply(other, EVE, allow)
    requests.rebase(change_id, EVE, allow)


def test_an_approval_is_of_what_was_shown_and_of_nothing_else(plane: ControlPlane, requests: ChangeRequests) -> None:
    change_id = opened(plane)
    shown = requests.show(change_id).row.content_digest
    rebased_onto_something_else(plane, requests, change_id)
    error = refused(lambda: requests.approve(change_id, BOB, content=shown))
    assert (error.code, "look at it again" in error.hint) == (AdminCode.STALE_PLAN, True)
    standing = requests.show(change_id)
    assert (standing.row.state, standing.approvals) == (ChangeState.OPEN, ())
    done = requests.approve(change_id, BOB, content=standing.row.content_digest)
    assert done.row.state == ChangeState.APPROVED


def test_what_was_carried_out_names_nobody_who_approved_something_else(
    plane: ControlPlane, requests: ChangeRequests
) -> None:
    change_id = opened(plane)
    requests.approve(change_id, BOB)
    rebased_onto_something_else(plane, requests, change_id)
    requests.approve(change_id, ZOE)
    requests.apply(change_id, ANN, allow)
    assert requests.show(change_id).row.approver == "zoe"


def test_a_rebase_onto_the_same_keeps_approvals(plane: ControlPlane, requests: ChangeRequests) -> None:
    change_id = opened(plane)
    requests.approve(change_id, BOB)
    change(plane, "ann", "kind: Team\nname: other\n")
    shown = requests.rebase(change_id, EVE, allow)
    assert (shown.row.state, shown.row.co_authors) == (ChangeState.APPROVED, "[]")


@pytest.mark.parametrize("closing", ["reject", "withdraw"])
def test_a_stale_change_can_be_closed_and_stays_closed(
    plane: ControlPlane, requests: ChangeRequests, closing: str
) -> None:
    change_id = opened(plane)
    other = change(plane, "eve", BASE.split("---")[2].replace("v1", "v9")).change or ""
    requests.approve(other, BOB)
    requests.apply(other, EVE, allow)
    assert requests.show(change_id).row.state == ChangeState.STALE
    shown = requests.reject(change_id, BOB, "no") if closing == "reject" else requests.withdraw(change_id, ANN)
    assert shown.row.state in (ChangeState.REJECTED, ChangeState.WITHDRAWN)
    for step in (
        lambda: requests.approve(change_id, BOB),
        lambda: requests.reject(change_id, BOB, "no"),
        lambda: requests.withdraw(change_id, ANN),
        lambda: requests.rebase(change_id, ANN, allow),
        lambda: requests.apply(change_id, ANN, allow),
    ):
        assert refused(step).code is AdminCode.CONFLICT


def test_nobody_else_withdraws_and_no_one_but_an_approver_rejects(
    plane: ControlPlane, requests: ChangeRequests
) -> None:
    change_id = opened(plane)
    stranger = person("sam", (Role.VIEWER, PLATFORM))
    assert refused(lambda: requests.withdraw(change_id, stranger)).code is AdminCode.FORBIDDEN
    assert refused(lambda: requests.reject(change_id, stranger, "no")).code is AdminCode.FORBIDDEN
    assert refused(lambda: requests.reject(change_id, BOB, " ")).code is AdminCode.INVALID_REQUEST


def test_what_nobody_carries_out_expires_with_everything_that_came_with_it(
    plane: ControlPlane, requests: ChangeRequests, clock: TestClock
) -> None:
    change_id = opened(plane)
    requests.approve(change_id, BOB)
    clock.advance(LIFE_S)
    assert requests.show(change_id).row.state == ChangeState.EXPIRED
    with plane.database.read() as tx:
        assert change_rows.read_content(tx, change_id) is None


def test_values_that_came_with_a_change_are_sealed_until_it_is_carried_out(
    plane: ControlPlane, requests: ChangeRequests
) -> None:
    text = BASE.split("---")[2].replace("${ACME_KEY}", "${OTHER_KEY}")
    reading = plane.changes.read([ManifestFile("m.yaml", text)])
    done = plane.changes.apply(reading, {"OTHER_KEY": Secret("sk-very-secret")}, Author("ann"), note="rotate")
    assert done.change is not None
    with plane.database.read() as tx:
        sealed = change_rows.read_content(tx, done.change)
        assert sealed is not None
        assert b"sk-very-secret" not in sealed
        assert "OTHER_KEY" not in plane.publisher.vault.credentials(tx)
    requests.approve(done.change, BOB)
    requests.apply(done.change, ANN, allow)
    with plane.database.read() as tx:
        assert plane.publisher.vault.credentials(tx)["OTHER_KEY"] == Secret("sk-very-secret")


def test_an_approval_that_somebody_wrote_into_the_database_counts_for_nothing(
    plane: ControlPlane, requests: ChangeRequests
) -> None:
    change_id, other = opened(plane), opened(plane, author="eve", version="2")
    assert change_id == other
    requests.approve(change_id, BOB)
    with plane.database.write() as tx:
        (row,) = change_rows.read_approvals(tx, change_id)
        change_rows.put_approval(tx, replace(row, principal="carl"))
        change_rows.put_approval(tx, replace(row, mac="0" * 64))
    assert refused(lambda: requests.apply(change_id, ANN, allow)).code is AdminCode.CONFLICT
    assert requests.show(change_id).row.state == ChangeState.OPEN


def test_one_author_keeps_no_more_than_a_share_of_what_is_kept(plane: ControlPlane) -> None:
    words = "x" * 250_000
    prompts = [{"kind": "Prompt", "name": f"p{at}", "text": words} for at in range(WAITING_EACH_BYTES_MAX // 700_000)]

    def ask(author: str, at: int) -> ChangeState:
        voice = {"kind": "Prompt", "name": "voice", "text": f"be kind {at}"}
        reading = Reading(read_values([*prompts, voice], "test"), ())
        return plane.changes.apply(reading, {}, Author(author), note="why").state

    assert [ask("ann", at) for at in range(2)] == [ChangeState.OPEN] * 2
    error = refused(lambda: ask("ann", 2))
    assert (error.code, "changes of yours wait already" in error.message) == (AdminCode.CONFLICT, True)
    assert ask("ann", 1) is ChangeState.OPEN, "one that waits already"
    assert ask("eve", 2) is ChangeState.OPEN


def test_a_freeze_stops_what_serves_and_nothing_else(
    plane: ControlPlane, requests: ChangeRequests, clock: TestClock
) -> None:
    change_id = opened(plane)
    now = clock.unix_us() // 1_000_000
    window = f"freeze: [{{from: '{_iso(now - 60)}', to: '{_iso(now + 3600)}', reason: sale}}]\n"
    freeze = change(plane, "eve", BASE.split("---")[5] + window).change or ""
    requests.approve(freeze, BOB)
    requests.apply(freeze, EVE, allow)
    requests.rebase(change_id, ANN, allow)
    requests.approve(change_id, BOB)
    error = refused(lambda: requests.apply(change_id, ANN, allow))
    assert (error.code, "(sale)" in error.message) == (AdminCode.FROZEN, True)
    assert change(plane, "ann", "kind: Team\nname: other\n").state is ChangeState.APPLIED
    clock.advance(3601)
    assert requests.apply(change_id, ANN, allow).state is ChangeState.APPLIED


def test_a_release_may_name_only_versions_whose_status_the_environment_allows(plane: ControlPlane) -> None:
    text = "kind: Environment\nname: test\nclass: test\nallowed_statuses: [approved]\n"
    assert change(plane, "ann", text).state is ChangeState.APPLIED
    version = BASE.split("---")[3] + '  - {version: "3", provider: acme, upstream_id: s3, status: test}\n'
    route = ROUTE.replace("VERSION", "1").replace("small@1", "small@3", 1)
    error = refused(lambda: change(plane, "ann", f"{version}---{route}"))
    assert [(item.code, item.path) for item in error.findings] == [
        ("status_not_allowed", "Route/chat.environments.test")
    ]


def _iso(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat()
