"""Rating scale of the streaming service."""

from __future__ import annotations

from typing import NamedTuple


class LogScale(NamedTuple):
    """Lowest and highest rating: half stars if the lowest is 0.5, else whole numbers."""

    low: float = 1.0
    high: float = 5.0

    @classmethod
    def named(cls, name: str) -> LogScale:
        """Return the scale of a name such as ``0.5-5``."""
        low, high = map(float, name.split("-"))
        return cls(low, high)

    @property
    def name(self) -> str:
        """The name, as of ``named``."""
        return f"{self.low:g}-{self.high:g}"

    @property
    def step(self) -> float:
        """The distance of neighboring ratings."""
        return 0.5 if self.low % 1 else 1.0

    @property
    def ratings(self) -> list[float]:
        """All ratings, the lowest first."""
        count = round((self.high - self.low) / self.step) + 1
        return [self.low + number * self.step for number in range(count)]

    def holds(self, rating: float) -> bool:
        """Return whether ``rating`` is on the scale."""
        return self.low <= rating <= self.high and rating % self.step == 0

    def read(self, text: str) -> float | None:
        """Return the rating in a text such as ``4`` or ``3.5``, None if it is not on the scale."""
        if not (text.isascii() and len(text) <= 4 and text.replace(".", "", 1).isdigit()):
            return None
        return rating if self.holds(rating := float(text)) else None

    def nearest(self, value: float) -> float:
        """Return the rating of the scale nearest to ``value``."""
        return min(self.high, max(self.low, (value / self.step + 0.5) // 1 * self.step))

    def __str__(self) -> str:
        """Return the sentence part that names the valid ratings."""
        kind = "a number of half stars" if self.step < 1 else "a whole number"
        return f"{kind} from {self.low:g} to {self.high:g}"


FIVE_STARS = LogScale()
