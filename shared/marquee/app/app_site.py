"""Routes of the app to screens, actions and files, and the replies when a dependency is unavailable."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from marquee.app.actions import Actions
from marquee.app.page_request import MAX_BODY_BYTES, PageReply, PageRequest, RequestDenied, json_reply, text_reply
from marquee.app.posters import draw_poster
from marquee.app.rendering import manifest_reply, read_templates, static_reply, worker_reply
from marquee.app.screens import Screens, sorry
from marquee.app.services import Services
from marquee.app.texts import TEXTS
from marquee.app.visitors import TooManyAccounts
from marquee.errors import (
    DatabaseRefused,
    DatabaseUnavailable,
    DocumentsRefused,
    DocumentsUnavailable,
    MovieServiceUnavailable,
)

log = logging.getLogger(__name__)

ANDROID_PACKAGE = "app.marquee"
_POSTER_AGE = "public, max-age=2592000, immutable"
Handler = Callable[..., PageReply]


class AppSite:
    """The app as a function from requests to replies."""

    def __init__(self, services: Services) -> None:
        self._services = services
        screens = Screens(services)
        actions = Actions(services, screens)
        self._get: list[tuple[re.Pattern[str], Handler]] = [
            (re.compile("/"), screens.home),
            (re.compile("/movie/([^/]+)"), screens.movie),
            (re.compile("/watch/([^/]+)"), screens.watch),
            (re.compile("/search"), screens.search),
            (re.compile("/you"), screens.you),
            (re.compile("/you/gone"), screens.show_gone),
            (re.compile("/you/export"), screens.export),
            (re.compile("/offline"), screens.offline),
            (re.compile(r"/poster/([^/]+)\.svg"), self._poster),
            (re.compile("/assets/([a-z0-9_.-]+)"), self._static),
            (re.compile("/sw.js"), lambda _: worker_reply()),
            (re.compile("/manifest.webmanifest"), lambda _: manifest_reply()),
            (re.compile("/.well-known/assetlinks.json"), self._asset_links),
        ]
        self._post: list[tuple[re.Pattern[str], Handler]] = [
            (re.compile("/movie/([^/]+)/rating"), actions.rate),
            (re.compile("/movie/([^/]+)/list"), actions.change_list),
            (re.compile("/watch/([^/]+)/([0-9]{1,4})"), lambda request, m, n: actions.play(request, m, int(n))),
            (re.compile("/you/consent"), actions.consent),
            (re.compile("/you/personal"), actions.personal),
            (re.compile("/you/code"), actions.make_code),
            (re.compile("/you/join"), actions.join),
            (re.compile("/you/forget"), actions.forget),
            (re.compile("/api/events"), actions.events),
        ]

    def reply(self, request: PageRequest) -> PageReply:
        """Answer one request."""
        try:
            return self._reply(request)
        except RequestDenied as denied:
            return denied.reply
        except TooManyAccounts:
            return text_reply(429, TEXTS["too_many"], Retry_After="600")
        except MovieServiceUnavailable as error:
            log.warning("%s", error)
            return sorry(503, TEXTS["away_service"])
        except (DocumentsUnavailable, DocumentsRefused) as error:
            log.warning("%s", error)
            return sorry(503, TEXTS["away_documents"])
        except (DatabaseUnavailable, DatabaseRefused) as error:
            log.warning("%s", error)
            return sorry(503, TEXTS["away_profiling"])

    def warm_up(self) -> None:
        """Connect to MongoDB and read the templates, in a new process that waits for its first request."""
        try:
            self._services.documents.ping()
        except (DocumentsUnavailable, DocumentsRefused) as error:
            log.warning("%s", error)
        read_templates()

    def _reply(self, request: PageRequest) -> PageReply:
        reading = request.method in ("GET", "HEAD")
        if not reading and request.method != "POST":
            return text_reply(405, "Use GET, HEAD or POST.", Allow="GET, HEAD, POST")
        if not reading and not request.is_same_origin:
            return text_reply(403, TEXTS["other_site"])
        if len(request.body) > MAX_BODY_BYTES:
            return text_reply(413, f"The body has more than {MAX_BODY_BYTES} bytes.")
        for pattern, handler in self._get if reading else self._post:
            if match := pattern.fullmatch(request.path):
                return handler(request, *match.groups())
        other = self._post if reading else self._get
        if any(pattern.fullmatch(request.path) for pattern, _ in other):
            allow = "POST" if reading else "GET, HEAD"
            return text_reply(405, f"Use {allow}.", Allow=allow)
        return sorry(404, TEXTS["not_found"])

    def _poster(self, _: PageRequest, movie_id: str) -> PageReply:
        movie = self._services.movies.find_one(movie_id)
        if movie is None:
            return text_reply(404, TEXTS["no_movie"])
        # A poster opened as a page must not run scripts.
        headers = {"Cache-Control": _POSTER_AGE, "Content-Security-Policy": "default-src 'none'"}
        return PageReply(200, draw_poster(movie).encode(), "image/svg+xml", headers)

    def _static(self, _: PageRequest, name: str) -> PageReply:
        return static_reply(name) or text_reply(404, TEXTS["not_found"])

    def _asset_links(self, _: PageRequest) -> PageReply:
        """Return ``assetlinks.json``, which lets the Android package open links of this site."""
        target = {
            "namespace": "android_app",
            "package_name": ANDROID_PACKAGE,
            "sha256_cert_fingerprints": self._services.options.certificates,
        }
        statement = {"relation": ["delegate_permission/common.handle_all_urls"], "target": target}
        links = [statement] if self._services.options.certificates else []
        return json_reply(200, links, Cache_Control="public, max-age=3600")
