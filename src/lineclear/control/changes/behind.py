"""Who may approve what follows from a change after it was carried out, such as the next step of its rollout.

In: a change's id, a principal, where it lies. Out: why not; empty if they may. The rules are those of change requests.
"""

from dataclasses import replace

from lineclear.control.changes import opening
from lineclear.control.changes.owners import owners_of
from lineclear.control.publish import read_desired
from lineclear.control.stand_ins import stand_ins
from lineclear.domain.access import Principal, Scope
from lineclear.domain.change_request import Need, approvable
from lineclear.store import control_rows as rows
from lineclear.store.database import Database


def refuse_follow_up(database: Database, change_id: str, principal: Principal, scope: Scope) -> str:
    """Why `principal` may not approve what follows from this change in `scope`, as its environment is protected now."""
    with database.read() as tx:
        approvers = read_desired(tx).approvers(scope.environment)
    return refuse_approving(database, change_id, principal, Need(scope.environment, scope, 1, (), approvers))


def refuse_approving(database: Database, change_id: str, principal: Principal, need: Need) -> str:
    """Why `principal` may not approve what a change needs, or what follows from it; of an unknown one nobody may."""
    with database.read() as tx:
        row = rows.read_change(tx, change_id)
        if row is None:
            return f"nothing is known of the change {change_id!r} behind it"
        authorship = opening.authorship_of(row)
        acting = replace(authorship, stand_ins=stand_ins(tx, authorship.everybody, row.created_us))
    behind = [name for name in owners_of(database, principal) if authorship.includes(name)]
    if behind:
        return f"{behind[0]!r} stands behind the change and owns what this call was made with"
    needs, flaw = approvable(principal, [need], acting, row.created_us)
    return "" if needs else flaw
