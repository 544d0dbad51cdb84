"""Logins of the parts: each is a member of its part's role, so that no part has the rights of the owner."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import encrypt_password

from marquee.db.pool import Database
from marquee.errors import DatabaseRefused, MigrationError


def login_name(part: str) -> str:
    """Return the name of the login of ``part``, such as ``marquee_ingest_login``."""
    return f"marquee_{part}_login"


def set_logins(url: str, passwords: Mapping[str, str]) -> list[str]:
    """Give the login of each part its password, and create those that are missing; return their names.

    ``url`` is the address of the tables' owner. A login that an administrator keeps, so that the owner may not change
    it, stays as it is. Raises :class:`MigrationError` if a part has no role, or its login cannot be made.
    """
    with closing(Database(url)) as database:
        return [login_name(part) for part, password in passwords.items() if _set_login(database, part, password)]


def _set_login(database: Database, part: str, password: str) -> bool:
    """Return False if the login is an administrator's."""
    role, login = f"marquee_{part}", login_name(part)
    names = {"login": sql.Identifier(login), "role": sql.Identifier(role)}
    try:
        with database.transaction() as cursor:
            if not _read_one(cursor, "SELECT count(*) FROM role_grants WHERE role_name = %s", role):
                known = _read_one(cursor, "SELECT string_agg(DISTINCT substr(role_name, 9), ', ') FROM role_grants")
                raise MigrationError(f"{part} has no role in the database: logins can be made for {known}")
            exists = _read_one(cursor, "SELECT count(*) FROM pg_roles WHERE rolname = %s", login)
            # Encrypted here, so that the statement and the server's log do not show it.
            secret = encrypt_password(password, login, cursor.connection, "scram-sha-256")
            command = "ALTER ROLE {login} LOGIN PASSWORD %s" if exists else "CREATE ROLE {login} LOGIN PASSWORD %s"
            cursor.execute(sql.SQL(command).format(**names), [secret])
            cursor.execute(sql.SQL("GRANT {role} TO {login}").format(**names))
    except DatabaseRefused as error:
        if _is_member(database, login, role):
            return False
        raise MigrationError(
            f"The login {login} cannot be made: {error}. Give the owner of the tables CREATEROLE, or let an "
            f"administrator run CREATE ROLE {login} LOGIN PASSWORD '...' IN ROLE {role}."
        ) from error
    return True


def _is_member(database: Database, login: str, role: str) -> bool:
    query = "SELECT count(*) FROM pg_roles WHERE rolname = %s AND rolcanlogin AND pg_has_role(oid, %s, 'MEMBER')"
    with database.transaction() as cursor:
        return bool(_read_one(cursor, query, login, role))


def _read_one(cursor: Any, query: str, *parameters: str) -> Any:
    cursor.execute(query, parameters)
    return cursor.fetchone()[0]
