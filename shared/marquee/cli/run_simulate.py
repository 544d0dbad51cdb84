"""``marquee simulate``: a streaming service with its customers; also the tool for load tests."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

from marquee.config.settings import Settings
from marquee.errors import SettingsError
from marquee.events.parser import EventParser
from marquee.simulate.catalogue import SyntheticCatalogue
from marquee.simulate.corruption import Corrupter
from marquee.simulate.customers import SyntheticUsers
from marquee.simulate.event_log import EventLog
from marquee.simulate.movie_service import Movies, MovieService, People, read_table
from marquee.simulate.producer import (
    KafkaRecordProducer,
    NullProducer,
    PipeClosed,
    PipeProducer,
    RecordProducer,
)
from marquee.simulate.progress import Progress, rows
from marquee.simulate.recommend_client import RecommendClient
from marquee.simulate.replay import Replay, read_replayed, split_base_data
from marquee.simulate.report import SimulationReport
from marquee.simulate.service import SimulationPlan, StreamingService
from marquee.simulate.sessions import ActiveSessions
from marquee.simulate.watch_plan import UserPopulation

# As recorded in 2025: 1,580 lines and 12 requests a second.
LINES_PER_SECOND = 1580.0
REQUESTS_A_LINE = 12 / 1580
_MINUTE_S = 60
# Few enough that in a demo the first watch sessions end, and are rated, after some seconds.
_AT_ONCE = {"replay": 64, "made": 2000}

_DESCRIPTION = """\
A streaming service with its customers. They watch, rate and ask for recommendations, and the service logs it
all in the form of the movie log, into a Kafka topic or to stdout.

  replay  MovieLens's later 20 % by time: each rating becomes a watch session of that movie, then the real rating.
  made    customers and movies of any number, with tastes that can be learnt; none of them is held in memory.
"""
_EPILOG = """\
examples:
  marquee simulate --kafka 127.0.0.1:9092 --url http://127.0.0.1:8080
  marquee simulate --mode made --users 1000000 --movies 27000 --stdout --lines 1000 --corrupt 0.001
  marquee simulate --mode made --url http://127.0.0.1:8080 --lines-per-second 0 --requests-per-second 500
                   a load test of the answers alone; Ctrl-C ends it

The exit code is 1 if a line was not acknowledged by Kafka in the end.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``marquee simulate``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    _add_places(parser.add_argument_group("where"))
    _add_audience(parser.add_argument_group("who"))
    _add_amounts(parser.add_argument_group("how much"))
    _add_faults(parser.add_argument_group("faults"))


