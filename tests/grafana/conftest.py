"""The databases that the tests of the tables use, of both kinds."""

from tests.support.database_fixtures import database, kind, plain_database, url

__all__ = ["database", "kind", "plain_database", "url"]
