"""The server side of SASL's PLAIN (RFC 4616) and SCRAM (RFC 5802), for a broker without users."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from functools import partial

_ITERATIONS = 4096
Passwords = Mapping[str, str]


class Exchange(ABC):
    """The authentication of one client; ``done`` is set after its last message."""

    done = False

    def __init__(self, passwords: Passwords) -> None:
        self.passwords = passwords

    @abstractmethod
    def answer(self, message: bytes) -> bytes | None:
        """Return the answer to the next message; None refuses the client."""


class Plain(Exchange):
    """Authentication by user and password in plain text."""

    def answer(self, message: bytes) -> bytes | None:
        self.done = True
        _, user, password = message.decode().split("\0")
        return b"" if self.passwords.get(user) == password else None


class Scram(Exchange):
    """Authentication by a proof of the password."""

    def __init__(self, algorithm: str, passwords: Passwords) -> None:
        super().__init__(passwords)
        self._algorithm, self._salt = algorithm, secrets.token_bytes(16)
        self._first, self._challenge = "", ""

    def answer(self, message: bytes) -> bytes | None:
        return self._begin(message.decode()) if not self._first else self._end(message.decode())

    def _begin(self, message: str) -> bytes:
        self._first = message.removeprefix("n,,")
        nonce = _attributes(self._first)["r"] + secrets.token_hex(12)
        self._challenge = f"r={nonce},s={b64encode(self._salt).decode()},i={_ITERATIONS}"
        return self._challenge.encode()

    def _end(self, message: str) -> bytes | None:
        self.done = True
        bare, _, proof = message.rpartition(",p=")
        password = self.passwords.get(_attributes(self._first)["n"], secrets.token_hex())
        salted = hashlib.pbkdf2_hmac(self._algorithm, password.encode(), self._salt, _ITERATIONS)
        messages = f"{self._first},{self._challenge},{bare}"
        stored = hashlib.new(self._algorithm, self._hmac(salted, "Client Key")).digest()
        key = bytes(a ^ b for a, b in zip(b64decode(proof), self._hmac(stored, messages), strict=True))
        if hashlib.new(self._algorithm, key).digest() != stored:
            return None
        return b"v=" + b64encode(self._hmac(self._hmac(salted, "Server Key"), messages))

    def _hmac(self, key: bytes, text: str) -> bytes:
        return hmac.digest(key, text.encode(), self._algorithm)


def _attributes(message: str) -> dict[str, str]:
    return {part[0]: part[2:] for part in message.split(",")}


MECHANISMS: Mapping[str, Callable[[Passwords], Exchange]] = {
    "PLAIN": Plain,
    "SCRAM-SHA-256": partial(Scram, "sha256"),
    "SCRAM-SHA-512": partial(Scram, "sha512"),
}
