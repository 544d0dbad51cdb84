"""Word lists for the titles of the synthetic movies. No word is in two of the lists."""

from __future__ import annotations

_FIRST = """
amber ancient autumn barren bitter blue bold brave broken calm cold copper crimson dancing dark deep
distant dusty electric empty endless faded fallen fierce final flying foreign forgotten frozen
gentle ghostly gilded golden grand green hidden hollow honest hungry idle iron ivory jealous kind
last late lonely lost lucky mad midnight modern narrow noble old pale paper perfect quiet red
restless royal savage scarlet second secret silent silver simple sleeping slow small stolen strange
summer sweet tall tender third tiny twisted velvet violet wandering warm white wicked wild winter
wooden yellow young
"""

_SECOND = """
affair angel arrow avenue bandit bargain battle bell bird bishop border bridge brother camera
captain castle chapel children circus city clock clown corridor cousin dancer daughter desert
detective diary dinner doctor dragon dream duel empire engine enemy fable falcon farmer father ferry
fiddler fire flight forest fortune fox frontier garden general giant guest harbor harvest heart
heiress highway holiday horse hotel hour house hunter husband island journey judge jungle king kiss
lantern letter library lighthouse lion machine magician mask master memory merchant mile mirror
mission moon mother mountain murder night ocean orchard orchestra palace parade passenger piano
pilot pirate planet poet portrait prince prisoner promise prophet queen rain rebel river road rose
runner sailor school season secretary shadow shark sheriff shore sister snow soldier song spy stage
star station storm stranger street student suitcase sword teacher temple theater thief throne tiger
tower train traveler treasure trial tunnel uncle valley village violin visitor voyage waltz war
warrior wave wedding whale widow window witness wolf woman
"""

_THIRD = """
again alone anywhere apart ashore asleep awake away below beneath beyond downstairs downtown
everywhere forever here inland inside nearby nowhere offshore outside overhead overseas returns
revisited rises somewhere strikes there tomorrow tonight twice underground underwater uphill
upstairs uptown within yesterday
"""

FIRST, SECOND = tuple(_FIRST.split()), tuple(_SECOND.split())
# Only a large catalog needs the third word.
THIRD = tuple(_THIRD.split())
