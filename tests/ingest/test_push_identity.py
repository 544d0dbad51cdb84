"""Only Pub/Sub, as the service account that was named, may push; and no token is repeated in a message."""

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
    issuer = Issuer(*keys)
    try:
        yield issuer
    finally:
        issuer.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_good_token_is_accepted_and_certificates_are_kept(key: Key) -> None:
    with issuing(key) as issuer:
        identity = PushIdentity(AUDIENCE, ACCOUNT, issuer.url)
        for _ in range(3):
            identity.check(bearer(key.token()))
        assert issuer.asked == 1


NOW = int(time.time())


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "https://other.example.edu"},
        {"email": "somebody@example.edu"},
        {"email_verified": False},
        {"iss": "https://issuer.example.edu"},
        {"exp": NOW - 60, "iat": NOW - 600},
        {"iat": NOW + 3600, "exp": NOW + 7200},
    ],
)
def test_token_that_is_not_for_us_is_refused(key: Key, changed: dict[str, object]) -> None:
    """Another audience, another account, another issuer, too old, not yet: and the message holds none of it."""
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
def test_what_is_no_token_is_refused(key: Key, headers: dict[str, str]) -> None:
    with issuing(key) as issuer, pytest.raises(PushRefused):
        PushIdentity(AUDIENCE, ACCOUNT, issuer.url).check(headers)


def test_token_of_another_key_is_refused(key: Key) -> None:
    """Even if it names a key of the issuer's."""
    with issuing(key) as issuer, pytest.raises(PushRefused):
        PushIdentity(AUDIENCE, ACCOUNT, issuer.url).check(bearer(Key("first").token()))


def test_new_key_is_fetched_but_not_at_everybodys_wish(key: Key) -> None:
    """A key that is not known makes us look again, at most once a minute."""
    now, other = [0.0], Key("second")
    with issuing(key) as issuer:
        identity = PushIdentity(AUDIENCE, ACCOUNT, issuer.url, clock=lambda: now[0])
        identity.check(bearer(key.token()))
        issuer.keys.append(other)
        for _ in range(3):
            with pytest.raises(PushRefused):
                identity.check(bearer(other.token()))
        assert issuer.asked == 1
        now[0] = 61.0
        identity.check(bearer(other.token()))
        assert issuer.asked == 2


def test_without_certificates_nothing_is_decided(key: Key) -> None:
    """It is to be sent again: a good push must not be lost because the issuer was away."""
    with issuing(key) as issuer:
        issuer.status = 503
        identity = PushIdentity(AUDIENCE, ACCOUNT, issuer.url)
        with pytest.raises(PushUnverifiable):
            identity.check(bearer(key.token()))
        issuer.status = 200
        identity.check(bearer(key.token()))
