"""Names for answers: random UUIDs, made without asking the system for every one of them."""

from __future__ import annotations

from random import Random

_VERSION_AND_VARIANT = ~(0xF << 76 | 0b11 << 62)
_RANDOM = 4 << 76 | 0b10 << 62


class RecommendationIds:
    """UUIDs of version 4 (RFC 9562, 5.4). Make one in the process that uses it, not in a parent that forks.

    The system's randomness seeds a generator once; ``uuid4`` asks for it each time, a call that lets go of Python's
    lock and takes a fortieth of an answer. Ids need not be hard to guess: they keep nobody out. Safe to share between
    threads.
    """

    def __init__(self) -> None:
        self._bits = Random().getrandbits

    def new(self) -> str:
        text = f"{self._bits(128) & _VERSION_AND_VARIANT | _RANDOM:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
