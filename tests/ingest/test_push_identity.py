"""Tests of PushIdentity: only Pub/Sub with the configured service account may push; no token is repeated."""

from __future__ import annotations

import time
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
