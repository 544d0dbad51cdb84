"""Small system under load for the erasure of users, and an independent search for remaining data.

Database, MongoDB, `ingest` and `recommend` are processes. A thread continuously delivers records of all users, repeats
old records, and requests lists. `marquee privacy` runs as a process as well, so that it can be killed.
"""

from __future__ import annotations

import http.client
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from marquee.app.document_schema import prepare_documents
from marquee.app.documents import Documents
from marquee.app.positions import Positions
from marquee.app.profiles import Profiles
from marquee.config.settings import Settings
from marquee.db.migrate import migrate
from marquee.db.pool import Database
from marquee.errors import MarqueeError
from marquee.events.batches import StreamBatch, make_record
from marquee.events.envelopes import encode_batch, to_http
from marquee.local.embedded_mongo import EmbeddedMongo
from marquee.local.embedded_postgres import EmbeddedPostgres
from marquee.local.function_process import function_instance, health_check
from marquee.local.infra_spec import read_functions
from marquee.local.process import free_port
from marquee.privacy import forget_journal, learned_models
from marquee.privacy.receipts import Receipt, public_key, verify_receipt
from marquee.registry.object_store.connect import connect

ROOT = Path(__file__).parents[1]
KEY = "secret of the benchmark of forgetting"
FIRST_USER = 910_000_001
"""First user id. Ids have nine digits, so that a search for their bytes has no false positives."""
MOVIES = [f"film+number+{n}+{1950 + n % 70}" for n in range(60)]
BATCH = 200
_TRACE_STEPS = ("documents", "rows", "logs")
_TABLES = """
SELECT c.oid::regclass::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"""


