"""Access only narrows on its way from hand to hand, and approving takes a second person."""

from hypothesis import given
from hypothesis import strategies as st

from lineclear.domain.access import PLATFORM, ROLE_PERMISSIONS, Grant, Principal, PrincipalKind, Role, Scope
from lineclear.domain.access_rules import (
    SELF_GRANT_WAIT_US,
    Approvers,
    narrowed,
    refuse_approval,
    refuse_assignment,
    refuse_last_admin,
    refuse_narrowing,
    refuse_speaking_for,
)
from lineclear.domain.permissions import Permission

NAMES = st.sampled_from(["", "a", "b"])
SCOPES = st.builds(Scope, NAMES, NAMES, NAMES)
ROLES = st.sampled_from(Role)
GRANTS = st.builds(Grant, ROLES, SCOPES)
KINDS = st.sampled_from([PrincipalKind.PERSON, PrincipalKind.SERVICE_ACCOUNT])
PRINCIPALS = st.builds(lambda kind, grants: Principal("p", kind, tuple(grants)), KINDS, st.lists(GRANTS, max_size=4))
STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), ROLES, SCOPES), max_size=25)


@given(PRINCIPALS, ROLES, SCOPES, KINDS, SCOPES)
def test_nobody_gives_access_where_they_administer_nothing(
    actor: Principal, role: Role, scope: Scope, to: PrincipalKind, object_: Scope
) -> None:
    if refuse_assignment(actor, role, scope, to) == "" and scope.covers(object_):
        assert actor.may(Permission.GRANT_MANAGE, object_)


@given(st.lists(GRANTS, min_size=1, max_size=2), KINDS, STEPS, SCOPES)
def test_through_any_chain_of_hands_nothing_reaches_beyond_the_first_administrators(
    roots: list[Grant], kind: PrincipalKind, steps: list[tuple[int, int, Role, Scope]], object_: Scope
) -> None:
    people = [Principal(str(number), PrincipalKind.PERSON) for number in range(4)]
    people[0] = Principal("0", kind, tuple(roots))
    for giver, taker, role, scope in steps:
        if not refuse_assignment(people[giver], role, scope, people[taker].kind):
            old = people[taker]
            people[taker] = Principal(old.name, old.kind, (*old.grants, Grant(role, scope, granted_by=str(giver))))
    administered = [root.scope for root in roots if root.role is Role.ADMIN]
    for person in people[1:]:
        for permission in Permission:
            if person.may(permission, object_):
                assert any(scope.covers(object_) for scope in administered)


@given(st.lists(GRANTS, max_size=4), st.lists(st.tuples(ROLES, SCOPES), max_size=4), SCOPES, KINDS)
def test_a_token_is_never_wider_than_its_principal(
    own: list[Grant], asked: list[tuple[Role, Scope]], object_: Scope, kind: PrincipalKind
) -> None:
    whole, part = Principal("p", kind, tuple(own)), Principal("p", kind, narrowed(own, asked))
    for permission in Permission:
        assert not part.may(permission, object_) or whole.may(permission, object_)
        if asked and part.may(permission, object_):
            assert any(scope.covers(object_) and permission in ROLE_PERMISSIONS[role] for role, scope in asked)
    if asked and not refuse_narrowing("p", own, asked):
        assert len(narrowed(own, asked)) >= len(set(asked))


@given(PRINCIPALS, st.lists(GRANTS, max_size=4), SCOPES)
def test_whoever_speaks_for_somebody_administers_all_that_they_reach(
    actor: Principal, held: list[Grant], object_: Scope
) -> None:
    if refuse_speaking_for(actor, "q", held) == "":
        for grant in held:
            assert not grant.scope.covers(object_) or actor.may(Permission.GRANT_MANAGE, object_)


@given(PRINCIPALS, SCOPES, st.integers(0, 10))
def test_who_approves_may_and_is_somebody_else(principal: Principal, scope: Scope, opened_us: int) -> None:
    assert refuse_approval(principal, scope, {"p"}, opened_us)
    if refuse_approval(principal, scope, {"author"}, opened_us) == "":
        assert principal.kind is PrincipalKind.PERSON
        assert principal.may(Permission.CHANGE_APPROVE, scope)


