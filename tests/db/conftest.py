"""The databases that the tests of the tables use, of both kinds."""

from tests.support.database_fixtures import database, empty, kind, parser, plain_database, url

__all__ = ["database", "empty", "kind", "parser", "plain_database", "url"]
