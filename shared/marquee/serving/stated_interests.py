"""Cohorts of a user from demographics and stated interests."""

from __future__ import annotations

import re

from marquee.scoring.cohort_scores import demographic_cohorts, genre_cohort
from marquee.serving.customer_client import Customer

_WORDS_BY_GENRE = {
    "action": ("action",),
    "adventure": ("adventure", "adventures"),
    "animation": ("animation", "animated", "anime", "cartoon", "cartoons"),
    "children's": ("children's", "children", "kids", "family"),
    "comedy": ("comedy", "comedies", "funny", "humour", "humor"),
    "crime": ("crime", "crimes", "gangster", "gangsters", "heist"),
    "documentary": ("documentary", "documentaries"),
    "drama": ("drama", "dramas", "dramatic"),
    "fantasy": ("fantasy", "magic"),
    "film-noir": ("noir", "film-noir"),
    "horror": ("horror", "scary", "slasher"),
    "musical": ("musical", "musicals"),
    "mystery": ("mystery", "mysteries", "detective"),
    "romance": ("romance", "romances", "romantic"),
    "sci-fi": ("sci-fi", "scifi", "science-fiction", "space"),
    "thriller": ("thriller", "thrillers", "suspense"),
    "war": ("war",),
    "western": ("western", "westerns", "cowboys"),
}
_GENRE_BY_WORD = {word: genre for genre, words in _WORDS_BY_GENRE.items() for word in words}
_WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


def find_genres(text: str) -> tuple[str, ...]:
    """Return the distinct genres that a text names, in the order of the text."""
    plain = text.lower().replace("science fiction", "sci-fi").replace("’", "'")
    words = _WORD.findall(plain)
    return tuple(dict.fromkeys(_GENRE_BY_WORD[word] for word in words if word in _GENRE_BY_WORD))


def find_cohorts(customer: Customer) -> tuple[tuple[str, float], ...]:
    """Return the customer's cohorts with their weights; a disliked genre has a negative weight."""
    demographics = demographic_cohorts(customer.age, customer.gender, customer.occupation)
    return (
        *((name, 1.0) for name in demographics),
        *((genre_cohort(name), 1.0) for name in find_genres(customer.self_description_likes or "")),
        *((genre_cohort(name), -1.0) for name in find_genres(customer.self_description_dislikes or "")),
    )
