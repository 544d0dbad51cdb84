"""Visitors: users identified by the device of a request, who get an account on the first visit."""

from __future__ import annotations

import threading
from collections import OrderedDict

import msgspec

from marquee.app.devices import Devices, digest, utc_now
from marquee.app.documents import Documents
from marquee.app.movie_service_client import MovieServiceClient
from marquee.app.page_request import PageRequest
from marquee.app.profiles import Profile, Profiles
from marquee.app.write_limits import ACCOUNTS, WriteLimits
from marquee.errors import DocumentsRefused, DocumentsUnavailable, TransientError

_REMEMBERED = 10_000


class TooManyAccounts(TransientError):
    """An address has reached the limit of new accounts."""


class Visitor(msgspec.Struct, frozen=True):
    """The user of a request.

    ``token`` is the token of a new device. ``stored`` is False while MongoDB is unavailable. ``user_id`` is empty if
    the user is unknown, for example while MongoDB or the movie service is unavailable.
    """

    user_id: str = ""
    profile: Profile = Profile("")
    token: str | None = None
    stored: bool = True

    @property
    def known(self) -> bool:
        """True if the user is known."""
        return bool(self.user_id)


class Visitors:
    """Lookup and creation of visitors."""

    def __init__(self, documents: Documents, movie_service: MovieServiceClient, limits: WriteLimits) -> None:
        self.devices, self.profiles = Devices(documents), Profiles(documents)
        self._movie_service, self._limits = movie_service, limits
        self._lock = threading.Lock()
        self._remembered: OrderedDict[str, str] = OrderedDict()

    def identify(self, request: PageRequest) -> Visitor:
        """Return the visitor of a known device; for any other request, a visitor without a user."""
        token = request.token
        if not token:
            return Visitor()
        try:
            user_id = self.devices.find_user(token, utc_now())
            if user_id is None:
                return Visitor()
            profile = self.profiles.read(user_id)
        except (DocumentsUnavailable, DocumentsRefused):
            return self._recall(token)
        self._remember(token, user_id)
        return Visitor(user_id, profile)

    def welcome(self, request: PageRequest) -> Visitor:
        """Return the visitor; create an account of the movie service and a device for a new one.

        Raises :class:`MovieServiceUnavailable` if no account can be created now, and :class:`TooManyAccounts` if the
        address has reached its limit.
        """
        visitor = self.identify(request)
        if visitor.known or not visitor.stored:
            return visitor
        try:
            # Checked before the account is created, because an account without a device could never be used.
            self.devices.check()
        except (DocumentsUnavailable, DocumentsRefused):
            return Visitor(stored=False)
        if not self._limits.allow(ACCOUNTS, request.address):
            raise TooManyAccounts(f"one address may create {ACCOUNTS.times} accounts an hour; try again later")
        user_id = self._movie_service.create_account()
        try:
            token = self.devices.add(user_id, utc_now())
        except (DocumentsUnavailable, DocumentsRefused):
            return Visitor(user_id, Profile(user_id), stored=False)
        return Visitor(user_id, Profile(user_id), token)

    def _remember(self, token: str, user_id: str) -> None:
        """Keep the user of a device in memory, for the time during which MongoDB is unavailable."""
        with self._lock:
            self._remembered[digest(token)] = user_id
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)

    def _recall(self, token: str) -> Visitor:
        with self._lock:
            user_id = self._remembered.get(digest(token), "")
        # Without the profile, consent to the use of the history is unknown, so personalized lists are off.
        return Visitor(user_id, Profile(user_id, personal=False), stored=False)
