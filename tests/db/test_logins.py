"""Logins of the parts: made by the owner, members of their role alone, and refused what the part must not do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import psycopg2
import pytest
from tests.db.test_migrate_command import run_job
from tests.support.logins import execute_as_admin, url_as
from tests.support.records import rows

from marquee.config.needs import DATABASE_PARTS
from marquee.db.logins import login_name, set_logins
from marquee.db.migrate import migrate
from marquee.db.pool import Database
from marquee.errors import DatabaseRefused, MigrationError
from marquee.local.embedded_postgres import EmbeddedPostgres

pytestmark = pytest.mark.servers

# One statement that each part must not run, besides what only the owner may.
_FORBIDDEN = {
    "ingest": "SELECT user_id FROM accounts",
    "events": "INSERT INTO impressions DEFAULT VALUES",
    "app": "SELECT user_id FROM ratings",
    "recommend": "INSERT INTO ratings DEFAULT VALUES",
    "monitor": "DELETE FROM ratings",
    "retention": "DELETE FROM watches",
    "retrain": "SELECT FROM accounts",
}
_OWNERS = ("CREATE TABLE other (a int)", "SELECT FROM migrations", "SELECT grant_privileges()")


@pytest.fixture
def without_logins(postgres: EmbeddedPostgres, plain_database: Database) -> Iterator[Database]:
    """Yield a migrated database of a server without logins of parts."""

    def drop() -> None:
        for part in DATABASE_PARTS:
            execute_as_admin(postgres, f"DROP ROLE IF EXISTS {login_name(part)}")

    drop()
    yield plain_database
    drop()


def may_connect(url: str) -> bool:
    """Return True if the server admits the login of ``url``."""
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError as error:
        if "password authentication failed" in str(error):
            return False
        raise
    return True


@pytest.mark.parametrize("part", DATABASE_PARTS)
def test_set_logins_part_has_the_rights_of_its_role_alone(without_logins: Database, part: str) -> None:
    """A part that is broken into can do no more than the part itself."""
    assert set_logins(without_logins.url, {part: "secret"}) == [login_name(part)]
    with closing(Database(url_as(without_logins.url, login_name(part)))) as own:
        member = "SELECT array_agg(r.rolname::text) FROM pg_roles r WHERE pg_has_role(current_user, r.oid, 'MEMBER')"
        assert set(rows(own, member)[0][0]) == {login_name(part), f"marquee_{part}"}
        for statement in (*_OWNERS, _FORBIDDEN[part]):
            with pytest.raises(DatabaseRefused, match="permission denied"), own.transaction() as cursor:
                cursor.execute(statement)


def test_set_logins_again_changes_the_password(without_logins: Database) -> None:
    """A rotated secret replaces the old one."""
    url = url_as(without_logins.url, login_name("ingest"))
    for password, admitted in (("old", False), ("secret", True), ("it's", False)):
        set_logins(without_logins.url, {"ingest": password})
        assert may_connect(url) == admitted


def test_set_logins_unknown_part_names_the_known_ones(without_logins: Database) -> None:
    """A typing error does not make a login without rights."""
    with pytest.raises(
        MigrationError, match=r"ingst has no role .* made for app, events, grafana, ingest, monitor, re"
    ):
        set_logins(without_logins.url, {"ingst": "secret"})


def test_set_logins_owner_without_createrole_names_the_command(
    postgres: EmbeddedPostgres, empty_url: str, without_logins: Database
) -> None:
    """The error says what an administrator must run; a login that the administrator made stays as it is."""
    execute_as_admin(postgres, "CREATE ROLE login_owner LOGIN PASSWORD 'secret'")
    name = urlsplit(empty_url).path[1:]
    execute_as_admin(postgres, f"ALTER DATABASE {name} OWNER TO login_owner")
    owner_url, login = url_as(empty_url, "login_owner"), login_name("ingest")
    try:
        migrate(owner_url)
        with pytest.raises(MigrationError, match=rf"CREATE ROLE {login} LOGIN PASSWORD '...' IN ROLE marquee_ingest"):
            set_logins(owner_url, {"ingest": "other"})
        execute_as_admin(postgres, f"CREATE ROLE {login} LOGIN PASSWORD 'secret' IN ROLE marquee_ingest")
        assert set_logins(owner_url, {"ingest": "other"}) == []
        assert may_connect(url_as(empty_url, login))
    finally:
        postgres.drop_database(name)
        execute_as_admin(postgres, "DROP ROLE login_owner")


def test_migrate_job_makes_the_logins_and_shows_no_password(without_logins: Database) -> None:
    """The first deployment needs no administrator: `migrate` runs before the parts start."""
    done = run_job(MARQUEE_DATABASE_URL=without_logins.url, MARQUEE_DATABASE_LOGINS="ingest=secret,retrain=secret")
    assert (done.returncode, done.stdout.splitlines()[:2]) == (
        0,
        ["set the password of marquee_ingest_login", "set the password of marquee_retrain_login"],
    )
    assert "secret" not in done.stdout + done.stderr
    assert may_connect(url_as(without_logins.url, login_name("retrain")))
