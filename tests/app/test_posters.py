"""The generated posters: their titles."""

from __future__ import annotations

import re

import pytest

from marquee.app.movie_service_client import Movie
from marquee.app.posters import draw_poster


@pytest.mark.parametrize("title", ["Mega Mountain", "WWWWWWWWWWWWWWWW", "A B", "", "L.A. Confidential", "x" * 40])
def test_poster_title_ends_before_the_edge(title: str) -> None:
    """Each line has room, even in a serif as wide as DejaVu, whose letters take 0.67 of its size."""
    texts = re.findall(r'<text x="24" y="\d+" font-size="(\d+)">([^<]*)<', draw_poster(Movie(id="a+1998", title=title)))
    for size, line in texts:
        assert int(size) >= 20
        assert 24 + 0.67 * int(size) * len(line) <= 256 - 12
