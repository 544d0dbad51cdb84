"""From what a customer says of himself to the cohorts that he belongs to."""

from __future__ import annotations

import re

from marquee.scoring.cohort_scores import demographic, genre
from marquee.serving.customer_client import Customer

_GENRES = {
    "action": ("action",),
    "adventure": ("adventure", "adventures"),
    "animation": ("animation", "animated", "anime", "cartoon", "cartoons"),
    "children's": ("children's", "children", "kids", "family"),
    "comedy": ("comedy", "comedies", "funny", "humour", "humor"),
    "crime": ("crime", "crimes", "gangster", "gangsters", "heist"),
    "documentary": ("documentary", "documentaries"),
    "drama": ("drama", "dramas", "dramatic"),
    "fantasy": ("fantasy", "magic"),
    "movie-noir": ("noir", "movie-noir"),
    "horror": ("horror", "scary", "slasher"),
    "musical": ("musical", "musicals"),
    "mystery": ("mystery", "mysteries", "detective"),
    "romance": ("romance", "romances", "romantic"),
    "sci-fi": ("sci-fi", "scifi", "science-fiction", "space"),
    "thriller": ("thriller", "thrillers", "suspense"),
    "war": ("war",),
    "western": ("western", "westerns", "cowboys"),
}
_BY_WORD = {word: name for name, words in _GENRES.items() for word in words}
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


def genres(text: str) -> tuple[str, ...]:
    """The genres that a text names, each once, in the order of the text."""
    plain = text.lower().replace("science fiction", "sci-fi").replace("’", "'")
    return tuple(dict.fromkeys(_BY_WORD[w] for w in _WORD.findall(plain) if w in _BY_WORD))


def cohorts_of(customer: Customer) -> tuple[tuple[str, float], ...]:
    """The cohorts and how much each counts: what he does not like counts against."""
    return (
        *((name, 1.0) for name in demographic(customer.age, customer.gender, customer.occupation)),
        *((genre(name), 1.0) for name in genres(customer.self_description_likes or "")),
        *((genre(name), -1.0) for name in genres(customer.self_description_dislikes or "")),
    )
