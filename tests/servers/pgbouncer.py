"""PgBouncer in transaction mode in front of a PostgreSQL, with TLS for its clients."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
from tests.servers.certificates import Authority

from marquee.local.process import Process, free_port, port_open

USER, PASSWORD = "app", "s3cret-of-the-pool"


class PgBouncer:
    """A pooler of all clients onto ``pool_size`` connections to the server of ``url``, whose password it knows."""

    def __init__(self, url: str, password: str, authority: Authority, *, pool_size: int) -> None:
        self.port, self._database = free_port(), urlsplit(url).path.strip("/")
        # Not below a directory of root: PgBouncer refuses to run as root.
        self._directory = directory = Path(tempfile.mkdtemp(prefix="marquee-pgbouncer-"))
        certificate, key = (Path(shutil.copy(path, directory)) for path in authority.issue("pgbouncer"))
        (directory / "users.txt").write_text(f'"{USER}" "{PASSWORD}"\n')
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": directory / "users.txt",
            "admin_users": USER,
            "pool_mode": "transaction",
            "default_pool_size": pool_size,
            "client_tls_sslmode": "require",
            "client_tls_cert_file": certificate,
            "client_tls_key_file": key,
        }
        server = urlsplit(url)
        target = f"{self._database} = host={server.hostname} port={server.port} user={server.username}"
        target += f" password={password}"
        lines = [
            "[databases]",
            target,
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in settings.items()),
        ]
        (directory / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        user = pwd.getpwuid(65534).pw_name if os.geteuid() == 0 else None
        if user:
            for path in (directory, *directory.iterdir()):
                os.chown(path, pwd.getpwnam(user).pw_uid, -1)
        argv = [str(shutil.which("pgbouncer", path=_SEARCH_PATH)), str(directory / "pgbouncer.ini")]
        self._process = Process("pgbouncer", argv, directory / "pgbouncer.log", user=user)

    def url(self, **options: str) -> str:
        """Return the URL for clients, with options of libpq."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{self._database}?{query}"

    def clients(self) -> list[str]:
        """Return the application names of the clients of the database."""
        url = self.url(sslmode="require").replace(f"/{self._database}?", "/pgbouncer?")
        with closing(psycopg2.connect(url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SHOW CLIENTS")
                names = [column.name for column in cursor.description or ()]
                clients = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return [row["application_name"] for row in clients if row["database"] == self._database]

    def __enter__(self) -> PgBouncer:
        self._process.start()
        self._process.wait_healthy(lambda: port_open(self.port))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()
        shutil.rmtree(self._directory)


_SEARCH_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


def is_installed() -> bool:
    """Return whether PgBouncer is installed."""
    return shutil.which("pgbouncer", path=_SEARCH_PATH) is not None
