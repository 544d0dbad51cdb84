"""Requests that the app's script and forms send, as an OpenAPI document, held against the running function.

No generated request is answered with an error of the server, or with a status or a body that the document lacks.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import given
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation import GenerationMode
from tests.app.visit import App, Visit
from tests.servers.movie_service import MOVIES
from tests.support.contract_cases import SETTINGS, list_cases

from marquee.app.app_events import AppEvent, BatchReceipt, EventBatch

pytestmark = pytest.mark.servers
_FORM, _TEXT, _HTML = "application/x-www-form-urlencoded", "text/plain", "text/html"
_NUMBER = {"type": "string", "pattern": "^[0-9]{1,15}$"}
_SWITCH = {"type": "string", "enum": ["0", "1"]}


def _answers(*statuses: int) -> dict[str, Any]:
    """Return the answers of a form: redirects have no body, all others are a page or a sentence."""
    page: dict[str, Any] = {_TEXT: {}, _HTML: {}}
    return {str(s): {"description": str(s), **({} if s in (204, 303) else {"content": page})} for s in statuses}


def _form(*statuses: int, path: tuple[dict[str, Any], ...] = (), **fields: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    body = {"requestBody": {"content": {_FORM: {"schema": schema}}}} if fields else {}
    return {"post": {"parameters": list(path), **body, "responses": _answers(*statuses, 401, 403, 413, 429)}}


def _in_path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _document() -> dict[str, Any]:
    movie = _in_path("movie_id", {"type": "string", "enum": [*MOVIES[:9], "no+such+movie", "a,b", "%", "\u2028"]})
    minute = _in_path("minute", {"type": "integer", "minimum": 0, "maximum": 250})
    answer = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/BatchReceipt"}}}}
    refused = {"content": {"application/json": {"schema": {"type": "object", "required": ["message"]}}, _TEXT: {}}}
    batch = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/EventBatch"}}}}
    responses = _answers(401, 413, 429, 503) | {
        "202": {"description": "stored", **answer},
        "400": {"description": "refused", **refused},
        "403": {"description": "without consent", **refused},
    }
    query = {"name": "q", "in": "query", "schema": {"type": "string"}}
    export = {"200": {"description": "all documents", "content": {"application/json": {"schema": {"type": "object"}}}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "app", "version": "1"},
        "paths": {
            "/api/events": {"post": {"requestBody": batch | {"required": True}, "responses": responses}},
            "/watch/{movie_id}/{minute}": _form(
                204, 303, 400, 404, path=(movie, minute), at=_NUMBER, sent=_NUMBER, page=_SWITCH
            ),
            "/movie/{movie_id}/rating": _form(
                303, 400, 404, path=(movie,), rating={"type": "string", "enum": ["0", "1", "5", "6", "1.5"]}
            ),
            "/movie/{movie_id}/list": _form(303, 400, 404, path=(movie,), wanted=_SWITCH),
            "/you/consent": _form(303, analytics=_SWITCH, next={"type": "string"}),
            "/you/personal": _form(303, personal=_SWITCH),
            "/you/code": _form(200),
            "/you/join": _form(303, 400, code={"type": "string"}),
            "/you/export": {"get": {"responses": export | _answers(401)}},
            "/search": {"get": {"parameters": [query], "responses": _answers(200)}},
            "/movie/{movie_id}": {"get": {"parameters": [movie, query], "responses": _answers(200, 404)}},
        },
        "components": {"schemas": _schemas()},
    }


def _schemas() -> dict[str, Any]:
    """Return the schemas of the app's own types, with patterns as JSON Schema writes them."""
    template = "#/components/schemas/{name}"
    _, schemas = msgspec.json.schema_components([EventBatch, AppEvent, BatchReceipt], ref_template=template)
    schemas["EventBatch"]["properties"]["events"]["items"] = {"$ref": template.format(name="AppEvent")}
    text = json.dumps(schemas).replace(r"\\A", "^").replace(r"\\Z", "$").replace(r"\\ud800-\\udfff", "")
    return dict(json.loads(re.sub(r"\\\\x([0-9a-f]{2})", r"\\\\u00\1", text)))


OPERATIONS: list[Any] = [
    result.ok()  # type: ignore[union-attr]
    for result in schemathesis.openapi.from_dict(_document()).get_all_operations()
]
load_all_checks()
# A browser sends forms and the script batches; which of the valid ones are accepted depends on the catalog.
_EXCLUDED = CHECKS.get_by_names(["positive_data_acceptance", "negative_data_rejection", "missing_required_header"])


@pytest.mark.parametrize(
    ("operation", "mode"),
    list_cases(OPERATIONS, lambda one: one.path_parameters or one.query or one.body),
)
def test_app_answers_as_the_document_states(app: App, operation: Any, mode: GenerationMode) -> None:
    """Valid and invalid paths, forms and batches; each example is a request of a user who consents."""
    visitor = Visit(app, consent=True)
    headers = {"Cookie": visitor.cookie, "Sec-Fetch-Site": "same-origin"}

    @SETTINGS
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        case.call_and_validate(
            base_url=app.url, headers=headers, timeout=20, excluded_checks=_EXCLUDED, allow_redirects=False
        )

    check()
