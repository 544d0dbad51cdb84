"""All models side by side, as docs/models.md shows them: `marquee compare`.

``systems``: what is compared; ``measure``: one of them on one split; ``figures``: splits together, with intervals;
``cuts``: what serves, on past cuts in time; ``run``: everything, each step kept on disk; ``page`` and ``plot``: how it
is shown.
"""
