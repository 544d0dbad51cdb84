"""Marks of restricted users: forgotten users, and users who opted out of profiling; and pseudonyms of all users.

The tables hold a keyed hash of each user id instead of the id. A writer reads the marks in its own transaction, under a
shared lock that a change of the marks takes exclusively. A transaction that commits after a user was marked therefore
stores no data of that user.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterable
from typing import Any

from marquee.db.pool import Database
from marquee.errors import PrivacyKeyWrong

FORGOTTEN, NOT_PROFILED = "forgotten", "not-profiled"
DIGEST_BYTES = 16

_LOCK = 0x6D61_726B  # Any number that no other advisory lock has.
_DEADLINE_MS = 60_000
PSEUDONYM_PREFIX = "~"
_SELECT_STATE = "SELECT version, key_id, pseudonyms FROM privacy_state"
# Two statements of one message: the second sees what was committed while the first waited.
_LOCK_AND_SELECT_STATE = f"SELECT pg_advisory_xact_lock_shared({_LOCK}); {_SELECT_STATE}"
_SELECT_DIGESTS = "SELECT DISTINCT digest FROM privacy_marks"


class MarkSet:
    """The marked users as of one version. Without marks, lookups do not hash the user id.

    With ``pseudonyms`` a user is stored under :func:`make_pseudonym`. Lookups take the id or its pseudonym.
    """

    __slots__ = ("_digests", "_key", "pseudonyms", "version")

    def __init__(
        self, version: int = 0, key: str = "", digests: Iterable[bytes] = (), *, pseudonyms: bool = False
    ) -> None:
        self.version = version
        self.pseudonyms = pseudonyms
        self._key = key
        self._digests = frozenset(digests)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def stored_id(self, user_id: str) -> str:
        """Return the id under which the data of a user are stored: the id itself, or its pseudonym."""
        return make_pseudonym(self._key, user_id) if self.pseudonyms else user_id

    def holds(self, user_id: str) -> bool:
        """Return True if the user is marked."""
        if not self._digests:
            return False
        digest = _read_pseudonym(user_id) if self.pseudonyms else None
        return (digest or digest_user(self._key, user_id)) in self._digests

    def fingerprints(self) -> list[str]:
        """Return a hash of each mark, in order, by which a later set shows what it still contains."""
        return sorted(hashlib.sha256(digest).hexdigest()[:32] for digest in self._digests)

    def find(self, user_ids: Iterable[str]) -> frozenset[str]:
        """Return those of ``user_ids`` that are marked."""
        return frozenset(user_id for user_id in set(user_ids) if self.holds(user_id)) if self else frozenset()


NO_MARKS = MarkSet()


class MarkReader:
    """Reader of the marks of one database with the secret ``key``; safe to share between threads.

    Without a key it refuses to work as soon as a user is marked, because it could not recognize them.
    """

    def __init__(self, key: str = "") -> None:
        self._key = key
        self._lock = threading.Lock()
        self._marks = NO_MARKS

    def load(self, cursor: Any) -> MarkSet:
        """Return the marks, which stay as they are until the transaction of ``cursor`` ends.

        Raises :class:`PrivacyKeyWrong` if the digests were made with another key.
        """
        cursor.execute(_LOCK_AND_SELECT_STATE)
        state = cursor.fetchone()
        check_key(self._key, state[1])
        if state[0] != self._marks.version:
            cursor.execute(_SELECT_DIGESTS)
            self._set(state, cursor.fetchall())
        return self._marks

    def read(self, database: Database, deadline_ms: int = _DEADLINE_MS) -> MarkSet:
        """Return the marks as of now, within a deadline.

        Raises :class:`DatabaseUnavailable`, and :class:`PrivacyKeyWrong` as :meth:`load`.
        """
        (state,) = database.read(_SELECT_STATE, deadline_ms=deadline_ms)
        check_key(self._key, state[1])
        if state[0] != self._marks.version:
            self._set(state, database.read(_SELECT_DIGESTS, deadline_ms=deadline_ms))
        return self._marks

    def _set(self, state: tuple[Any, ...], rows: Iterable[tuple[Any, ...]]) -> None:
        marks = MarkSet(state[0], self._key, (bytes(digest) for (digest,) in rows), pseudonyms=state[2])
        with self._lock:
            if marks.version > self._marks.version:
                self._marks = marks


def digest_user(key: str, user_id: str) -> bytes:
    """Return the keyed hash of a user id: the first 16 bytes of its HMAC-SHA-256."""
    message = b"user\0" + user_id.encode("utf-8", "surrogatepass")
    return hmac.digest(key.encode(), message, "sha256")[:DIGEST_BYTES]


def make_pseudonym(key: str, user_id: str) -> str:
    """Return the pseudonym of a user: a tilde and their keyed hash in hexadecimal."""
    return PSEUDONYM_PREFIX + digest_user(key, user_id).hex()


def is_pseudonym(stored_id: str) -> bool:
    """Return True if a stored id has the form of a pseudonym."""
    return _read_pseudonym(stored_id) is not None


def _read_pseudonym(stored_id: str) -> bytes | None:
    """Return the keyed hash in a pseudonym; None if ``stored_id`` is an id from before pseudonyms."""
    if len(stored_id) != len(PSEUDONYM_PREFIX) + 2 * DIGEST_BYTES or not stored_id.startswith(PSEUDONYM_PREFIX):
        return None
    try:
        return bytes.fromhex(stored_id[len(PSEUDONYM_PREFIX) :])
    except ValueError:
        return None


def identify_key(key: str) -> bytes:
    """Return an identifier of a key that does not reveal it."""
    return hmac.digest(key.encode(), b"key id", "sha256")[:8] if key else b""


def check_key(key: str, key_id: bytes | memoryview | None) -> None:
    """Raise :class:`PrivacyKeyWrong` if ``key_id`` is that of another key; None: no user was ever marked."""
    if key_id is None or bytes(key_id) == identify_key(key):
        return
    problem = "is not the one with which users were marked" if key else "is not set, and users are marked"
    raise PrivacyKeyWrong(
        f"MARQUEE_PRIVACY_KEY {problem}: nothing is written or read until it is right, so that no forgotten user "
        "comes back (docs/privacy.md)"
    )


def lock_marks(cursor: Any, key: str) -> None:
    """Wait for the writes that are under way, and keep new ones waiting until the transaction ends.

    Raises :class:`PrivacyKeyWrong` if users were marked with another key.
    """
    cursor.execute(f"SELECT pg_advisory_xact_lock({_LOCK}); {_SELECT_STATE}")
    check_key(key, cursor.fetchone()[1])


def change_mark(cursor: Any, key: str, user_ids: Iterable[str], mark: str, *, marked: bool = True) -> None:
    """Add or remove ``mark`` of the users, after the writes that are under way.

    Raises :class:`PrivacyKeyWrong` if other users were marked with another key.
    """
    lock_marks(cursor, key)
    for user_id in user_ids:
        digest = digest_user(key, user_id)
        if marked:
            cursor.execute("INSERT INTO privacy_marks VALUES (%s, %s) ON CONFLICT DO NOTHING", (digest, mark))
        else:
            cursor.execute("DELETE FROM privacy_marks WHERE digest = %s AND mark = %s", (digest, mark))
    cursor.execute("UPDATE privacy_state SET version = version + 1, key_id = %s", (identify_key(key),))


def set_profiling(database: Database, key: str, user_id: str, *, allowed: bool) -> None:
    """Allow or forbid the profiling of an account, for all parts.

    Raises :class:`DatabaseUnavailable`, and :class:`PrivacyKeyWrong` as :func:`change_mark`.
    """
    with database.transaction() as cursor:
        change_mark(cursor, key, [user_id], NOT_PROFILED, marked=not allowed)


def uses_pseudonyms(database: Database) -> bool:
    """Return True if rows hold pseudonyms instead of user ids. Raises :class:`DatabaseUnavailable`."""
    ((_, _, pseudonyms),) = database.read(_SELECT_STATE, deadline_ms=_DEADLINE_MS)
    return bool(pseudonyms)


def list_marks(cursor: Any, key: str, user_id: str) -> list[tuple[str, str]]:
    """Return the marks of one user with their times as ISO 8601."""
    query = "SELECT mark, since FROM privacy_marks WHERE digest = %s ORDER BY mark"
    cursor.execute(query, (digest_user(key, user_id),))
    return [(mark, since.isoformat()) for mark, since in cursor.fetchall()]
