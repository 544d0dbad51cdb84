"""The OpenAPI document against the running functions: valid and invalid requests, no answer that it does not state."""

from __future__ import annotations

import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NotRequired, get_origin, get_type_hints

import pytest
import schemathesis
from docs.api_page import api_page
from docs.generate import CONTRACT, ROOT
from docs.openapi import openapi_document, openapi_file
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation import GenerationMode
from tests.servers.function import Function
from tests.serving.models import catalog_model, release_model
from tests.support.contract_cases import SETTINGS, list_cases

from marquee.client.answers import AnsweredList, AnsweredMovie, AnsweredReceipt, AnsweredSimilar
from marquee.config.api_keys import create_key
from marquee.db.migrate import migrate
from marquee.ingest.events_http import EVENTS
from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.registry.object_store.file_store import FileStore

pytestmark = pytest.mark.servers
DOCUMENT = openapi_document()
CONTRACT_SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS: list[Any] = [result.ok() for result in CONTRACT_SCHEMA.get_all_operations()]  # type: ignore[union-attr]
# That a range of years ascends or that a page token exists is beyond a schema: such requests get 400.
load_all_checks()
# The check of invalid requests does not know 414, which a long query gets.
_EXCLUDED = CHECKS.get_by_names(["positive_data_acceptance", "negative_data_rejection"])
PAGES = ("README.md", "docs/access.md", "docs/events.md", "docs/recommend.md")
KEY, ENTRY = create_key("contract", ["read", "write"])


@pytest.fixture(scope="module")
def urls(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The URLs of ``recommend`` and ``events``, which require a key, on one database."""
    directory = tmp_path_factory.mktemp("contract")
    database_url = postgres.create_database("contract")
    migrate(database_url)
    store = FileStore(directory / "objects")
    model = catalog_model()
    release_model(store, replace(model, movie_ids=["fargo+1996", *model.movie_ids[1:]]))  # The pages' movie.
    env = {
        "MARQUEE_DATABASE_URL": database_url,
        "MARQUEE_API_KEYS": str(ENTRY),
        "MARQUEE_REQUESTS_PER_S": "0",
    }
    recommend = {**env, "MARQUEE_OBJECTS_URL": f"file://{store.root}", "MARQUEE_CALLER_TIMEOUT_MS": "20000"}
    with Function("recommend", directory, recommend) as lists, Function("events", directory, env) as events:
        yield {"8082": f"http://127.0.0.1:{lists.port}", "8084": f"http://127.0.0.1:{events.port}"}
    postgres.drop_database("contract")


@pytest.mark.parametrize(
    ("operation", "mode"),
    list_cases(OPERATIONS, lambda one: len(one.path_parameters) or len(one.body)),
)
def test_operation_answers_as_the_document_states(urls: dict[str, str], operation: Any, mode: GenerationMode) -> None:
    """Status, content type, headers and JSON schema of each answer are in the document, and none is a 500."""
    port = DOCUMENT["paths"][operation.path].get("servers", DOCUMENT["servers"])[0]["url"][-4:]
    cases = operation.as_strategy(generation_mode=mode)

    @SETTINGS
    @given(case=cases, accept=st.sampled_from(["application/json", "*/*"]))
    def check(case: Any, accept: str) -> None:
        headers = {"Marquee-Key": KEY, "Accept": accept}
        reply = case.call_and_validate(base_url=urls[port], headers=headers, timeout=20, excluded_checks=_EXCLUDED)
        # A malformed event is accepted into quarantine, and the answer says so.
        assert mode is GenerationMode.POSITIVE or reply.status_code >= 400 or operation.path == EVENTS

    check()


def test_contract_files_are_current_and_served(urls: dict[str, str]) -> None:
    """``make docs`` has been run, and ``recommend`` serves both files without a key."""
    assert (CONTRACT / "openapi.json").read_text() == openapi_file(DOCUMENT)
    assert (CONTRACT / "api.html").read_text() == api_page(DOCUMENT)
    for path, name in (("/openapi.json", "openapi.json"), ("/docs", "api.html")):
        with urllib.request.urlopen(urls["8082"] + path) as response:
            assert response.read() == (CONTRACT / name).read_bytes()


def test_contract_page_links_are_answered(urls: dict[str, str]) -> None:
    """The page names a request for each GET of ``recommend`` that can be tried by a click, on any port."""
    paths = re.findall(r'Try it: <a href="([^"]+)"', api_page(DOCUMENT))
    assert [path.split("/")[1] for path in paths] == ["recommend", "similar", "version", "readyz"]
    for path in paths:
        request = urllib.request.Request(urls["8082"] + path, headers={"Marquee-Key": KEY})
        with urllib.request.urlopen(request) as response:
            assert response.status == 200


def _curl_examples() -> list[str]:
    """Return the commands in the pages' code blocks that begin with curl, with their further lines."""
    blocks = [
        block for page in PAGES for block in re.findall(r"^```\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)
    ]
    # Other commands may follow in a block.
    return [re.split(r"^(?:\.venv|eval)", block, flags=re.M)[0] for block in blocks if block.startswith("curl")]


@pytest.mark.parametrize("example", _curl_examples())
def test_curl_example_of_a_page_succeeds(urls: dict[str, str], example: str) -> None:
    """Every line works as it is written, with the local addresses and a key."""
    environment = {"RECOMMEND_URL": urls["8082"], "EVENTS_URL": urls["8084"], "KEY": KEY, "PATH": os.environ["PATH"]}
    for port, url in urls.items():
        example = example.replace(f"http://127.0.0.1:{port}", url)
    key = "" if "$KEY" in example else '-H "Marquee-Key: $KEY"'
    script = f'curl() {{ command curl --fail-with-body -sS {key} "$@"; }}\nset -e\n{example}'
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


def test_contract_page_needs_nothing_from_elsewhere() -> None:
    """No script, no style sheet and no picture, and each operation and schema has a heading."""
    page = api_page(DOCUMENT)
    assert "<script" not in page
    assert "src=" not in page
    assert "@import" not in page
    for name in [o.definition.raw["operationId"] for o in OPERATIONS] + list(DOCUMENT["components"]["schemas"]):
        assert f'id="{name}"' in page


@pytest.mark.parametrize(
    ("answered", "name"),
    [
        (AnsweredList, "AnswerDocument"),
        (AnsweredSimilar, "SimilarDocument"),
        (AnsweredMovie, "MovieDocument"),
        (AnsweredReceipt, "EventsReceipt"),
    ],
)
def test_client_types_have_the_fields_of_the_contract(answered: Any, name: str) -> None:
    """The client's types are written by hand, because it depends on nothing else."""
    schema = DOCUMENT["components"]["schemas"][name]
    assert set(get_type_hints(answered)) == set(schema["properties"])
    hints = get_type_hints(answered, include_extras=True)
    assert {name for name, hint in hints.items() if get_origin(hint) is not NotRequired} == set(schema["required"])
