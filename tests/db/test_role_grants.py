"""Creation of the parts' roles: by several databases of a cluster at once, and without the right to create roles."""

from __future__ import annotations

import threading
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from tests.support.logins import execute_as_admin, url_as
from tests.support.records import rows
from tests.support.waiting import wait_until

from marquee.db.migrate import migrate
from marquee.db.pool import Database
from marquee.local.embedded_postgres import EmbeddedPostgres

pytestmark = pytest.mark.servers

_ADD_GRANT = "INSERT INTO role_grants VALUES (%s, 'watches', 'SELECT')"
_GRANTED = "SELECT has_table_privilege(oid, 'watches', 'SELECT') FROM pg_roles WHERE rolname = %s"


def add_grant(database: Database, role: str) -> None:
    """Add the privilege to read watches to `role_grants`."""
    with database.transaction() as cursor:
        cursor.execute(_ADD_GRANT, (role,))


def test_grant_privileges_role_created_by_another_database_meanwhile_is_granted(
    postgres: EmbeddedPostgres, plain_database: Database, empty_url: str
) -> None:
    """Roles are the cluster's: the second database waits for the first, and grants to the role that it created."""
    role = "marquee_at_once"
    migrate(empty_url)
    with closing(Database(empty_url)) as other:
        for database in (plain_database, other):
            add_grant(database, role)
        second = threading.Thread(target=rows, args=(other, "SELECT grant_privileges()"))
        with plain_database.transaction() as cursor:
            cursor.execute("SELECT grant_privileges()")
            second.start()
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
            wait_until(lambda: rows(plain_database, waiting) == [(1,)])
        second.join()
        for database in (plain_database, other):
            assert rows(database, _GRANTED, role) == [(True,)]


def test_migrate_without_createrole_succeeds_and_grants_later(postgres: EmbeddedPostgres, empty_url: str) -> None:
    """A role that cannot be created is left out; when an administrator has created it, a second call grants."""
    execute_as_admin(postgres, "DROP ROLE IF EXISTS login_owner")
    execute_as_admin(postgres, "CREATE ROLE login_owner LOGIN PASSWORD 'secret'")
    name = urlsplit(empty_url).path[1:]
    execute_as_admin(postgres, f"ALTER DATABASE {name} OWNER TO login_owner")
    owner_url = url_as(empty_url, "login_owner")
    assert "0004_role_grants.sql" in migrate(owner_url)
    role = "marquee_absent"
    try:
        with closing(Database(owner_url)) as database:
            add_grant(database, role)
            rows(database, "SELECT grant_privileges()")
            assert rows(database, _GRANTED, role) == []
            execute_as_admin(postgres, f"CREATE ROLE {role}")
            rows(database, "SELECT grant_privileges()")
            assert rows(database, _GRANTED, role) == [(True,)]
    finally:
        postgres.drop_database(name)
        execute_as_admin(postgres, f"DROP ROLE IF EXISTS {role}")
        execute_as_admin(postgres, "DROP ROLE login_owner")
