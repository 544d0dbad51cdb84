"""Databases of both kinds."""

from tests.support.database_fixtures import database, kind, plain_database, url

__all__ = ["database", "kind", "plain_database", "url"]
