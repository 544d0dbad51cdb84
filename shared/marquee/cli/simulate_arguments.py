"""Arguments of ``marquee simulate``."""

from __future__ import annotations

import argparse
from pathlib import Path

from marquee.cli.argument_types import bounded_float, bounded_int
from marquee.config.fields import RATING_SCALES

# As recorded in 2025.
RECORDS_PER_SECOND = 1580.0

_DESCRIPTION = """\
Simulate a streaming service. Its users watch, rate and request recommendations, and it logs their events in the
format of the event log to a Kafka topic or to stdout.

  replay     replay the latest 20 % of MovieLens: each rating becomes a watch session, then the actual rating
  synthetic  any number of users and movies, with preferences that a model can learn; they are not stored
"""
_EPILOG = """\
examples:
  marquee simulate --kafka 127.0.0.1:9092 --url http://127.0.0.1:8080
  marquee simulate --mode synthetic --users 1000000 --movies 27000 --stdout --records 1000 --corrupt 0.001
  marquee simulate --mode synthetic --url http://127.0.0.1:8080 --records-per-second 0 --requests-per-second 500
                   a load test of the recommendations alone; stop it with Ctrl-C

The exit code is 1 if Kafka did not acknowledge all records.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``marquee simulate``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    _add_destinations(parser.add_argument_group("sources and destinations"))
    _add_population(parser.add_argument_group("users and movies"))
    _add_rates(parser.add_argument_group("rates and limits"))
    _add_faults(parser.add_argument_group("faults"))


def _add_destinations(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--kafka", metavar="HOST:PORT", help="Kafka's bootstrap servers [MARQUEE_KAFKA_BOOTSTRAP]")
    add("--topic", help="topic, created if it does not exist [MARQUEE_KAFKA_TOPIC]")
    add("--partitions", type=bounded_int(1), default=2, metavar="N", help="partitions of a new topic [2]")
    add("--stdout", action="store_true", help="write the records to stdout instead of Kafka")
    add("--url", help="request recommendations from GET URL/recommend/<user_id>; without it, none")
    add(
        "--customer-service-port",
        type=bounded_int(1, 65_535),
        metavar="PORT",
        help="also serve customers and movies: GET /user/<id>, /movie/<id>; and log the requests of real "
        "users: /create_account, /data/m/<movie>/<minute>.mpg, /rate/<movie>=<rating>, with the header User-Id",
    )
    add(
        "--customer-service-host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address of that service; 0.0.0.0 in a container [127.0.0.1]",
    )
    add(
        "--customer-service-limit",
        type=bounded_float(0),
        default=100.0,
        metavar="N",
        help="requests per second to the customer service before it returns 429; 0: no limit [100]",
    )
    add("--report", type=Path, metavar="FILE", help="write exact counts to FILE as JSON, twice a second")


def _add_population(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--mode", choices=("replay", "synthetic"), default="replay", help="[replay]")
    add(
        "--data",
        type=Path,
        default=Path("data/movielens-100k"),
        metavar="DIR",
        help="replay: base data [%(default)s]",
    )
    add(
        "--fraction",
        type=bounded_float(0, 1),
        default=0.2,
        help="replay: the latest fraction of the ratings [0.2]",
    )
    add(
        "--replayed",
        type=Path,
        metavar="FILE",
        help="replay: skip the pairs user_id,movie_id in this CSV file",
    )
    add(
        "--extra-sessions",
        action="store_true",
        help="replay: also start recommended movies that the user did not rate in the base data",
    )
    add("--users", type=bounded_int(1), default=10_000, metavar="N", help="synthetic: number of users [10000]")
    add("--movies", type=bounded_int(1), default=2_000, metavar="N", help="synthetic: number of movies [2000]")
    add(
        "--influence",
        type=bounded_float(0, 1),
        default=0.3,
        metavar="FRACTION",
        help="fraction of recommendations that users consider [0.3]",
    )
    add("--seed", type=int, default=1, help="random seed; determines all but times and responses [1]")


def _add_rates(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--records-per-second",
        type=bounded_float(0),
        default=RECORDS_PER_SECOND,
        metavar="N",
        help="users' records [1580]",
    )
    add(
        "--speed-up",
        type=bounded_float(0, open_low=True),
        metavar="X",
        help="speed of simulated time; at a given record rate it sets the number of concurrent watch sessions: "
        "60 x records-per-second / X [replay: 64 sessions, synthetic: 2000]",
    )
    add(
        "--requests-per-second",
        type=bounded_float(0),
        metavar="N",
        help="recommendation requests [12 per 1580 records]",
    )
    add(
        "--seconds",
        type=bounded_float(0),
        default=0.0,
        metavar="S",
        help="stop after this time [0: no limit]",
    )
    add(
        "--records",
        type=bounded_int(0),
        default=0,
        metavar="N",
        help="stop after N users' records [0: no limit]",
    )
    add("--keep-running", action="store_true", help="replay: continue to send requests when all is replayed")
    add("--rating-scale", choices=RATING_SCALES, help="rating scale [MARQUEE_RATING_SCALE]")
    add(
        "--caller-timeout-ms",
        type=bounded_int(1),
        metavar="MS",
        help="time limit of a recommendation request [MARQUEE_CALLER_TIMEOUT_MS]",
    )


def _add_faults(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--corrupt",
        type=bounded_float(0, 1),
        default=0.0,
        metavar="FRACTION",
        help="fraction of records to corrupt (real event logs: 0.0004 to 0.0011); above 0, records are also out "
        "of order by up to 374 ms, and minutes are missing or repeated [0]",
    )
    add(
        "--invalid-requests",
        type=bounded_float(0, 1),
        default=0.0,
        metavar="FRACTION",
        help="fraction of requests with an invalid user id; they are reported, not logged [0]",
    )
