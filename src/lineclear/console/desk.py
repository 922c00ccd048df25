"""Asks the admin API's endpoints in process, as the person who is signed in, with that person's permissions.

In: endpoints, a principal. Out: plain values as the API would send them. Must not know a page, and must not
answer anything that the API would not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from pydantic import TypeAdapter, ValidationError

from lineclear.control.endpoint import AdminCode, Call, Endpoint, Refused
from lineclear.domain.access import Principal

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
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        """The answer of `method path` (with `parts` in its braces) as plain values.

        Raises:
            Refused: `forbidden` if the principal lacks the permission, else what the handler says.
            KeyError: if there is no such endpoint, or the query has a name that it does not declare.
        """
        endpoint = self._endpoints[method, path]
        endpoint.demand(principal)
        given = {name: value for name, value in (query or {}).items() if value}
        undeclared = given.keys() - {parameter.name for parameter in endpoint.query}
        if undeclared:
            raise KeyError(f"{method} {path} declares no {', '.join(sorted(undeclared))}")
        checked = None if body is None else _checked(endpoint.body, body)
        answer = endpoint.answer_to(Call(principal, dict(parts or {}), given, checked))
        return msgspec.to_builtins(answer)


def _checked(type_: Any, body: Mapping[str, Any]) -> Any:
    """The body as the endpoint's own type.

    Raises:
        Refused: `invalid_request`, as the API would say.
    """
    try:
        # As JSON, like a body that came over the wire: strict types take no dict for themselves.
        return TypeAdapter(type_).validate_json(msgspec.json.encode(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Refused(AdminCode.INVALID_REQUEST, f"{place}: {first['msg']}") from error
