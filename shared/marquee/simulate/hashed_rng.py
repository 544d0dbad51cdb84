"""Reproducible random numbers without state: every draw is a hash of the seed and its subject.

The same draw gives the same number at any time, so a catalog or population of any size needs no storage.
"""

from __future__ import annotations

from hashlib import blake2b
from math import gcd
from random import Random

_WORD = (1 << 64) - 1


def derive_seed(*parts: object) -> int:
    """Return 64 bits derived from the text of ``parts``; the same on every machine and version."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def uniform(*parts: object) -> float:
    """Return a number in [0, 1) derived from ``parts``."""
    return derive_seed(*parts) / 2**64


def generator_for(*parts: object) -> Random:
    """Return a random generator seeded by ``parts``."""
    return Random(derive_seed(*parts))


def lcg_step(state: int) -> int:
    """Return the next state of a 64-bit linear congruential generator (Knuth's MMIX constants).

    Use its high bits. Each active watch session has a state of its own: one int, where ``Random`` takes 2.5 kB.
    """
    return (state * 6364136223846793005 + 1442695040888963407) & _WORD


def zipf_rank(u: float, count: int, exponent: float, offset: float = 0.0) -> int:
    """Map ``u`` in [0, 1) to a rank in [0, count), with weights of about (rank + 1 + offset)^-exponent.

    This is the inverse of the continuous bounded power law: constant time, no table, and accurate enough for
    popularity.
    """
    low, high, power = 1 + offset, count + 1 + offset, 1 - exponent
    if abs(power) < 1e-9:
        value = low * (high / low) ** u
    else:
        value = (low**power + u * (high**power - low**power)) ** (1 / power)
    return min(count - 1, max(0, int(value - offset) - 1))


def coprime_stride(start: int, count: int) -> int:
    """Return the first number from ``start`` on that is coprime to ``count``.

    Multiplication by it, modulo ``count``, is a permutation.
    """
    stride = start % count or 1
    while gcd(stride, count) != 1:
        stride += 1
    return stride
