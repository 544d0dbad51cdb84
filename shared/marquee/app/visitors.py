"""Visitors: the user of a request's device, with a new account on the first visit."""

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
    """An address has asked for more accounts than it may."""


class Visitor(msgspec.Struct, frozen=True):
    """The user of a request. ``token`` is that of a new device, ``stored`` False while MongoDB is away.

    ``user_id`` is empty if the user is unknown: MongoDB or the movie service is away.
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
    """The users of requests' devices."""

    def __init__(self, documents: Documents, movie_service: MovieServiceClient, limits: WriteLimits) -> None:
        self.devices, self.profiles = Devices(documents), Profiles(documents)
        self._movie_service, self._limits = movie_service, limits
        self._lock = threading.Lock()
        self._remembered: OrderedDict[str, str] = OrderedDict()

    def identify(self, request: PageRequest) -> Visitor:
        """Return the visitor of a known device; an unknown one, without a user, for any other request."""
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
        """Return the visitor; a new one gets an account of the movie service and a device.

        Raises :class:`MovieServiceUnavailable` if that is impossible now, and :class:`TooManyAccounts`.
        """
        visitor = self.identify(request)
        if visitor.known or not visitor.stored:
            return visitor
        try:
            # Before the account: one that no device knows would be a user for ever.
            self.devices.check()
        except (DocumentsUnavailable, DocumentsRefused):
            return Visitor(stored=False)
        if not self._limits.allow(ACCOUNTS, request.address):
            raise TooManyAccounts(f"more than {ACCOUNTS.times} new accounts an hour of one address")
        user_id = self._movie_service.create_account()
        try:
            token = self.devices.add(user_id, utc_now())
        except (DocumentsUnavailable, DocumentsRefused):
            return Visitor(user_id, Profile(user_id), stored=False)
        return Visitor(user_id, Profile(user_id), token)

    def _remember(self, token: str, user_id: str) -> None:
        """Keep the user of a device for the time in which MongoDB may be away."""
        with self._lock:
            self._remembered[digest(token)] = user_id
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)

    def _recall(self, token: str) -> Visitor:
        with self._lock:
            user_id = self._remembered.get(digest(token), "")
        # Without the profile it is unknown if the user allows recommendations from their history: none are shown.
        return Visitor(user_id, Profile(user_id, personal=False), stored=False)
