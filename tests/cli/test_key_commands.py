"""Tests of ``marquee keys``: what it prints is what the functions accept."""

from __future__ import annotations

import re

import pytest

from marquee.cli.main import main
from marquee.config.access import KEY_HEADER, AccessPolicy
from marquee.config.api_keys import READ, WRITE, parse_api_keys

SECRET = "0123456789abcdef0123456789abcdef"


def environ(credential: str) -> dict[str, str]:
    return {"HTTP_" + KEY_HEADER.upper().replace("-", "_"): credential, "SERVER_NAME": "0.0.0.0"}


def test_keys_create_prints_a_key_and_its_entry(capsys: pytest.CaptureFixture[str]) -> None:
    """The entry, as the setting, admits the key with its scopes."""
    assert main(["keys", "create", "shop", "--scope", "write", "--scope", "read"]) == 0
    key, entry = (line.split()[-1] for line in capsys.readouterr().out.splitlines())
    policy = AccessPolicy(keys=parse_api_keys(entry))
    assert policy.admit(environ(key), WRITE).name == policy.admit(environ(key), READ).name == "shop"
    assert key not in entry


def test_keys_token_prints_a_token_of_the_user(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token reads for its user; without the secret the command says which setting is missing."""
    monkeypatch.setenv("MARQUEE_TOKEN_SECRET", SECRET)
    assert main(["keys", "token", "42", "--seconds", "60"]) == 0
    token = capsys.readouterr().out.strip()
    assert AccessPolicy(token_secret=SECRET).admit(environ(token), READ, "42").user_id == "42"
    monkeypatch.delenv("MARQUEE_TOKEN_SECRET")
    assert main(["keys", "token", "42"]) != 0
    assert "MARQUEE_TOKEN_SECRET" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["create", "A b", "--scope", "read"], ["create", "a", "--scope", "admin"]])
def test_keys_create_invalid_argument_says_what_is_valid(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A name of other characters, or an unknown scope."""
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main(["keys", *words]))
    assert ended.value.code
    assert re.search(r"a-z, 0-9 and hyphens|choose from", capsys.readouterr().err)
