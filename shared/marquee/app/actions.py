"""Actions: the POST requests of the app's forms and its script."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import msgspec

from marquee.app.app_events import decode_batch, store_batch
from marquee.app.devices import utc_now
from marquee.app.page_request import PageReply, PageRequest, RequestDenied, json_reply, redirect, text_reply
from marquee.app.profiles import MAX_LIST
from marquee.app.screens import Screens, sorry
from marquee.app.services import Services
from marquee.app.texts import TEXTS
from marquee.app.user_documents import forget_user
from marquee.app.visitors import Visitor
from marquee.app.write_limits import BATCHES, CODES, MINUTES, WRITES, Limit
from marquee.errors import DocumentsRefused, DocumentsUnavailable

_MAX_CLOCK_MS = 8 * 10**12


class Actions:
    """Handlers of the app's POST requests."""

    def __init__(self, services: Services, screens: Screens) -> None:
        self._services, self._screens = services, screens

    def rate(self, request: PageRequest, movie_id: str) -> PageReply:
        """Rate a movie by a request to the movie service, which logs the rating."""
        visitor = self._allowed(request, WRITES)
        if self._services.movies.find_one(movie_id) is None:
            return sorry(404, TEXTS["no_movie"])
        scale = self._services.options.scale
        rating = scale.read(request.form.get("rating", ""))
        if rating is None or not self._services.movie_service.rate(visitor.user_id, movie_id, rating):
            return sorry(400, TEXTS["bad_rating"].format(least=f"{scale.low:g}", most=f"{scale.high:g}"))
        return redirect(f"/movie/{quote(movie_id, safe='')}?rated={rating:g}")

    def change_list(self, request: PageRequest, movie_id: str) -> PageReply:
        """Add a movie to the user's list, or remove it."""
        visitor = self._allowed(request, WRITES)
        profiles = self._services.visitors.profiles
        if request.form.get("wanted") != "1":
            profiles.take_off_list(visitor.user_id, movie_id)
        elif self._services.movies.find_one(movie_id) is None:
            return sorry(404, TEXTS["no_movie"])
        elif not profiles.put_on_list(visitor.user_id, movie_id, utc_now()):
            return sorry(400, TEXTS["list_full"].format(most=MAX_LIST))
        return redirect(f"/movie/{quote(movie_id, safe='')}")

    def play(self, request: PageRequest, movie_id: str, minute: int) -> PageReply:
        """Request a minute from the movie service, which logs it, and store the position.

        The form field ``at`` is the time of watching and ``sent`` the time of the request. Both are milliseconds since
        1970 by the device's clock.
        """
        visitor = self._allowed(request, MINUTES)
        movie = self._services.movies.find_one(movie_id)
        if movie is None or minute > movie.minutes:
            return text_reply(404, TEXTS["no_movie"])
        if not self._services.movie_service.watch(visitor.user_id, movie_id, minute):
            return text_reply(400, TEXTS["no_movie"])
        form = request.form
        try:
            self._services.positions.write(visitor.user_id, movie_id, minute + 1, _watched_at(form, utc_now()))
        except (DocumentsUnavailable, DocumentsRefused):
            pass  # The minute is in the log; the next minute stores the position.
        if form.get("page") == "1":  # A form sent without the script.
            return redirect(f"/watch/{quote(movie_id, safe='')}")
        return PageReply(204)

    def consent(self, request: PageRequest) -> PageReply:
        """Record the answer to the consent question."""
        visitor = self._allowed(request, WRITES)
        self._services.visitors.profiles.set_consent(visitor.user_id, request.form.get("analytics") == "1", utc_now())
        return redirect("/" if request.form.get("next") == "home" else "/you")

    def personal(self, request: PageRequest) -> PageReply:
        """Turn personalized recommendations on or off, in the app and for the account as a whole.

        The account comes first: if that fails, nothing has changed.
        """
        visitor, personal = self._allowed(request, WRITES), request.form.get("personal") == "1"
        self._services.profiling.set_allowed(visitor.user_id, personal)
        self._services.visitors.profiles.set_personal(visitor.user_id, personal, utc_now())
        return redirect("/you")

    def make_code(self, request: PageRequest) -> PageReply:
        """Show a code for a second device."""
        visitor = self._allowed(request, WRITES)
        code = self._services.visitors.devices.make_code(visitor.user_id, utc_now())
        return self._screens.you(request, code=f"{code[:4]}-{code[4:]}")

    def join(self, request: PageRequest) -> PageReply:
        """Assign this device to the user of a code."""
        if not self._services.limits.allow(CODES, request.address):
            return sorry(429, TEXTS["too_many"])
        devices = self._services.visitors.devices
        user_id = devices.redeem_code(request.form.get("code", "")[:40], utc_now())
        if user_id is None:
            return self._screens.you(request, wrong_code=True)
        return redirect("/", devices.add(user_id, utc_now()))

    def forget(self, request: PageRequest) -> PageReply:
        """Delete the user's documents in MongoDB and the app's data in the browser."""
        visitor = self._allowed(request, WRITES)
        forget_user(self._services.documents, visitor.user_id, utc_now())
        return redirect("/you/gone", "", Clear_Site_Data='"cookies", "storage", "cache"')

    def events(self, request: PageRequest) -> PageReply:
        """Store a batch of analytics events, if the user consents."""
        visitor = self._allowed(request, BATCHES)
        if not visitor.stored:  # The consent cannot be read now, so the device keeps the batch.
            return text_reply(503, TEXTS["away_documents"], Retry_After="5")
        if not visitor.profile.analytics:
            return json_reply(403, {"message": "the user does not consent to analytics"})
        try:
            batch = decode_batch(request.body)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            return json_reply(400, {"message": str(error)})
        return json_reply(202, store_batch(self._services.documents, visitor.user_id, batch, utc_now()))

    def _allowed(self, request: PageRequest, limit: Limit) -> Visitor:
        """Return the visitor. Raises :class:`RequestDenied` if the write is not allowed."""
        visitor = self._services.visitors.identify(request)
        if not visitor.known:
            if not visitor.stored:
                raise RequestDenied(text_reply(503, TEXTS["away_documents"], Retry_After="5"))
            raise RequestDenied(text_reply(401, TEXTS["no_device"]))
        if not self._services.limits.allow(limit, visitor.user_id):
            raise RequestDenied(text_reply(429, TEXTS["too_many"], Retry_After="60"))
        return visitor


def _watched_at(form: dict[str, str], received: datetime) -> datetime:
    """Return the time of watching: the device's time corrected for its clock error, at most ``received``."""
    at, sent = (_read_number(form.get(name, "")) for name in ("at", "sent"))
    if at is None or sent is None or not at <= sent <= _MAX_CLOCK_MS:
        return received
    return max(received - timedelta(milliseconds=sent - at), datetime(1970, 1, 1, tzinfo=UTC))


def _read_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else None
