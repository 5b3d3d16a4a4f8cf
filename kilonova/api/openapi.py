"""The OpenAPI document, from the same tables that requests are routed and checked by.

Knows routes and their schemas, and no resource. The document is of one microversion; its schemas are those
of the routes, in the JSON Schema that OpenAPI 3.1 has (https://spec.openapis.org/oas/v3.1.0).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kilonova.api.microversions import Version
from kilonova.api.routing import ActOn, Route
from kilonova.api.versions import HEADER, shown

_PARAMETER = re.compile(r"{(\w+)}")
_FAULT = {
    "description": "Refused, and why.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Fault"}}},
}
_COMPONENTS = {
    "schemas": {
        "Fault": {
            "type": "object",
            "description": "One key, the name of the fault.",
            "additionalProperties": {
                "type": "object",
                "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
                "required": ["code", "message"],
            },
        }
    },
    "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
}


def describe(mounts: Mapping[str, Sequence[Route]], version: Version) -> dict[str, Any]:
    """Return the document of all routes served at a microversion, given by the path they are mounted at."""
    paths: dict[str, dict[str, Any]] = {}
    for mount, routes in mounts.items():
        for route in routes:
            if version in route.when:
                operations = paths.setdefault(mount + route.path, {})
                # Where several are served, the first one answers.
                operations.setdefault(route.method.lower(), _operation(route, mount, version))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "kilonova",
            "version": shown(version),
            "description": f"The Compute API at microversion {shown(version)}, and kilonova's own.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": _COMPONENTS,
    }


def _operation(route: Route, mount: str, version: Version) -> dict[str, Any]:
    words = [word for word in re.split(r"\W+", mount + route.path) if word]
    operation: dict[str, Any] = {
        "operationId": "_".join([route.method.lower(), *words]),
        "tags": [route.path.split("/")[1]],
        "parameters": [*_parameters(route, version)],
        "responses": {"2XX": {"description": "Done, or accepted."}, "4XX": _FAULT},
    }
    if route.rule:
        operation["description"] = f"Policy rule: {route.rule}"
    if route.method in ("POST", "PUT"):
        content = {"application/json": {"schema": _exported(_body(route, version))}}
        operation["requestBody"] = {"required": route.body is not None, "content": content}
    return operation


def _parameters(route: Route, version: Version) -> Iterator[dict[str, Any]]:
    yield {
        "name": HEADER,
        "in": "header",
        "schema": {"type": "string", "default": f"compute {shown(version)}"},
    }
    for name in _PARAMETER.findall(route.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    query = route.query.at(version)
    for name, schema in query.get("properties", {}).items():
        yield {
            "name": name,
            "in": "query",
            "required": name in query.get("required", ()),
            "schema": _exported(schema),
        }


def _body(route: Route, version: Version) -> Mapping[str, Any]:
    if isinstance(route.handler, ActOn):
        acts = route.handler.acts.values()
        served = [act.body.at(version) for act in acts if version in act.when]
        return {"anyOf": served}
    return route.body.at(version) if route.body else {}


def _exported(schema: Any) -> Any:
    """Return a schema whose patterns are regular expressions of ECMA 262, which has no ``\\Z``."""
    if isinstance(schema, dict):
        return {
            _ecma(key) if isinstance(key, str) else key: (
                _ecma(value) if key == "pattern" and isinstance(value, str) else _exported(value)
            )
            for key, value in schema.items()
        }
    if isinstance(schema, list):
        return [_exported(one) for one in schema]
    return schema


def _ecma(pattern: str) -> str:
    return pattern.replace(r"\Z", "$")
