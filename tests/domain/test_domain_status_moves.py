"""The status machine of model versions: every pair of statuses, as the design's table says, and every walk."""

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import sampled_from

from lineclear.domain.access import ROLE_PERMISSIONS, Role
from lineclear.domain.catalogue import ModelStatus
from lineclear.domain.status_moves import STATUS_MOVES, StatusMove, followers, no_move_words

TABLE = """
test        -> approved    approver
approved    -> deprecated  author operator
deprecated  -> approved    approver
deprecated  -> retired     author
test        -> retired     author
test        -> blocked     operator
approved    -> blocked     operator
deprecated  -> blocked     operator
retired     -> blocked     operator
blocked     -> test        approver
blocked     -> retired     author
retired     -> test        approver
"""
"""Source: research/release-governance.md §3.2."""

ROLES = {
    (ModelStatus(words[0]), ModelStatus(words[2])): {Role(role) for role in words[3:]}
    for words in (line.split() for line in TABLE.strip().splitlines())
}


@pytest.mark.parametrize("before", ModelStatus)
@pytest.mark.parametrize("after", ModelStatus)
def test_the_machine_is_the_table(before: ModelStatus, after: ModelStatus) -> None:
    assert ((before, after) in STATUS_MOVES) == ((before, after) in ROLES)
    assert (after in followers(before)) == ((before, after) in ROLES)
    if (before, after) in ROLES:
        permission = StatusMove("m@1", "team", before, after).permission
        assert {role for role, allowed in ROLE_PERMISSIONS.items() if permission in allowed} == ROLES[before, after]
    else:
        with pytest.raises(KeyError):
            _ = StatusMove("m@1", "team", before, after).permission


def test_a_version_may_begin_with_any_status_and_what_serves_live_needs_an_approver() -> None:
    for status in ModelStatus:
        permission = StatusMove("m@1", "team", None, status).permission
        serves_live = status in (ModelStatus.APPROVED, ModelStatus.DEPRECATED)
        assert (permission is not None) == serves_live
        if permission is not None:
            assert {role for role, allowed in ROLE_PERMISSIONS.items() if permission in allowed} == {Role.APPROVER}


def test_the_words_say_what_may_follow() -> None:
    assert no_move_words("small@1", ModelStatus.APPROVED, ModelStatus.RETIRED) == (
        "small@1 is approved, which retired does not follow; what may follow is deprecated, blocked"
    )


class Life(RuleBasedStateMachine):
    """A version in the hands of single roles, who try anything in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.status = ModelStatus.TEST
        self.has_been_approved_since_unserved = False

    @rule(role=sampled_from(Role), after=sampled_from(ModelStatus))
    def try_to_move(self, role: Role, after: ModelStatus) -> None:
        permission = STATUS_MOVES.get((self.status, after))
        if permission is None or permission not in ROLE_PERMISSIONS[role]:
            return
        if after is ModelStatus.APPROVED:
            assert role is Role.APPROVER
            self.has_been_approved_since_unserved = True
        if after in (ModelStatus.TEST, ModelStatus.RETIRED, ModelStatus.BLOCKED):
            self.has_been_approved_since_unserved = False
        self.status = after

    @precondition(lambda self: self.status in (ModelStatus.APPROVED, ModelStatus.DEPRECATED))
    @invariant()
    def what_serves_live_was_approved_after_it_last_did_not(self) -> None:
        assert self.has_been_approved_since_unserved

    @invariant()
    def somebody_can_always_stop_it_or_bring_it_back(self) -> None:
        assert self.status is ModelStatus.BLOCKED or ModelStatus.BLOCKED in followers(self.status)
        assert followers(self.status)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
