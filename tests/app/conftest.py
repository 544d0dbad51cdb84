"""Fixtures: a MongoDB, and the app as a process with a movie service and lists that the tests know."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count

import pytest
from pymongo import MongoClient
from tests.app.visit import App
from tests.servers.function import Function
from tests.servers.lists import ListServer
from tests.servers.movie_service import MOVIES, MovieServer

from marquee.app.document_schema import prepare_documents
from marquee.app.documents import Document, Documents
from marquee.local.embedded_mongo import EmbeddedMongo

_databases = count()
# A machine under load must not pass for a MongoDB that is away.
_DEADLINE_MS = 20_000


@pytest.fixture(scope="session")
def mongo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a server without a database: that of MARQUEE_TEST_DOCUMENTS_URL, or an embedded one."""
    if own := os.environ.get("MARQUEE_TEST_DOCUMENTS_URL"):
        yield own
        return
    with EmbeddedMongo(tmp_path_factory.mktemp("mongo")) as server:
        yield server.database_url("")


@pytest.fixture
def empty_documents(mongo_url: str) -> Iterator[Documents]:
    """Connect to a database without collections, for one test."""
    name = f"test_{os.getpid()}_{next(_databases)}"
    client: MongoClient[Document] = MongoClient(mongo_url)
    documents = Documents(mongo_url.replace("/?", f"/{name}?"), deadline_ms=_DEADLINE_MS, pause_s=0)
    yield documents
    documents.close()
    client.drop_database(name)
    client.close()


@pytest.fixture
def documents(empty_documents: Documents) -> Documents:
    """Connect to a database with the app's collections, for one test."""
    prepare_documents(empty_documents, 90)
    return empty_documents


@pytest.fixture(scope="module")
def app(mongo_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Start the app with a movie service and lists of its own; the tests of a file share it."""
    directory, name = tmp_path_factory.mktemp("app"), f"app_{os.getpid()}_{next(_databases)}"
    url = mongo_url.replace("/?", f"/{name}?")
    documents = Documents(url, deadline_ms=_DEADLINE_MS, pause_s=0)
    prepare_documents(documents, 90)
    with (
        MovieServer() as movies,
        ListServer(MOVIES) as lists,
        Function("app", directory, app_environment(url, movies, lists)) as function,
    ):
        yield App(function, movies, lists, documents)
    documents.client.drop_database(name)
    documents.close()


def app_environment(documents_url: str, movies: MovieServer, lists: ListServer) -> dict[str, str]:
    """Return the settings of the app."""
    return {
        "MARQUEE_DOCUMENTS_URL": documents_url,
        "MARQUEE_MOVIES_URL": movies.url,
        "MARQUEE_RECOMMEND_URL": lists.url,
    }
