"""What the OpenAPI description says about an endpoint beyond its path: parameters, body, answer, permission."""

from typing import Any

from pydantic import TypeAdapter

from lineclear.control.endpoint import Endpoint
from lineclear.domain.permissions import Permission


def described(endpoint: Endpoint) -> dict[str, Any]:
    """The OpenAPI operation's fields that come from the endpoint."""
    names = [part[1:-1] for part in endpoint.path.split("/") if part.startswith("{")]
    operation: dict[str, Any] = {
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names),
            *(
                {
                    "name": parameter.name,
                    "in": "query",
                    "required": parameter.required,
                    "description": parameter.meaning,
                    "schema": {"type": "string"},
                }
                for parameter in endpoint.query
            ),
        ],
        "x-permission": endpoint.permission.value,
    }
    if endpoint.permission is not Permission.PUBLIC:
        operation["security"] = [{"bearer": []}]
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(endpoint.body, "validation")}
    if endpoint.answer is not None:
        content = _json(endpoint.answer, "serialization")
        operation["responses"] = {str(endpoint.status): {"description": endpoint.summary, "content": content}}
    return operation


def _json(type_: Any, mode: Any) -> dict[str, Any]:
    # Any: a type expression, as pydantic takes it; nested types stand inside, so that nothing needs a registry.
    return {"application/json": {"schema": TypeAdapter(type_).json_schema(mode=mode)}}
