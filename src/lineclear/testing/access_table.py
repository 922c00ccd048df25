"""Who is let in at every endpoint of the admin port, as a table that a person can review.

`python -m lineclear.testing.access_table > tests/access/golden/endpoints.txt` writes it anew; a test holds the served
port to it, role by role and scope by scope, over HTTP.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lineclear.base.log import LogChoice
from lineclear.compose.control import Core, endpoints, open_core
from lineclear.compose.life import Boot
from lineclear.control.endpoint import Endpoint, Refused
from lineclear.domain.access import PLATFORM, Grant, Principal, Role, Scope

HEAD = """\
# Every endpoint of the admin port: its permission, on what that has to be held, and the roles that are let in.
# "on part" are roles held on a team, an environment or a route; there the handler asks again for each object.
# Written by `python -m lineclear.testing.access_table`.
"""
EVERYBODY = "everybody"
SIGNED_IN = "signed in"
EVERY_ROLE = "every role"
PARTS = (Scope(team="a"), Scope(environment="live"), Scope(environment="live", route="a"))


def opened(directory: Path) -> tuple[Core, tuple[Endpoint, ...]]:
    """Control's parts in a directory, with every endpoint that it serves; close what comes first."""
    (directory / "run").mkdir(mode=0o700)
    (directory / "admin.token").write_text("token-of-tests")
    boot = Boot(
        role="control",
        data_dir=directory,
        run_dir=directory / "run",
        node="local",
        boot_id="b",
        slot=0,
        life=0,
        listen_fds=(),
        master_key=bytes(32),
        log=LogChoice(),
        workers=1,
        options={"is_admin_shared": True},
    )
    core = open_core(boot)
    return core, endpoints(core, boot)


def table(served: Sequence[Endpoint]) -> str:
    """One line per endpoint."""
    rows = [_row(endpoint) for endpoint in sorted(served, key=lambda item: (item.path, item.method))]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]) for row in rows
    ]
    return HEAD + "\n".join(line.rstrip() for line in lines) + "\n"


def _row(endpoint: Endpoint) -> tuple[str, str, str, str, str]:
    everywhere, on_part = let_in(endpoint)
    name = f"{endpoint.method} {endpoint.path}"
    if _is_open_to_all(endpoint):
        return name, endpoint.permission.value, endpoint.reach.value, EVERYBODY, ""
    if len(everywhere) == len(Role) and endpoint.reach.value == "own":
        return name, endpoint.permission.value, endpoint.reach.value, SIGNED_IN, ""
    part = "nobody" if not on_part else "the same" if on_part == everywhere else " ".join(on_part)
    roles = EVERY_ROLE if len(everywhere) == len(Role) else " ".join(everywhere)
    return name, endpoint.permission.value, endpoint.reach.value, roles, f"| on part: {part}"


def let_in(endpoint: Endpoint) -> tuple[list[Role], list[Role]]:
    """Roles that are let in if held on the platform, and if held on any part of it."""
    everywhere = [role for role in Role if _is_in(endpoint, role, PLATFORM)]
    return everywhere, [role for role in Role if all(_is_in(endpoint, role, scope) for scope in PARTS)]


def _is_open_to_all(endpoint: Endpoint) -> bool:
    return endpoint.permission.value == "public"


def _is_in(endpoint: Endpoint, role: Role, scope: Scope) -> bool:
    try:
        endpoint.demand(Principal("p", grants=(Grant(role, scope),)))
    except Refused:
        return False
    return True


def main() -> None:
    """Print the table of this program."""
    with tempfile.TemporaryDirectory() as name:
        core, served = opened(Path(name))
        sys.stdout.write(table(served))
        core.ledger.close()
        core.database.close()


if __name__ == "__main__":
    main()
