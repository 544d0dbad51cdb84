"""Responses of the page: HTML files, JSON, and the outcome of blocking work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from marquee.errors import MarqueeError, TransientError

STATIC = Path(__file__).with_name("static")


def make_html(name: str) -> web.Response:
    """Return a response with a file of the static folder."""
    return web.Response(body=(STATIC / name).read_bytes(), content_type="text/html", charset="utf-8")


def make_json(document: Any, status: int = 200) -> web.Response:
    """Return a response with a document that msgspec can encode."""
    return web.Response(
        body=msgspec.json.encode(document), status=status, content_type="application/json", charset="utf-8"
    )


async def run_in_thread(
    threads: Executor,
    work: Callable[[], Any],
    *,
    error_status: int,
    make_response: Callable[[Any], web.Response] = make_json,
) -> web.Response:
    """Run ``work`` in a thread, and return the response that ``make_response`` makes of its result.

    An error of Marquee is a JSON document, with status 503 if the same call may succeed later, else ``error_status``.
    """
    try:
        return make_response(await asyncio.get_running_loop().run_in_executor(threads, work))
    except TransientError as error:
        return make_json({"error": str(error)}, 503)
    except MarqueeError as error:
        return make_json({"error": str(error)}, error_status)
