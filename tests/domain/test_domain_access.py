"""Grants: a role on a scope reaches exactly the objects that lie in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineclear.domain.access import (
    HUMAN_ONLY,
    NOT_IN_EMERGENCY,
    PLATFORM,
    ROLE_PERMISSIONS,
    Grant,
    Principal,
    PrincipalKind,
    Role,
    Scope,
    parse_scope,
    with_every_role,
)
from lineclear.domain.permissions import Permission

ANYBODYS = {Permission.PUBLIC, Permission.SELF}
NAMES = st.sampled_from(["", "a", "b"])
SCOPES = st.builds(Scope, NAMES, NAMES, NAMES)


def test_every_permission_belongs_to_a_role() -> None:
    assert set().union(*ROLE_PERMISSIONS.values()) == set(Permission) - ANYBODYS
    assert set(ROLE_PERMISSIONS) == set(Role)


def test_work_that_must_be_done_by_two_is_not_one_role() -> None:
    admin, approver, author = (ROLE_PERMISSIONS[role] for role in (Role.ADMIN, Role.APPROVER, Role.AUTHOR))
    operator = ROLE_PERMISSIONS[Role.OPERATOR]
    assert not {Permission.CHANGE_APPROVE, Permission.CHANGE_APPLY, Permission.TEST_MESSAGE_SEND} & admin
    assert Permission.CHANGE_APPLY not in approver | operator
    assert not {Permission.CHANGE_APPROVE, Permission.MODEL_APPROVE} & (author | operator)
    assert [role for role in Role if Permission.PAYLOAD_READ in ROLE_PERMISSIONS[role]] == [Role.PAYLOAD_READER]
    assert [role for role in Role if Permission.GRANT_MANAGE in ROLE_PERMISSIONS[role]] == [Role.ADMIN]


@pytest.mark.parametrize("text", ["platform", "team:support", "environment:live", "route:live/openai/*"])
def test_a_scope_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_scope(text)) == text


@pytest.mark.parametrize("text", ["", "team", "team:", "team:a b", "route:chat", "route:/chat", "app:x", "platform:x"])
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no scope"):
        parse_scope(text)


@given(SCOPES, SCOPES, SCOPES)
def test_covering_is_an_order(a: Scope, b: Scope, c: Scope) -> None:
    assert a.covers(a)
    assert PLATFORM.covers(a)
    assert not (a.covers(b) and b.covers(c)) or a.covers(c)
    assert not (a.covers(b) and b.covers(a)) or a == b


@given(st.lists(st.builds(Grant, st.sampled_from(Role), SCOPES), max_size=4), SCOPES, st.sampled_from(Permission))
def test_nothing_is_allowed_that_no_grant_allows(grants: list[Grant], scope: Scope, permission: Permission) -> None:
    principal = Principal("p", grants=tuple(grants))
    by_hand = [grant for grant in grants if permission in ROLE_PERMISSIONS[grant.role] and grant.scope.covers(scope)]
    assert principal.may(permission, scope) == bool(by_hand)
    assert not principal.may(permission, scope) or (principal.may_somewhere(permission) and principal.sees(scope))


def test_a_service_account_never_approves() -> None:
    robot = with_every_role("robot", PrincipalKind.SERVICE_ACCOUNT)
    assert [item for item in Permission if not robot.may(item)] == [
        item for item in Permission if item in HUMAN_ONLY | ANYBODYS
    ]


def test_a_role_opened_in_an_emergency_gives_no_lasting_access_and_no_trail() -> None:
    opened = Principal(
        "alice", PrincipalKind.BREAK_GLASS, tuple(Grant(role, PLATFORM, is_emergency=True) for role in Role)
    )
    assert {item for item in Permission if not opened.may(item)} == NOT_IN_EMERGENCY | ANYBODYS
