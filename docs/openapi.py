"""Generator of the OpenAPI document: from the structs, parameters and classes of events that the functions use."""

from __future__ import annotations

import json
from typing import Any

import msgspec

import marquee
from marquee.events.json_records import event_schema, format_descriptions
from marquee.ingest.events_http import EVENTS, MAX_EVENTS, SCHEMA
from marquee.ingest.http_events import EventsReceipt
from marquee.serving.answer_document import AnswerDocument, SimilarDocument
from marquee.serving.request_parameters import PARAMETERS, RECOMMEND_PARAMETERS, SIMILAR_PARAMETERS

_REF = "#/components/schemas/{name}"
_RECOMMEND = [{"url": "http://127.0.0.1:8082", "description": "recommend of the local system"}]
_EVENTS = [{"url": "http://127.0.0.1:8084", "description": "events of the local system"}]
_NOT_USER_ID = r"^[^,/\u0000-\u001f\u007f-\u009f\ufffd]+$"


def openapi_document() -> dict[str, Any]:
    """Return the document, OpenAPI 3.1."""
    events = event_schema(_REF)
    _, answers = msgspec.json.schema_components([AnswerDocument, SimilarDocument, EventsReceipt], ref_template=_REF)
    format_descriptions(answers)
    union = {name: events[name] for name in ("anyOf", "discriminator")}
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Marquee",
            "version": marquee.__version__,
            "summary": "Recommendations, similar movies and events",
            "description": (
                "`recommend` and `events` are functions with addresses of their own; see `servers`. A `+` in a query "
                "string stands for itself, because movie ids contain it: write a space as `%20`."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": _RECOMMEND,
        "security": [{"key": []}, {"bearer": []}, {}],
        "paths": {
            "/recommend/{user_id}": {"get": _recommend()},
            "/similar/{movie_id}": {"get": _similar()},
            EVENTS: {"post": _events(), "servers": _EVENTS},
            SCHEMA: {"get": _events_schema(), "servers": _EVENTS},
            "/version": {"get": _version()},
            "/readyz": {"get": _ready()},
        },
        "components": {
            "schemas": {**answers, "Event": union, **events["$defs"]},
            "responses": {
                "Refused": _text("The request is not valid; the sentence says what arrived and what is valid"),
                "Unauthorized": _text("No valid key or token", "WWW-Authenticate"),
                "Forbidden": _text("The key lacks the scope, or the token is for another user"),
                "TooMany": _text("More requests than the caller may send", "Retry-After"),
                "Unavailable": _text("Not now: repeat the request later", "Retry-After"),
            },
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "Marquee-Key"},
                "bearer": {"type": "http", "scheme": "bearer", "description": "A key, or a token of a user"},
            },
        },
    }
    return msgspec.json.decode(msgspec.json.encode(document), type=dict[str, Any])


def openapi_file(document: dict[str, Any]) -> str:
    """Return the text of the document."""
    return json.dumps(document, indent=1, ensure_ascii=True) + "\n"


def _recommend() -> dict[str, Any]:
    return {
        "operationId": "recommend",
        "summary": "Movies for a user, best first",
        "description": "A plain list of movie ids joined by commas or, if the request accepts it, JSON.",
        "parameters": [_path("user_id", "The user; any id is answered", "42", 128), *_query(RECOMMEND_PARAMETERS)],
        "responses": {
            "200": {
                "description": "The list",
                "headers": {
                    name: {"schema": {"type": "string"}}
                    for name in ("Marquee-Recommendation-Id", "Marquee-Arm", "Marquee-Model-Version", "Marquee-Tier")
                },
                "content": _list("AnswerDocument"),
            },
            **_errors(),
            "414": {"description": "The path with its parameters has more than 8,190 bytes"},
        },
    }


def _similar() -> dict[str, Any]:
    return {
        "operationId": "similar",
        "summary": "The movies that are most similar to a movie",
        "description": "A plain list of movie ids joined by commas or, if the request accepts it, JSON.",
        "parameters": [_path("movie_id", "The movie", "fargo+1996", 512), *_query(SIMILAR_PARAMETERS)],
        "responses": {
            "200": {"description": "The movies", "content": _list("SimilarDocument")},
            "404": _text("There is no such movie"),
            "414": {"description": "The path with its parameters has more than 8,190 bytes"},
            **_errors(),
        },
    }


def _events() -> dict[str, Any]:
    several = {"type": "array", "items": _ref("Event"), "minItems": 1, "maxItems": MAX_EVENTS}
    body = {"oneOf": [_ref("Event"), several]}
    return {
        "operationId": "sendEvents",
        "summary": "Store events, each exactly once",
        "description": "The source, which is the caller's key, and its `id` identify an event.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "202": {
                "description": "Each event is stored, was stored before, or is in quarantine",
                "content": {"application/json": {"schema": _ref("EventsReceipt")}},
            },
            "413": _text("The body is too large"),
            **_errors(),
        },
    }


def _events_schema() -> dict[str, Any]:
    answer = {"description": "JSON Schema", "content": {"application/schema+json": {"schema": {"type": "object"}}}}
    return {"operationId": "eventsSchema", "summary": "The JSON schema of an event", "responses": {"200": answer}}


def _version() -> dict[str, Any]:
    answer = {"description": "Program and models", "content": {"application/json": {"schema": {"type": "object"}}}}
    return {"operationId": "version", "summary": "The program, the release and its arms", "responses": {"200": answer}}


def _ready() -> dict[str, Any]:
    answers = {"200": _text("A recommendation can be made"), "503": {"$ref": "#/components/responses/Unavailable"}}
    return {"operationId": "ready", "summary": "Readiness for recommendations", "responses": answers}


def _query(names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "description": f"{PARAMETERS[name].doc} Valid: {PARAMETERS[name].valid}.",
            "schema": PARAMETERS[name].schema,
            **({"example": _example(name)} if PARAMETERS[name].example else {}),
        }
        for name in names
    ]


def _example(name: str) -> Any:
    parameter = PARAMETERS[name]
    return parameter.example if parameter.schema["type"] == "string" else json.loads(parameter.example)


def _path(name: str, text: str, example: str, longest: int) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": longest, "pattern": _NOT_USER_ID}
    return {"name": name, "in": "path", "required": True, "description": text, "schema": schema, "example": example}


def _errors() -> dict[str, Any]:
    names = {"400": "Refused", "401": "Unauthorized", "403": "Forbidden", "429": "TooMany", "503": "Unavailable"}
    return {status: {"$ref": f"#/components/responses/{name}"} for status, name in names.items()}


def _list(document: str) -> dict[str, Any]:
    """Return the content of an answer with movies: JSON, or their ids as text."""
    listed = {"schema": {"type": "string"}, "examples": {"list": {"value": "fargo+1996,brazil+1985"}}}
    return {"application/json": {"schema": _ref(document)}, "text/plain": listed}


def _text(description: str, *headers: str) -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}}
    named = {"headers": {name: {"schema": {"type": "string"}} for name in headers}} if headers else {}
    return {"description": description, **named, "content": content}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(name=name)}
