"""Generates the OpenAPI document from the declared endpoints: their models, their examples and their scopes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from gateway.http.answers import JSON
from gateway.http.endpoint import Answer, Body, Endpoint, PathField, Resource
from gateway.http.problem import PROBLEM_JSON, Problem, ProblemDocument
from gateway.openapi.problems import COMMON, common_problems
from shared import version

_HEADERS: dict[str, dict[str, Any]] = {
    "Idempotent-Replayed": {
        "description": "`true` if an earlier request with the same body was already accepted",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Retry-After": {
        "description": "how many seconds to wait before the next try",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"description": "how to authenticate", "schema": {"type": "string"}},
}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_USERS_TOKEN = "token"
_SECURITY_OF_USERS = {
    _USERS_TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "a user's own token, from `POST /auth/token`; it is good for that user only",
    }
}


def openapi_document(resources: Sequence[Resource[Any]], *, keys_needed: bool = False) -> dict[str, Any]:
    """Returns the OpenAPI 3.1 document. ``keys_needed`` tells whether API_KEYS is set: without it no key is needed."""
    endpoints = [(resource.tag, endpoint) for resource in resources for endpoint in resource.endpoints]
    schemas = _Schemas(endpoint for _, endpoint in endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for tag, endpoint in endpoints:
        operation = {"tags": [tag], "security": _security(endpoint, keys_needed), **_operation(endpoint, schemas)}
        paths.setdefault(_path(endpoint), {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Notifications",
            "version": version(),
            "description": "202 means that the notification is stored: the broker has confirmed it to a quorum queue. "
            "After any other answer you may send the notification again with the same `request_id`.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": resource.tag, "description": resource.description} for resource in resources],
        "paths": paths,
        "components": {
            "schemas": schemas.definitions,
            "responses": {_problem_name(status): _answer(answer, schemas) for status, answer in COMMON.items()},
            "securitySchemes": _SECURITY | _SECURITY_OF_USERS,
        },
    }


class _Schemas:
    """Holds the JSON Schemas of all types that the endpoints name. ``definitions`` becomes ``components.schemas``."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        types: dict[Any, None] = {ProblemDocument: None}
        for endpoint in endpoints:
            models = (type(answer.example) for answer in endpoint.answers)
            types |= dict.fromkeys(model for model in models if issubclass(model, BaseModel))
            types |= {endpoint.body.type: None} if endpoint.body is not None else {}
        mode: JsonSchemaMode = "validation"
        adapters = [(index, mode, TypeAdapter[Any](each)) for index, each in enumerate(types)]
        schemas, definitions = TypeAdapter.json_schemas(adapters, ref_template="#/components/schemas/{model}")
        self.definitions: dict[str, Any] = definitions["$defs"]
        self._schemas = {each: schemas[index, mode] for index, each in enumerate(types)}

    def of(self, kind: Any) -> Any:
        """Returns the schema of this type; for a model it is a reference."""
        return self._schemas[kind]


def _operation(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": endpoint.name, "summary": endpoint.summary}
    parameters = [*_path_parameters(endpoint.path_fields), *_query_parameters(endpoint.query)]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = _request_body(endpoint.body, schemas)
    operation["responses"] = {str(answer.status): _answer(answer, schemas) for answer in endpoint.answers} | {
        str(status): {"$ref": f"#/components/responses/{_problem_name(status)}"} for status in common_problems(endpoint)
    }
    return operation


def _answer(answer: Answer, schemas: _Schemas) -> dict[str, Any]:
    names, example = answer.headers, answer.example
    shown: Any
    if isinstance(example, Problem):
        names = (*names, *example.headers)
        media, schema, shown = PROBLEM_JSON, schemas.of(ProblemDocument), example.document().model_dump(mode="json")
    elif isinstance(example, BaseModel):
        media, schema, shown = JSON, schemas.of(type(example)), example.model_dump(mode="json")
    else:
        media, schema, shown = "text/plain", {"type": "string"}, example
    described = {"description": answer.meaning, "content": {media: {"schema": schema, "example": shown}}}
    return {**described, "headers": {name: _HEADERS[name] for name in names}} if names else described


def _request_body(body: Body, schemas: _Schemas) -> dict[str, Any]:
    examples = {name: {"value": example} for name, example in body.examples.items()}
    return {"required": True, "content": {JSON: {"schema": schemas.of(body.type), "examples": examples}}}


def _path_parameters(described: Mapping[str, PathField]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "description": each.description, "schema": dict(each.schema)}
        for name, each in described.items()
    ]


def _query_parameters(query: type[BaseModel] | None) -> list[dict[str, Any]]:
    fields = query.model_json_schema()["properties"] if query is not None else {}
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": field.pop("description"),
            "schema": _plain(field),
        }
        for name, field in fields.items()
    ]


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of a field without its title and without null, which a query cannot hold."""
    field.pop("title")
    either: list[dict[str, Any]] = field.get("anyOf", [field])
    return next(kind for kind in either if kind["type"] != "null")


def _security(endpoint: Endpoint, keys_needed: bool) -> list[dict[str, list[str]]]:
    """Returns the ways to send a key or a user's token. {} says that none is needed: for this endpoint, or because
    API_KEYS is not set (development).
    """
    if endpoint.scope is None:
        return []
    either: list[dict[str, list[str]]] = [{scheme: [endpoint.scope]} for scheme in _SECURITY]
    if endpoint.users:
        either.append({_USERS_TOKEN: []})
    return either if keys_needed and not endpoint.key_optional else [*either, {}]


def _path(endpoint: Endpoint) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", endpoint.rule)


def _problem_name(status: int) -> str:
    return f"Problem{status}"
