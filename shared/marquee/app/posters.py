"""Generated posters: drawings from a movie's id, title, year and first genre, free of third-party rights."""

from __future__ import annotations

import hashlib
from html import escape

from marquee.app.movie_service_client import Movie

_HUES = {
    "Action": 12,
    "Adventure": 32,
    "Animation": 48,
    "Children's": 56,
    "Comedy": 42,
    "Crime": 355,
    "Documentary": 160,
    "Drama": 218,
    "Fantasy": 275,
    "Film-Noir": 230,
    "Horror": 0,
    "Musical": 320,
    "Mystery": 250,
    "Romance": 340,
    "Sci-Fi": 195,
    "Thriller": 205,
    "War": 90,
    "Western": 26,
}
_LINE, _LONGEST_WORD, _LINES, _WIDTH = 13, 16, 5, 214


def draw_poster(movie: Movie) -> str:
    """Return the poster as SVG; equal movies have equal posters."""
    draw = hashlib.sha256(movie.id.encode("utf-8", "replace")).digest()
    genre = next(iter(movie.genre_names), "")
    hue = (_HUES.get(genre, draw[0] * 360 // 256) + draw[1] % 17 - 8) % 360
    ground, ink = f"hsl({hue} 45% 18%)", f"hsl({hue} 60% 92%)"
    colors = f"hsl({hue} 70% 52%)", f"hsl({(hue + 40 + draw[2] % 60) % 360} 65% 45%)"
    shape = (_discs, _beams, _hills, _frames, _arcs)[draw[3] % 5](draw, *colors)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 256 384">'
        f'<rect width="256" height="384" fill="{ground}"/>{shape}'
        f'<rect y="200" width="256" height="184" fill="{ground}" opacity=".72"/>'
        f'<g fill="{ink}" font-family="Georgia,serif" font-weight="700">{_title(movie.title)}</g>'
        f'<g fill="{ink}" font-family="system-ui,sans-serif" font-size="15" opacity=".85">'
        f'<text x="24" y="360">{escape(movie.year)}</text>'
        f'<text x="232" y="360" text-anchor="end">{escape(genre)}</text></g></svg>'
    )


def _title(title: str) -> str:
    lines = _wrap(title)
    # A wide serif takes two thirds of its size for a letter; the longest line has to end before the edge.
    size = min(26 if len(lines) <= 3 else 22, _WIDTH * 3 // (2 * max(map(len, lines), default=1)))
    return "".join(
        f'<text x="24" y="{330 - (len(lines) - 1 - number) * (size + 6)}" font-size="{size}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )


def _wrap(title: str) -> list[str]:
    lines: list[str] = []
    for word in title.split():
        if lines and len(lines[-1]) + 1 + len(word) <= _LINE:
            lines[-1] += " " + word
        else:
            lines.append(word if len(word) <= _LONGEST_WORD else word[: _LONGEST_WORD - 1] + "…")
    return lines if len(lines) <= _LINES else [*lines[: _LINES - 1], "…"]


def _discs(draw: bytes, first: str, second: str) -> str:
    large = f'<circle cx="{60 + draw[4] % 140}" cy="{90 + draw[5] % 60}" r="{48 + draw[6] % 40}" fill="{first}"/>'
    small = f'<circle cx="{60 + draw[7] % 140}" cy="{120 + draw[8] % 60}" r="{18 + draw[9] % 26}" fill="{second}"/>'
    return large + small


def _beams(draw: bytes, first: str, second: str) -> str:
    return "".join(
        f'<path d="M{40 + draw[4] % 176} 250L{n * 44 - 10} -5h26z" fill="{first if n % 2 else second}" opacity=".8"/>'
        for n in range(7)
    )


def _hills(draw: bytes, first: str, second: str) -> str:
    ridge = (
        f"M0 {190 + draw[6] % 30}L{60 + draw[7] % 60} {90 + draw[8] % 60} 150 190 "
        f"{170 + draw[9] % 40} {120 + draw[10] % 40} 256 210V384H0z"
    )
    sun = f'<circle cx="{50 + draw[4] % 160}" cy="{70 + draw[5] % 40}" r="34" fill="{second}"/>'
    return f'{sun}<path d="{ridge}" fill="{first}"/>'


def _frames(draw: bytes, first: str, second: str) -> str:
    return "".join(
        f'<rect x="{24 + n * 14}" y="{30 + n * 16}" width="{200 - n * 28}" height="{190 - n * 32}" fill="none" '
        f'stroke="{first if n % 2 else second}" stroke-width="{3 + draw[4] % 4}"/>'
        for n in range(6)
    )


def _arcs(draw: bytes, first: str, second: str) -> str:
    return "".join(
        f'<circle cx="{draw[4] % 256}" cy="{200 - draw[5] % 80}" r="{28 + n * 30}" fill="none" '
        f'stroke="{first if n % 2 else second}" stroke-width="12"/>'
        for n in range(6)
    )
