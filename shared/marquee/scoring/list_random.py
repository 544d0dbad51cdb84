"""Random numbers that follow from the id of a list, so that the list can be made again."""

from __future__ import annotations

_MASK = (1 << 64) - 1


class ListRandom:
    """SplitMix64 (Steele, Lea and Flood, 2014), seeded with the 128 bits of a recommendation id.

    A ``random.Random`` per list would take four times as long, because it fills a state of 624 words.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = _mix((seed & _MASK) ^ _mix(seed >> 64))

    def random(self) -> float:
        """Return a number in [0, 1) with 53 random bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        return (_mix(self._state) >> 11) * 2.0**-53


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
