"""Tests of who may call: keys, tokens, modes and rate limits."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from marquee.config.access import AccessPolicy, find_address
from marquee.config.api_keys import READ, WRITE, api_keys_text, create_key, parse_api_keys, token_secret
from marquee.config.rate_limit import MAX_BUCKETS, CallLimiter
from marquee.config.user_tokens import UserToken, sign_token
from marquee.errors import CallRefused

LOOPBACK = {"SERVER_NAME": "127.0.0.1", "REMOTE_ADDR": "127.0.0.1"}
NETWORK = {"SERVER_NAME": "0.0.0.0", "REMOTE_ADDR": "203.0.113.9"}
SECRET = "s" * 32
KEY, ENTRY = create_key("shop", [READ])
NOW = 1_796_040_000.0


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def refusal(policy: AccessPolicy, environ: dict[str, str], scope: str = READ, user_id: str = "7") -> int:
    """Return the status with which a call is refused."""
    with pytest.raises(CallRefused) as refused:
        policy.admit(environ, scope, user_id)
    return refused.value.status


def with_key(key: str, environ: dict[str, str] = NETWORK) -> dict[str, str]:
    return {**environ, "HTTP_MARQUEE_KEY": key}


def test_private_without_keys_answers_this_machine_only() -> None:
    """A server on loopback trusts its callers; one that the network reaches refuses them."""
    policy = AccessPolicy()
    assert policy.admit(LOOPBACK, WRITE).trusted
    assert refusal(policy, NETWORK) == 401


def test_private_with_keys_requires_one_everywhere() -> None:
    """Also on loopback; a key in either header is accepted, for its scopes."""
    policy = AccessPolicy(keys=(ENTRY,))
    assert refusal(policy, LOOPBACK) == 401
    assert policy.admit(with_key(KEY), READ, "7").name == "shop"
    assert policy.admit({**NETWORK, "HTTP_AUTHORIZATION": f"Bearer {KEY}"}, READ).trusted
    assert refusal(policy, with_key(KEY), WRITE) == 403
    assert refusal(policy, with_key(KEY[:-1])) == 401


def test_public_reads_without_trust_and_never_writes() -> None:
    """Anonymous callers read, untrusted; writing needs a key."""
    policy = AccessPolicy("public", (ENTRY,))
    assert not policy.admit(NETWORK, READ, "7").trusted
    assert policy.admit(with_key(KEY), READ, "7").trusted
    assert refusal(policy, NETWORK, WRITE) == 401
    assert refusal(policy, with_key("mk_wrong")) == 401


def test_platform_ignores_tokens_of_the_platform() -> None:
    """Cloud Run's identity token is in Authorization, and is no key of Marquee."""
    policy = AccessPolicy("platform", (ENTRY,))
    assert policy.admit({**NETWORK, "HTTP_AUTHORIZATION": "Bearer eyJhbGciOi"}, WRITE).name == "platform"
    assert refusal(policy, {**NETWORK, "HTTP_AUTHORIZATION": "Bearer mk_wrong"}) == 401


def test_token_reads_for_its_user_until_it_expires() -> None:
    """Not for another user, not for writing, not after its time, and not if a character differs."""
    now = Clock(NOW)
    policy = AccessPolicy(token_secret=SECRET, now_s=now)
    token = sign_token(SECRET, UserToken("7", int(NOW) + 60))
    assert policy.admit(with_key(token), READ, "7").user_id == "7"
    assert refusal(policy, with_key(token), READ, "8") == 403
    assert refusal(policy, with_key(token), WRITE) == 403
    for changed in (token[:-2], token.replace("mt1.", "mt1.a"), sign_token("t" * 32, UserToken("7", int(NOW) + 60))):
        assert refusal(policy, with_key(changed)) == 401
    assert refusal(AccessPolicy(now_s=now), with_key(sign_token("", UserToken("7", int(NOW) + 60)))) == 401
    assert refusal(policy, with_key(sign_token(SECRET, UserToken("7", int(NOW) + 10**6)))) == 401
    now.now += 61
    assert refusal(policy, with_key(token)) == 401


def test_rate_limits_are_per_key_and_per_address() -> None:
    """Each caller has its own bucket, which refills; guessing keys is limited by address."""
    clock = Clock()
    policy = AccessPolicy("public", (ENTRY,), per_key=2, per_address=1, clock=clock)
    for _ in range(4):
        policy.admit(with_key(KEY), READ)
    assert refusal(policy, with_key(KEY)) == 429
    for _ in range(2):
        policy.admit(NETWORK, READ)
    assert refusal(policy, NETWORK) == 429
    assert refusal(policy, with_key("mk_guess")) == 429
    policy.admit({**NETWORK, "REMOTE_ADDR": "203.0.113.10"}, READ)
    clock.now = 1.0
    policy.admit(NETWORK, READ)


def test_rate_limit_of_a_key_named_anonymous_is_that_of_a_key() -> None:
    """Names of keys are free, so none is taken for a caller without a key."""
    key, entry = create_key("anonymous", [READ])
    policy = AccessPolicy("public", (entry,), per_key=5, per_address=1, clock=Clock())
    for _ in range(10):
        policy.admit(with_key(key), READ)
    assert refusal(policy, with_key(key)) == 429


def test_rate_limiter_memory_is_bounded() -> None:
    """Forged addresses push out the callers that have been silent longest."""
    limiter = CallLimiter(1.0, Clock())
    for number in range(MAX_BUCKETS + 10):
        assert limiter.take(str(number)) == 0.0
    assert len(limiter._buckets) == MAX_BUCKETS


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("169.254.1.1", "198.51.100.7, 203.0.113.5", "203.0.113.5"),
        ("93.184.216.34", "198.51.100.7", "93.184.216.34"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
    ],
)
def test_find_address_believes_proxies_of_this_network_only(peer: str, forwarded: str, address: str) -> None:
    """A caller on the internet cannot choose its address."""
    assert find_address({"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded}) == address


@pytest.mark.parametrize("text", ["shop", "shop:read:abc", "shop:admin:" + "0" * 64, f"{ENTRY},{ENTRY}"])
def test_api_keys_setting_refuses_a_malformed_entry(text: str) -> None:
    """The message says what an entry is."""
    with pytest.raises(ValueError, match="<name>:<scopes>:<SHA-256"):
        api_keys_text(text)


def test_secrets_without_value_are_a_hyphen() -> None:
    """Secret stores keep no empty text."""
    assert parse_api_keys("-") == parse_api_keys("") == ()
    assert token_secret("-") == ""
    with pytest.raises(ValueError, match="at least 32"):
        token_secret("short")
