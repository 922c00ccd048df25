"""The admin API's endpoints by which a person decides about a change: what differs, and what they could do about it.

In: calls. Out: facts. A change that the caller may not read whole looks like one that is not there.
"""

from lineclear.control.changes.apply import Changes
from lineclear.control.changes.comparison import Comparison, compare
from lineclear.control.changes.opening import Named
from lineclear.control.changes.options import Options, options_for
from lineclear.control.changes.requests import visible
from lineclear.control.endpoint import API_ROOT, AdminCode, Call, Endpoint, Reach, Refused
from lineclear.domain.permissions import Permission
from lineclear.store import control_rows as rows
from lineclear.store.control_rows import ChangeRow
from lineclear.store.database import Database


def endpoints(changes: Changes, database: Database, named: Named) -> tuple[Endpoint, ...]:
    """Comparison and options; `named` tells who an approver is now."""

    def comparison(call: Call) -> Comparison:
        return compare(changes, _seen(call, database).id)

    def options(call: Call) -> Options:
        return options_for(database, changes.publisher, named, _seen(call, database), call.principal)

    one = f"{API_ROOT}/changes/{{change_id}}"
    return (
        Endpoint(
            "GET", f"{one}/comparison", Permission.CHANGE_READ, comparison,
            "What a change makes of each route that it moves, component by component",
            answer=Comparison, reach=Reach.OBJECT,
        ),
        Endpoint(
            "GET", f"{one}/options", Permission.CHANGE_READ, options,
            "What the caller could do about a change, and why not the rest", answer=Options, reach=Reach.OBJECT,
        ),
    )  # fmt: skip


def _seen(call: Call, database: Database) -> ChangeRow:
    call.asked.append(Permission.CHANGE_READ)
    with database.read() as tx:
        row = rows.read_change(tx, call.path["change_id"])
    if row is None or not visible([row], call.principal):
        raise Refused(
            AdminCode.NOT_FOUND, f"there is no change {call.path['change_id']!r}", hint="`lineclear changes list`"
        )
    return row
