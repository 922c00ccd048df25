"""What the OpenAPI description says: parameters, bodies, answers, permissions, the bearer scheme.

In: endpoints. Out: OpenAPI operations and the shared schemas they refer to. Must not serve anything.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter
from starlette.responses import Response

import lineclear
from lineclear.control.endpoint import Endpoint
from lineclear.domain.permissions import Permission

BEARER = "bearer"
_REFERENCE = "#/components/schemas/{model}"

# Any, in this file: OpenAPI and JSON Schema are nested JSON values.


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
        operation["security"] = [{BEARER: []}]
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(endpoint.body, "validation")}
    if endpoint.answer is not None:
        content = _json(endpoint.answer, "serialization")
        operation["responses"] = {str(endpoint.status): {"description": endpoint.summary, "content": content}}
    return operation


def describe(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The whole description, with every schema that an operation refers to.

    Made when somebody asks for it: the schemas of all bodies and answers, and the framework, are a fifth of a start.
    """
    from fastapi.openapi.utils import get_openapi  # noqa: PLC0415 - as said above
    from fastapi.routing import APIRoute  # noqa: PLC0415 - as said above

    routes = [
        APIRoute(
            endpoint.path,
            _nothing,
            methods=[endpoint.method],
            summary=endpoint.summary,
            operation_id=_operation_id(endpoint),
            status_code=endpoint.status,
            response_model=None,
            openapi_extra=described(endpoint),
        )
        for endpoint in endpoints
    ]
    document = get_openapi(title="Lineclear admin API", version=lineclear.__version__, routes=routes)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for endpoint in endpoints:
        for type_, mode in ((endpoint.body, "validation"), (endpoint.answer, "serialization")):
            if type_ is not None:
                schemas.update(_schema(type_, mode).get("$defs", {}))
    components["securitySchemes"] = {BEARER: {"type": "http", "scheme": "bearer"}}
    return document


async def _nothing() -> Response:
    # Its docstring would become every operation's description.
    return Response()


def _operation_id(endpoint: Endpoint) -> str:
    words = endpoint.path.replace("{", "").replace("}", "").replace("-", "_").strip("/").split("/")
    return "_".join([endpoint.method.lower(), *words])


def _json(type_: Any, mode: Any) -> dict[str, Any]:
    schema = _schema(type_, mode)
    schema.pop("$defs", None)
    return {"application/json": {"schema": schema}}


def _schema(type_: Any, mode: Any) -> dict[str, Any]:
    return TypeAdapter(type_).json_schema(mode=mode, ref_template=_REFERENCE)
