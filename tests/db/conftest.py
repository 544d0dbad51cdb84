"""Databases of both kinds, for the tests of the tables."""

from tests.support.database_fixtures import database, empty, kind, parser, plain_database, url

__all__ = ["database", "empty", "kind", "parser", "plain_database", "url"]