def _add_places(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--kafka", metavar="HOST:PORT", help="Kafka's bootstrap servers [MARQUEE_KAFKA_BOOTSTRAP]")
    add("--topic", help="made with --partitions if it is not there [MARQUEE_KAFKA_TOPIC]")
    add("--partitions", type=int, default=2, metavar="N", help="of a topic that is made [2]")
    add("--stdout", action="store_true", help="write the lines to stdout instead of Kafka")
    add("--url", help="where recommendations are asked: GET URL/recommend/<user>; none: nobody asks")
    add(
        "--customers-port",
        type=int,
        metavar="PORT",
        help="play the catalogue and customer service as well, on 127.0.0.1: GET /user/<id>, /movie/<id>",
    )
    add(
        "--customers-per-second",
        type=float,
        default=100.0,
        metavar="N",
        help="above this rate it answers 429; 0: never [100]",
    )
    add("--report", type=Path, metavar="FILE", help="keep an exact account there, as JSON, twice a second")


def _add_audience(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--mode", choices=("replay", "made"), default="replay", help="[replay]")
    add(
        "--data",
        type=Path,
        default=Path("data/movielens-100k"),
        metavar="DIR",
        help="replay: base data [%(default)s]",
    )
    add(
        "--fraction",
        type=float,
        default=0.2,
        metavar="FRACTION",
        help="replay: the latest part of the ratings [0.2]",
    )
    add("--replayed", type=Path, metavar="FILE", help="replay: leave out user_id,movie_id of this CSV file")
    add(
        "--extra-sessions",
        action="store_true",
        help="replay: begin recommended movies that the data do not hold",
    )
    add("--users", type=int, default=10_000, metavar="N", help="made: customers [10000]")
    add("--movies", type=int, default=2_000, metavar="N", help="made: movies in the catalogue [2000]")
    add("--influence", type=float, default=0.3, metavar="SHARE", help="of the answers are looked at [0.3]")
    add("--seed", type=int, default=1, help="the same seed, the same lines, but for times and answers [1]")


def _add_amounts(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--lines-per-second", type=float, default=LINES_PER_SECOND, metavar="N", help="of customers [1580]")
    add(
        "--speed-up",
        type=float,
        metavar="X",
        help="customers watch X times as fast as in life; as the line rate is kept, it says how many watch "
        "at once: 60 x lines-per-second / X [replay: 64 at once, made: 2000]",
    )
    add("--requests-per-second", type=float, metavar="N", help="for recommendations [12 for 1580 lines]")
    add("--seconds", type=float, default=0.0, metavar="S", help="stop after so long [0: go on]")
    add("--lines", type=int, default=0, metavar="N", help="stop after so many lines of customers [0: go on]")
    add(
        "--stay",
        action="store_true",
        help="replay: go on asking when all has been watched, instead of ending",
    )
    add("--rating-max", type=int, choices=(5, 10), help="the top of the scale [MARQUEE_RATING_MAX]")
    add(
        "--caller-timeout-ms",
        type=int,
        metavar="MS",
        help="an answer is awaited so long [MARQUEE_CALLER_TIMEOUT_MS]",
    )


def _add_faults(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--corrupt",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="spoil this share of the lines (real logs: 0.0004 to 0.0011); any share also brings lines out "
        "of order by up to 374 ms, and missing and repeated minutes [0]",
    )
    add(
        "--invalid-requests",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of the requests name no customer; their answers are reported but not logged [0]",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the service until it is done, or until SIGINT or SIGTERM."""
    _check(args)
    with Progress() as progress:
        service = build(args, settings, progress)
        try:
            report = asyncio.run(_until_stopped(service, _customer_service(args)))
        except PipeClosed:
            return 0
    for label, text in rows(report):
        print(f"{label:>16}  {text}", file=sys.stderr)
    return 1 if report.unacknowledged else 0


async def _until_stopped(service: StreamingService, customers: MovieService | None) -> SimulationReport:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with customers or nullcontext():
        return await service.run(stop)


def _customer_service(args: argparse.Namespace) -> MovieService | None:
    """What ``--customers-port`` asks for; people beyond those of the data, or of the audience, are made."""
    if args.customers_port is None:
        return None
    users, movies = (
        ({}, {})
        if args.mode == "made"
        else (
            read_table(args.data / "users.csv", "user_id"),
            read_table(args.data / "movies.csv", "movie_id"),
        )
    )
    made = SyntheticCatalogue(args.movies, args.seed) if args.mode == "made" else None
    return MovieService(
        People(args.seed, 2 * max(args.users, len(users)), users),
        Movies(args.seed, made, movies),
        port=args.customers_port,
        per_second=args.customers_per_second,
    )


def build(args: argparse.Namespace, settings: Settings, progress: Progress) -> StreamingService:
    """The service that ``args`` describe; raises :class:`SettingsError` or ``ReplayDataError``."""
    rating_max = args.rating_max or settings.rating_max
    try:
        audience = _audience(args, rating_max)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    screens = ActiveSessions(audience, _at_once(args), midway=args.mode == "made", untidy=args.corrupt > 0)
    timeout_ms = args.caller_timeout_ms or settings.caller_timeout_ms
    return StreamingService(
        _plan(args),
        screens,
        _journal(args, settings, audience, rating_max),
        RecommendClient(args.url, timeout_ms) if args.url else None,
        progress.show,
    )


def _audience(args: argparse.Namespace, rating_max: int) -> UserPopulation:
    if args.mode == "replay":
        return Replay(
            split_base_data(
                args.data, args.fraction, read_replayed(args.replayed) if args.replayed else frozenset()
            ),
            seed=args.seed,
            rating_max=rating_max,
            influence=args.influence,
            extra=args.extra_sessions,
        )
    catalogue = SyntheticCatalogue(args.movies, args.seed)
    return SyntheticUsers(
        args.users, catalogue, seed=args.seed, rating_max=rating_max, influence=args.influence
    )


def _at_once(args: argparse.Namespace) -> int:
    watching = _AT_ONCE[args.mode]
    if args.speed_up:
        watching = round(args.lines_per_second * _MINUTE_S / args.speed_up)
    if args.mode == "made":
        watching = min(watching, args.users // 2 + 1)
    return max(1, watching)


def _journal(
    args: argparse.Namespace, settings: Settings, audience: UserPopulation, rating_max: int
) -> EventLog:
    parser = EventParser(settings.time_zone, rating_max)
    customers, requests = (
        Corrupter(args.corrupt, parser, audience.knows, args.seed * 2 + which) for which in (0, 1)
    )
    return EventLog(
        _writer(args, settings), settings.time_zone, parser, customers, requests, disorder=args.corrupt > 0
    )


def _writer(args: argparse.Namespace, settings: Settings) -> RecordProducer:
    if args.stdout:
        return PipeProducer(sys.stdout.buffer)
    bootstrap = args.kafka or settings.kafka_bootstrap
    if bootstrap:
        return KafkaRecordProducer(settings, bootstrap, args.topic or settings.kafka_topic, args.partitions)
    if args.lines_per_second == 0:
        return NullProducer()
    raise SettingsError(
        "nowhere to write the lines to: give --kafka HOST:PORT, set MARQUEE_KAFKA_BOOTSTRAP, or give --stdout"
    )


def _plan(args: argparse.Namespace) -> SimulationPlan:
    asked = args.requests_per_second
    return SimulationPlan(
        mode=args.mode,
        seed=args.seed,
        lines_per_second=args.lines_per_second,
        requests_per_second=args.lines_per_second * REQUESTS_A_LINE if asked is None else asked,
        lines=args.lines,
        seconds=args.seconds,
        invalid_requests=args.invalid_requests,
        stay=args.stay,
        report=args.report,
    )


def _check(args: argparse.Namespace) -> None:
    problems = [
        f"--{name.replace('_', '-')} {value:g} should be from 0 to 1"
        for name in ("corrupt", "invalid_requests", "influence", "fraction")
        if not 0 <= (value := getattr(args, name)) <= 1
    ]
    problems += [
        f"--{name.replace('_', '-')} {value:g} should not be negative"
        for name in ("lines_per_second", "requests_per_second", "speed_up", "seconds", "lines")
        if (value := getattr(args, name) or 0) < 0
    ]
    problems += [
        f"--{name} {value} should be at least 1"
        for name in ("users", "movies", "partitions")
        if (value := getattr(args, name)) < 1
    ]
    if args.requests_per_second and not args.url:
        problems.append("--requests-per-second needs --url, where to ask")
    if problems:
        raise SettingsError("\n".join(problems))
