"""A catalogue of any size that is never held: a film's id is computed from its number, and back.

A title is made of words, one out of each of the lists below, that spell the film's number: two films
cannot share one. Around the words stand the oddities of the real log's ids (``stream-protocol``):
commas turned into ``_``, ampersands into nothing, asterisks, a leading ``+``, no year, the year twice.
"""

from __future__ import annotations

import re

from marquee.simulate.chance import seed_of

_FIRST = (
    "amber ancient autumn barren bitter blue bold brave broken calm cold copper crimson dancing dark deep "
    "distant dusty electric empty endless faded fallen fierce final flying foreign forgotten frozen gentle "
    "ghostly gilded golden grand green hidden hollow honest hungry idle iron ivory jealous kind last late "
    "lonely lost lucky mad midnight modern narrow noble old pale paper perfect quiet red restless royal "
    "savage scarlet second secret silent silver simple sleeping slow small stolen strange summer sweet tall "
    "tender third tiny twisted velvet violet wandering warm white wicked wild winter wooden yellow young"
).split()
_SECOND = (
    "affair angel arrow avenue bandit bargain battle bell bird bishop border bridge brother camera captain "
    "castle chapel children circus city clock clown corridor cousin dancer daughter desert detective diary "
    "dinner doctor dragon dream duel empire engine enemy fable falcon farmer father ferry fiddler fire "
    "flight forest fortune fox frontier garden general giant guest harbor harvest heart heiress highway "
    "holiday horse hotel hour house hunter husband island journey judge jungle king kiss lantern letter "
    "library lighthouse lion machine magician mask master memory merchant mile mirror mission moon mother "
    "mountain murder night ocean orchard orchestra palace parade passenger piano pilot pirate planet poet "
    "portrait prince prisoner promise prophet queen rain rebel river road rose runner sailor school season "
    "secretary shadow shark sheriff shore sister snow soldier song spy stage star station storm stranger "
    "street student suitcase sword teacher temple theater thief throne tiger tower train traveler treasure "
    "trial tunnel uncle valley village violin visitor voyage waltz war warrior wave wedding whale widow "
    "window witness wolf woman"
).split()
# Only a large catalogue needs the third word.
_THIRD = (
    "again alone anywhere apart ashore asleep awake away below beneath beyond downstairs downtown everywhere "
    "forever here inland inside nearby nowhere offshore outside overhead overseas returns revisited rises "
    "somewhere strikes there tomorrow tonight twice underground underwater uphill upstairs uptown within yesterday"
).split()
_LETTERS = re.compile(r"[a-z]+")
_FIRST_AT, _SECOND_AT, _THIRD_AT = (
    {word: place for place, word in enumerate(words)} for words in (_FIRST, _SECOND, _THIRD)
)
MOST_FILMS = len(_FIRST) * len(_SECOND) * (len(_THIRD) + 1)


class MadeCatalogue:
    """``films`` films, numbered from the most to the least popular. The same ``seed``, the same films."""

    def __init__(self, films: int, seed: int) -> None:
        if not 1 <= films <= MOST_FILMS:
            raise ValueError(f"a catalogue of {films} films: it can have from 1 to {MOST_FILMS}")
        self.films, self._seed = films, seed

    def movie_id(self, film: int) -> str:
        """The id of film number ``film`` in the log's form."""
        rest, second = divmod(film, len(_SECOND))
        rest, first = divmod(rest, len(_FIRST))
        words = [_FIRST[first], _SECOND[second]] + ([_THIRD[rest - 1]] if rest else [])
        draw = seed_of(self._seed, "film", film)
        year = str(1925 + draw % 100)
        odd = (draw >> 8) % 100
        title = _odd_title(words, odd)
        if odd == 0:
            return title + "+"
        return f"{title}+{year}+{year}" if odd == 1 else f"{title}+{year}"

    def number(self, movie_id: str) -> int | None:
        """The film's number, or None if the catalogue does not have it."""
        words = _LETTERS.findall(movie_id.replace("*", ""))
        if not 2 <= len(words) <= 3 or words[0] not in _FIRST_AT or words[1] not in _SECOND_AT:
            return None
        rest = 0 if len(words) == 2 else _THIRD_AT.get(words[2], -2) + 1
        film = (rest * len(_FIRST) + _FIRST_AT[words[0]]) * len(_SECOND) + _SECOND_AT[words[1]]
        return film if 0 <= film < self.films and self.movie_id(film) == movie_id else None


def _odd_title(words: list[str], odd: int) -> str:
    """About one title in eight is written in one of the ways that trip a hasty parser."""
    plain = "+".join(words)
    match odd:
        case 2:
            return f"+{plain}"
        case 3:
            return plain + "*"
        case 4:
            return "*".join(words[0]) + "+" + "+".join(words[1:])
        case 5 | 6:
            return f"{words[0]}_+{'+'.join(words[1:])}"
        case 7 | 8:
            return "++".join(words)
        case 9:
            return "-".join(words)
        case 10:
            return f"{words[0]}.+{'+'.join(words[1:])}"
        case 11:
            return f"{plain}+2"
        case _:
            return plain


def runtime(movie_id: str, seed: int) -> int:
    """The film's length in minutes: 113 on the average, from 60 to 200."""
    draw = seed_of(seed, "runtime", movie_id)
    # The sum of four uniform numbers is near enough to a bell.
    bell = sum((draw >> shift) & 0xFFFF for shift in (0, 16, 32, 48)) / 0x10000 - 2
    return max(60, min(200, round(113 + 34 * bell)))
