"""Services behind the app's pages: documents, the movie service, ``recommend``, and the options of the deployment."""

from __future__ import annotations

import msgspec

from marquee.app.account_profiling import AccountProfiling
from marquee.app.documents import Documents
from marquee.app.movie_cache import MovieCache
from marquee.app.movie_service_client import MovieServiceClient
from marquee.app.positions import Positions
from marquee.app.recommendations import Recommendations
from marquee.app.service_identity import create_identity
from marquee.app.visitors import Visitors
from marquee.app.write_limits import WriteLimits
from marquee.config.settings import Settings
from marquee.events.log_scale import FIVE_STARS, LogScale


class AppOptions(msgspec.Struct, frozen=True):
    """Options of the deployment. ``certificates`` are the SHA-256 fingerprints of the Android package's signers."""

    scale: LogScale = FIVE_STARS
    retention_days: int = 90
    certificates: tuple[str, ...] = ()


class Services:
    """Clients and options that all requests of a process share."""

    def __init__(
        self,
        documents: Documents,
        movie_service: MovieServiceClient,
        recommendations: Recommendations,
        options: AppOptions,
        profiling: AccountProfiling | None = None,
    ) -> None:
        self.documents, self.movie_service = documents, movie_service
        self.recommendations, self.options = recommendations, options
        self.profiling = profiling or AccountProfiling()
        self.limits = WriteLimits(documents)
        self.visitors = Visitors(documents, movie_service, self.limits)
        self.positions, self.movies = Positions(documents), MovieCache(documents, movie_service)


def create_services(settings: Settings) -> Services:
    """Create the services from the settings. Raises :class:`SettingsError` if a setting is missing."""
    settings.require("documents_url", "recommend_url", "movies_url")
    certificates = tuple(text.strip() for text in settings.android_certificates.split(",") if text.strip())
    identity = create_identity(settings.recommend_url)
    return Services(
        Documents(settings.documents_url),
        MovieServiceClient(settings.movies_url),
        Recommendations(
            settings.recommend_url,
            # Terraform writes a hyphen for an empty list.
            settings.recommend_key.strip("-"),
            authorize=identity.headers if identity else None,
        ),
        AppOptions(LogScale.named(settings.rating_scale), settings.retention_days, certificates),
        AccountProfiling(settings.database_url, settings.privacy_key),
    )