class ForgetSystem:
    """The running system with ``users``, some of whom will be forgotten."""

    def __init__(self, root: Path, settings: Settings, users: Sequence[int], stack: ExitStack) -> None:
        self.root, self.settings, self.users = root, settings, users
        self.database = stack.enter_context(closing(Database(settings.database_url)))
        self.store, self.remote = connect(settings.objects_url), connect(settings.dvc_remote)
        self.documents = stack.enter_context(closing(Documents(settings.documents_url, deadline_ms=20_000)))
        self.logs = root / "logs"
        functions = read_functions(ROOT)
        self._ports = {name: free_port() for name in ("ingest", "recommend")}
        for name, port in self._ports.items():
            environment = settings.environment(functions[name].needs)
            process = function_instance(name, functions[name], ROOT, self.logs, port, environment, 1)
            process.start()
            stack.callback(process.stop)
            process.wait_healthy(health_check(f"http://127.0.0.1:{port}/healthz"))
        self.delivered: list[tuple[dict[str, str], bytes]] = []
        self.errors = 0
        self._offset = itertools.count()
        self._rng = random.Random(1)

    def fill(self, records: int) -> None:
        """Deliver ``records`` records, and write documents and a log line for every user."""
        prepare_documents(self.documents, 90)
        for user in self.users:
            Positions(self.documents).write(str(user), MOVIES[0], 3, datetime.now(UTC))
            Profiles(self.documents).set_consent(str(user), True, datetime.now(UTC))
        for _ in range(0, records, BATCH):
            self.deliver_new()
        with (self.logs / "recommend.log").open("a") as log:
            log.writelines(f"scoring failed for user {user} with a model\n" for user in self.users)

    def deliver_new(self) -> None:
        """Deliver a batch of new records of random users."""
        lines = [self._make_line() for _ in range(BATCH)]
        records = tuple(make_record(next(self._offset), -1, line.encode()) for line in lines)
        request = to_http(encode_batch(StreamBatch("movielog", "forget-topic", 0, records)))
        self.delivered.append(request)
        self._post(*request)

    @contextmanager
    def load(self) -> Iterator[None]:
        """Deliver new and old batches and request lists continuously within the context."""
        ending = threading.Event()
        thread = threading.Thread(target=self._load, args=(ending,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()

    def command(self, *words: str) -> subprocess.Popen[str]:
        """Start `marquee privacy` with the arguments ``words``; return the process."""
        environment = {**os.environ, **self.settings.environment(), "PYTHONPATH": str(ROOT / "shared")}
        argv = [sys.executable, "-m", "marquee", "privacy", *words, "--logs", str(self.logs), "--despite-gate"]
        argv += ["--params", str(self.root / "params.yaml")]
        return subprocess.Popen(argv, env=environment, cwd=self.root, stdout=subprocess.PIPE, text=True)

    def forget(self, users: Sequence[int], kills: int, seed: int, longest_s: float) -> list[Receipt]:
        """Forget the users, while the command is killed ``kills`` times and resumed; return the verified receipts.

        The users request it in ``kills`` parts, a new part each time the command has finished before its kill. Kills
        follow after at most ``longest_s`` seconds. Raises :class:`MarqueeError` if the command itself fails, or if it
        finished so often that it could not be killed ``kills`` times.
        """
        rng, n_parts = random.Random(seed), max(1, kills)
        parts = [part for first in range(n_parts) if (part := users[first::n_parts])]
        while kills:
            if not forget_journal.list_open(self.database):
                if not parts:
                    raise MarqueeError(f"all users were forgotten {kills} kills too early: choose a shorter --longest")
                self._mark(parts.pop())
            kills -= self._is_killed(rng.uniform(0.3, longest_s))
        self._mark([user for part in parts for user in part])
        final = self.command("resume")
        final.communicate()
        if final.returncode:
            raise MarqueeError(f"`marquee privacy resume` failed with exit code {final.returncode}")
        with self.database.transaction() as cursor:
            cursor.execute("SELECT receipt FROM forget_requests WHERE receipt IS NOT NULL")
            return [verify_receipt(text, public_key(KEY)) for (text,) in cursor.fetchall()]

    def _mark(self, users: Sequence[int]) -> None:
        if users and self.command("forget", *map(str, users), "--mark-only").wait():
            raise MarqueeError("`marquee privacy forget --mark-only` failed; see its output above")

    def _is_killed(self, after_s: float) -> bool:
        """Resume the requests, and return True if the command had to be killed after ``after_s`` seconds."""
        process = self.command("resume")
        try:
            process.communicate(timeout=after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return True
        if process.returncode:
            raise MarqueeError(f"`marquee privacy resume` failed with exit code {process.returncode}")
        return False

    def search(self, users: Sequence[int]) -> dict[str, int]:
        """Count occurrences of the users by place: table rows as text, bytes of files, and documents."""
        wanted = [str(user).encode() for user in users]
        return {
            "database": sum(_count(text, wanted) for text in self._read_tables()),
            "objects": _count_files(self.root / "objects", wanted),
            "snapshots": self._count_snapshots([str(user) for user in users]),
            "app": sum(_count(text, wanted) for text in self._read_documents()),
            "logs": _count_files(self.logs, wanted),
        }

    def count_records(self) -> tuple[int, int]:
        """Return the number of delivered records, and the number of positions in all tables of records."""
        from marquee.db.record_counts import count_records

        return len(self.delivered) * BATCH, count_records(self.database).records

    def _make_line(self) -> str:
        user, movie = self._rng.choice(self.users), self._rng.choice(MOVIES)
        stamp = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
        kind = self._rng.random()
        if kind < 0.4:
            return f"{stamp},{user},GET /rate/{movie}={self._rng.randint(1, 5)}"
        if kind < 0.95:
            return f"{stamp},{user},GET /data/m/{movie}/{self._rng.randrange(90)}.mpg"
        return f"{stamp},{user},GZET /data/m/{movie}/1.mpg"

    def _load(self, ending: threading.Event) -> None:
        while not ending.is_set():
            self.deliver_new()
            self._post(*self._rng.choice(self.delivered))
            self._ask(self._rng.choice(self.users))

    def _post(self, headers: dict[str, str], body: bytes) -> None:
        self.errors += self._request("ingest", "POST", "/", body, headers) != 204

    def _ask(self, user: int) -> None:
        self.errors += self._request("recommend", "GET", f"/recommend/{user}") != 200

    def _request(
        self, name: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[name], timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    def _read_tables(self) -> Iterator[bytes]:
        with self.database.transaction(deadline_ms=600_000) as cursor:
            cursor.execute(_TABLES)
            for (table,) in cursor.fetchall():
                cursor.execute(f"SELECT t::text FROM {table} AS t")  # noqa: S608
                yield "\n".join(row for (row,) in cursor.fetchall()).encode()
            cursor.execute("SELECT raw FROM quarantine UNION ALL SELECT body FROM rejected_events")
            yield b"\n".join(bytes(raw) for (raw,) in cursor.fetchall())

    def _read_documents(self) -> Iterator[bytes]:
        for name in self.documents.database.list_collection_names():
            yield "\n".join(str(document) for document in self.documents.database[name].find()).encode()

    def _count_snapshots(self, users: Sequence[str]) -> int:
        digests = learned_models.list_snapshots(self.remote)
        return sum(learned_models.snapshot_holds_any(self.remote, digest, users) for digest in digests)


@contextmanager
def forget_system(root: Path, users: int, records: int, params: Path) -> Iterator[ForgetSystem]:
    """Start a system in ``root`` with ``records`` records of ``users`` users, and train its first model."""
    for name in ("logs", "postgres", "mongo"):
        (root / name).mkdir(parents=True)
    (root / "params.yaml").write_text(params.read_text())
    with ExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres(root / "postgres"))
        mongo = stack.enter_context(EmbeddedMongo(root / "mongo"))
        settings = Settings(
            database_url=postgres.create_database("forget"),
            documents_url=mongo.database_url("forget"),
            objects_url=(root / "objects").resolve().as_uri(),
            dvc_remote=(root / "remote").resolve().as_uri(),
            privacy_key=KEY,
            release_refresh_s=1.0,
            caller_timeout_ms=20_000,
            release_policy="direct",
        )
        migrate(settings.database_url)
        system = ForgetSystem(root, settings, range(FIRST_USER, FIRST_USER + users), stack)
        system.fill(records)
        environment = {**os.environ, **settings.environment(), "PYTHONPATH": str(ROOT / "shared")}
        argv = [sys.executable, "-m", "marquee", "retrain", "--params", str(root / "params.yaml")]
        subprocess.run(argv, env=environment, cwd=root, check=False, stdout=subprocess.DEVNULL)
        yield system


def seconds_to_erasure(receipts: Sequence[Receipt]) -> tuple[float, float]:
    """Return the longest time from a request until rows, app data and logs are clean, and until a clean model serves.

    A step that a kill repeats counts when it has finished.
    """
    traces = [
        (max(datetime.fromisoformat(receipt.steps[step]) for step in _TRACE_STEPS) - receipt.requested).total_seconds()
        for receipt in receipts
    ]
    return max(traces), max((receipt.finished - receipt.requested).total_seconds() for receipt in receipts)


def _count(text: bytes, wanted: Sequence[bytes]) -> int:
    return sum(text.count(user) for user in wanted)


def _count_files(directory: Path, wanted: Sequence[bytes]) -> int:
    return sum(_count(path.read_bytes(), wanted) for path in directory.rglob("*") if path.is_file())