def test_a_right_to_approve_that_somebody_gave_themselves_waits_a_day() -> None:
    given_us = 1_000_000
    own = Grant(Role.APPROVER, PLATFORM, since_us=given_us, granted_by="ann")
    ann = Principal("ann", grants=(Grant(Role.ADMIN, PLATFORM), own))
    assert "gave themselves" in refuse_approval(ann, PLATFORM, {"bob"}, given_us - 5)
    assert "gave themselves" in refuse_approval(ann, PLATFORM, {"bob"}, given_us + SELF_GRANT_WAIT_US - 1)
    assert refuse_approval(ann, PLATFORM, {"bob"}, given_us + SELF_GRANT_WAIT_US) == ""
    other = Grant(Role.APPROVER, Scope(team="a"), since_us=given_us, granted_by="carol")
    both = Principal("ann", grants=(own, other))
    assert refuse_approval(both, Scope(team="a"), {"bob"}, 0) == "", "a right from somebody else is good at once"
    assert refuse_approval(both, Scope(team="b"), {"bob"}, 0)


def test_a_right_to_approve_that_an_author_gave_waits_a_day() -> None:
    given_us = 1_000_000
    ann = Principal("ann", grants=(Grant(Role.APPROVER, PLATFORM, since_us=given_us, granted_by="Amy"),))
    for opened_us in (given_us - 5, given_us + SELF_GRANT_WAIT_US - 1):
        assert "from 'Amy', who stands behind" in refuse_approval(ann, PLATFORM, {"bob", "amy"}, opened_us)
        assert refuse_approval(ann, PLATFORM, {"bob"}, opened_us) == ""
    assert refuse_approval(ann, PLATFORM, {"bob", "amy"}, given_us + SELF_GRANT_WAIT_US) == ""


def test_an_environment_wants_a_role_there_and_a_role_on_a_team() -> None:
    here = Scope(team="a", environment="live")
    right, given_us = Grant(Role.APPROVER, Scope(environment="live")), 1_000_000
    wanted = Approvers((Role.OPERATOR, Role.AUDITOR), ("risk", "legal"))

    def flaw(*grants: Grant, opened_us: int = 0) -> str:
        return refuse_approval(Principal("ann", grants=(right, *grants)), here, {"bob"}, opened_us, wanted)

    words = "wants one with the role operator or auditor and with a role on team:risk or team:legal"
    assert flaw().endswith(words)
    auditor = Grant(Role.AUDITOR, Scope(team="a"))
    on_legal = Grant(Role.CALLER, Scope(team="legal"))
    for grants in (
        (auditor,),
        (on_legal,),
        (Grant(Role.AUDITOR, Scope(team="legal")),),
        (auditor, Grant(Role.ADMIN, PLATFORM)),
    ):
        assert flaw(*grants).endswith(words)
    assert flaw(auditor, on_legal) == ""
    fresh = Grant(Role.CALLER, Scope(team="legal"), since_us=given_us, granted_by="Bob")
    assert "counts 24 hours after that" in flaw(auditor, fresh, opened_us=given_us)
    assert flaw(auditor, fresh, opened_us=given_us + SELF_GRANT_WAIT_US) == ""
    assert "may not" in refuse_approval(Principal("ann", grants=(auditor, on_legal)), here, {"bob"}, 0, wanted)


def test_the_last_administrator_is_a_person_with_a_lasting_grant() -> None:
    admin = Grant(Role.ADMIN, PLATFORM)
    person, robot = PrincipalKind.PERSON, PrincipalKind.SERVICE_ACCOUNT
    assert refuse_last_admin([], [admin])
    assert refuse_last_admin([(robot, admin)], [admin])
    assert refuse_last_admin([(person, Grant(Role.ADMIN, Scope(team="a")))], [admin])
    assert refuse_last_admin([(person, admin)], [admin]) == ""
    assert refuse_last_admin([], [Grant(Role.VIEWER, PLATFORM)]) == ""
