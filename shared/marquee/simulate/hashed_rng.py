"""Chance that can be had again: every draw is a hash of the seed and of what it is about.

Nothing has to be remembered to ask the same question twice, which is what lets a catalogue of any
size exist without being held.
"""

from __future__ import annotations

from hashlib import blake2b
from math import gcd
from random import Random

_WORD = (1 << 64) - 1


def seed_of(*parts: object) -> int:
    """64 bits out of ``parts``, told apart by their text: the same on every machine and version."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def uniform(*parts: object) -> float:
    """A number in [0, 1) out of ``parts``."""
    return seed_of(*parts) / 2**64


def generator_for(*parts: object) -> Random:
    """A generator of its own for ``parts``."""
    return Random(seed_of(*parts))


def lcg_step(state: int) -> int:
    """The next state of a 64-bit congruential generator (Knuth's MMIX constants); use its high bits.

    A state is one int, where ``Random`` holds 2.5 kB: there is one for each watch session that goes on.
    """
    return (state * 6364136223846793005 + 1442695040888963407) & _WORD


def zipf_rank(u: float, count: int, exponent: float, offset: float = 0.0) -> int:
    """Map ``u`` in [0, 1) to a rank in [0, count), by weights (rank + 1 + offset)^-exponent, roughly.

    The inverse of the continuous bounded power law: exact enough for popularity, constant time, no table.
    """
    low, high, power = 1 + offset, count + 1 + offset, 1 - exponent
    if abs(power) < 1e-9:
        value = low * (high / low) ** u
    else:
        value = (low**power + u * (high**power - low**power)) ** (1 / power)
    return min(count - 1, max(0, int(value - offset) - 1))


def coprime(start: int, count: int) -> int:
    """A number from ``start`` on that is coprime to ``count``: times it, modulo ``count``, is a shuffle."""
    stride = start % count or 1
    while gcd(stride, count) != 1:
        stride += 1
    return stride
