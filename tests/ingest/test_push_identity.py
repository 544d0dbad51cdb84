"""Tests of PushIdentity: only Pub/Sub with the configured service account may push; no token is repeated."""

from __future__ import annotations

import json
import socket
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.servers.issuer import ACCOUNT, AUDIENCE, Issuer, Key

from marquee.errors import PushRefused, PushUnverifiable
from marquee.ingest.push_identity import PushIdentity


@pytest.fixture(scope="module")
def key() -> Key:
    return Key("first")


@contextmanager
def issuing(*keys: Key) -> Iterator[Issuer]:
    """Provide an issuer with these keys."""
    issuer = Issuer(*keys)
    try:
        yield issuer
    finally:
        issuer.close()


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def test_check_valid_token_fetches_certificates_once(key: Key) -> None:
    """The certificates are cached."""
    with issuing(key) as issuer:
        identity = PushIdentity(AUDIENCE, ACCOUNT, issuer.url)
        for _ in range(3):
            identity.check(bearer(key.token()))
        assert issuer.requests == 1


NOW = int(time.time())


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "https://other.example.edu"},
        {"email": "other@example.edu"},
        {"email_verified": False},
        {"iss": "https://issuer.example.edu"},
        {"exp": NOW - 60, "iat": NOW - 600},
        {"iat": NOW + 3600, "exp": NOW + 7200},
    ],
)
def test_check_token_with_wrong_claim_is_refused(key: Key, changed: dict[str, object]) -> None:
    """Wrong audience, account or issuer, expired or not yet valid; the message repeats none of the token."""
    token = key.token(**changed)
    with issuing(key) as issuer, pytest.raises(PushRefused) as refused:
        PushIdentity(AUDIENCE, ACCOUNT, issuer.url).check(bearer(token))
    assert token not in str(refused.value)
    assert token.split(".")[1] not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer"},
        bearer("a.b.c"),
        bearer("é"),
        bearer("x" * 999),
    ],
)
def test_check_request_without_token_is_refused(key: Key, headers: dict[str, str]) -> None:
    """A missing, malformed or other kind of credential is refused."""
    with issuing(key) as issuer, pytest.raises(PushRefused):
        PushIdentity(AUDIENCE, ACCOUNT, issuer.url).check(headers)


def test_check_token_of_another_key_is_refused(key: Key) -> None:
    """The token names a key of the issuer, but has another signature."""
    with issuing(key) as issuer, pytest.raises(PushRefused):
        PushIdentity(AUDIENCE, ACCOUNT, issuer.url).check(bearer(Key("first").token()))


def test_check_unknown_key_fetches_at_most_once_a_minute(key: Key) -> None:
    """An unknown key may be new, but must not trigger a request each time."""
    now, other = [0.0], Key("second")
    with issuing(key) as issuer:
        identity = PushIdentity(AUDIENCE, ACCOUNT, issuer.url, clock=lambda: now[0])
        identity.check(bearer(key.token()))
        issuer.keys.append(other)
        for _ in range(3):
            with pytest.raises(PushRefused):
                identity.check(bearer(other.token()))
        assert issuer.requests == 1
        now[0] = 61.0
        identity.check(bearer(other.token()))
        assert issuer.requests == 2


def test_check_without_certificates_is_transient(key: Key) -> None:
    """A valid push must not be lost because the issuer is unavailable."""
    with issuing(key) as issuer:
        issuer.status = 503
        identity = PushIdentity(AUDIENCE, ACCOUNT, issuer.url)
        with pytest.raises(PushUnverifiable):
            identity.check(bearer(key.token()))
        issuer.status = 200
        identity.check(bearer(key.token()))


def forged(payload: str, key_id: object = "k") -> str:
    """Return an unsigned token."""
    head = json.dumps({"alg": "RS256", "typ": "JWT", "kid": key_id})
    parts = [urlsafe_b64encode(text.encode()).decode().rstrip("=") for text in (head, payload, "x")]
    return ".".join(parts)


@pytest.mark.parametrize("payload", ["[" * 3_000 + "]" * 3_000, "[]", "7", '{"exp": "text", "iat": 1}', "{"])
def test_check_odd_claims_are_refused(key: Key, payload: str) -> None:
    """Whatever the library raises: 401, not 500."""
    with issuing(key) as issuer, pytest.raises(PushRefused):
        PushIdentity(AUDIENCE, ACCOUNT, issuer.url).check(bearer(forged(payload, key.id)))


@pytest.mark.parametrize("changed", [{"exp": "text"}, {"iat": "text"}, {"exp": None}, {"aud": [[]]}, {"iat": 1e308}])
def test_check_signed_odd_claims_are_refused(key: Key, changed: dict[str, object]) -> None:
    """A valid signature does not make claims of the wrong type an error of ours."""
    with issuing(key) as issuer, pytest.raises(PushRefused):
        PushIdentity(AUDIENCE, ACCOUNT, issuer.url).check(bearer(key.token(**changed)))


@pytest.mark.parametrize("age_s", [61.0, 4_000.0])
def test_check_forged_keys_at_a_slow_address_delay_no_known_key(key: Key, age_s: float) -> None:
    """While one forged token waits for the certificates, known keys are accepted and others refused at once."""
    now = [0.0]
    slow = socket.create_server(("127.0.0.1", 0))
    with issuing(key) as issuer, slow:
        identity = PushIdentity(AUDIENCE, ACCOUNT, issuer.url, clock=lambda: now[0])
        identity.check(bearer(key.token()))
        identity.certs_url = f"http://127.0.0.1:{slow.getsockname()[1]}/"
        now[0] = age_s
        waiting = threading.Thread(target=lambda: _unverifiable(identity, forged("{}", "new")), daemon=True)
        waiting.start()
        connection, _ = slow.accept()
        for number in range(12):
            _unverifiable(identity, forged("{}", f"new{number}"))
        identity.check(bearer(key.token()))
        assert waiting.is_alive()
        connection.close()
        waiting.join(30)


def _unverifiable(identity: PushIdentity, token: str) -> None:
    with pytest.raises(PushUnverifiable):
        identity.check(bearer(token))


def test_check_failed_fetches_back_off(key: Key) -> None:
    """The second failure in sequence delays the next attempt, and a success ends the back-off."""
    now = [0.0]
    with issuing(key) as issuer:
        issuer.status = 503
        identity = PushIdentity(AUDIENCE, ACCOUNT, issuer.url, clock=lambda: now[0])
        for _ in range(5):
            _unverifiable(identity, key.token())
        assert issuer.requests == 2
        issuer.status, now[0] = 200, 2.5
        identity.check(bearer(key.token()))
        assert issuer.requests == 3
