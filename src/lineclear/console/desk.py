"""Asks the admin API's endpoints in process, as the person who is signed in, with that person's permissions.

In: endpoints, a principal. Out: plain values as the API would send them. Must not know a page, and must not
answer anything that the API would not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lineclear.control.endpoint import AdminCode, Call, Endpoint, Principal, Refused
from lineclear.domain.permissions import Permission

# Any, in this room: values are nested JSON, as the API documents them per endpoint.


class Desk:
    """Every endpoint by its method and path."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = {(endpoint.method, endpoint.path): endpoint for endpoint in endpoints}

    def knows(self, method: str, path: str) -> bool:
        """Whether this server has such an endpoint."""
        return (method, path) in self._endpoints

    def ask(
        self,
        principal: Principal,
        method: str,
        path: str,
        *,
        parts: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: object = None,
    ) -> Any:
        """The answer of `method path` (with `parts` in its braces) as plain values.

        Raises:
            Refused: `forbidden` if the principal lacks the permission, else what the handler says.
            KeyError: if there is no such endpoint, or the query has a name that it does not declare.
        """
        endpoint = self._endpoints[method, path]
        if endpoint.permission is not Permission.PUBLIC and endpoint.permission not in principal.permissions:
            raise Refused(AdminCode.FORBIDDEN, f"{principal.name!r} may not {endpoint.permission.value}")
        given = {name: value for name, value in (query or {}).items() if value}
        undeclared = given.keys() - {parameter.name for parameter in endpoint.query}
        if undeclared:
            raise KeyError(f"{method} {path} declares no {', '.join(sorted(undeclared))}")
        answer = endpoint.handler(Call(principal, dict(parts or {}), given, body))
        return msgspec.to_builtins(answer)
