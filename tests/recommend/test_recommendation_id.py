"""Ids of answers: UUIDs as others make them, and never one twice."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID

from marquee.recommend.recommendation_id import RecommendationIds


def test_an_id_is_a_random_uuid_in_the_usual_form() -> None:
    ids = RecommendationIds()
    for text in (ids.new() for _ in range(1_000)):
        read = UUID(text)
        assert (str(read), read.version, read.variant) == (text, 4, RFC_4122)


def test_every_bit_that_may_differ_does() -> None:
    ids = RecommendationIds()
    made = [UUID(ids.new()).int for _ in range(200)]
    always, ever = made[0], made[0]
    for value in made:
        always, ever = always & value, ever | value
    assert always == 4 << 76 | 0b10 << 62  # Version and variant, and nothing else.
    assert ever == (1 << 128) - 1 - (0b1011 << 76) - (0b01 << 62)


def test_threads_and_instances_never_make_the_same() -> None:
    """And a process made by a fork, as gunicorn makes its workers, has a generator of its own."""
    ids = RecommendationIds()
    with ThreadPoolExecutor(8) as threads:
        made = [*threads.map(lambda _: ids.new(), range(4_000))]
    made += [RecommendationIds().new() for _ in range(100)]
    reading, writing = os.pipe()
    if not (child := os.fork()):
        os.write(writing, RecommendationIds().new().encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    made.append(os.read(reading, 36).decode())
    os.close(reading)
    os.close(writing)
    assert len(set(made)) == len(made) == 4_101
