"""The ``recommend`` function: an HTTP request in, a list of films out. See marquee.recommend.http."""

from __future__ import annotations

import logging
import os

# One request, one thread: a product of this size is over before another core has heard of it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import flask
import functions_framework

from marquee.recommend.assembly import Once, assemble
from marquee.recommend.http import RecommendHttp
from marquee.settings import Settings


def _assemble() -> RecommendHttp:
    settings = Settings.from_mapping(os.environ)
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    return assemble(settings)


_http = Once(_assemble)


@functions_framework.http
def recommend(request: flask.Request) -> flask.Response:
    if request.path == "/healthz":  # The process lives, whatever its settings are.
        return flask.Response("ok\n", content_type="text/plain; charset=utf-8")
    reply = _http().reply(request.method, request.path, request.headers.get("Accept", ""))
    return flask.Response(reply.body, reply.status, reply.headers, content_type=reply.content_type)


@functions_framework.errorhandler(404)
def unrouted(error: Exception) -> flask.Response:
    """The framework routes no path with a line break in it; the caller is owed its sentence all the same."""
    return recommend(flask.request)
