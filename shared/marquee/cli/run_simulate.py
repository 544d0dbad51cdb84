"""``marquee simulate``: a simulated streaming service, and a load test of recommendations."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

from marquee.config.base_data import MOVIES_FILE, USERS_FILE
from marquee.config.settings import Settings
from marquee.errors import SettingsError
from marquee.events.parser import EventParser
from marquee.simulate.catalogue import SyntheticCatalogue
from marquee.simulate.corruption import Corrupter
from marquee.simulate.event_log import EventLog
from marquee.simulate.movie_service import CustomerTable, MovieService, MovieTable, read_table
from marquee.simulate.producer import (
    KafkaRecordProducer,
    NullProducer,
    PipeClosed,
    PipeProducer,
    RecordProducer,
)
from marquee.simulate.progress import LiveProgress, summary_rows
from marquee.simulate.recommend_client import RecommendClient
from marquee.simulate.replay import Replay, read_replayed, split_base_data
from marquee.simulate.report import SimulationReport
from marquee.simulate.service import SimulationPlan, StreamingService
from marquee.simulate.sessions import ActiveSessions
from marquee.simulate.synthetic_users import SyntheticUsers
from marquee.simulate.watch_plan import UserPopulation

# As recorded in 2025: 1,580 records and 12 requests per second.
RECORDS_PER_SECOND = 1580.0
REQUESTS_PER_RECORD = 12 / 1580
_MINUTE_S = 60
# Few enough in a demo that the first watch sessions end, and are rated, after some seconds.
_CONCURRENT_SESSIONS = {"replay": 64, "synthetic": 2000}

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
    add("--partitions", type=int, default=2, metavar="N", help="partitions of a new topic [2]")
    add("--stdout", action="store_true", help="write the records to stdout instead of Kafka")
    add("--url", help="request recommendations from GET URL/recommend/<user_id>; without it, none")
    add(
        "--customer-service-port",
        type=int,
        metavar="PORT",
        help="also serve customers and movies on 127.0.0.1: GET /user/<id>, /movie/<id>",
    )
    add(
        "--customer-service-limit",
        type=float,
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
    add("--fraction", type=float, default=0.2, help="replay: the latest fraction of the ratings [0.2]")
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
    add("--users", type=int, default=10_000, metavar="N", help="synthetic: number of users [10000]")
    add("--movies", type=int, default=2_000, metavar="N", help="synthetic: number of movies [2000]")
    add(
        "--influence",
        type=float,
        default=0.3,
        metavar="FRACTION",
        help="fraction of recommendations that users consider [0.3]",
    )
    add("--seed", type=int, default=1, help="random seed; determines all but times and responses [1]")


def _add_rates(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--records-per-second",
        type=float,
        default=RECORDS_PER_SECOND,
        metavar="N",
        help="users' records [1580]",
    )
    add(
        "--speed-up",
        type=float,
        metavar="X",
        help="speed of simulated time; at a given record rate it sets the number of concurrent watch sessions: "
        "60 x records-per-second / X [replay: 64 sessions, synthetic: 2000]",
    )
    add(
        "--requests-per-second", type=float, metavar="N", help="recommendation requests [12 per 1580 records]"
    )
    add("--seconds", type=float, default=0.0, metavar="S", help="stop after this time [0: no limit]")
    add("--records", type=int, default=0, metavar="N", help="stop after N users' records [0: no limit]")
    add("--keep-running", action="store_true", help="replay: continue to send requests when all is replayed")
    add("--rating-max", type=int, choices=(5, 10), help="top of the rating scale [MARQUEE_RATING_MAX]")
    add(
        "--caller-timeout-ms",
        type=int,
        metavar="MS",
        help="time limit of a recommendation request [MARQUEE_CALLER_TIMEOUT_MS]",
    )


def _add_faults(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--corrupt",
        type=float,
        default=0.0,
        metavar="FRACTION",
        help="fraction of records to corrupt (real event logs: 0.0004 to 0.0011); above 0, records are also out "
        "of order by up to 374 ms, and minutes are missing or repeated [0]",
    )
    add(
        "--invalid-requests",
        type=float,
        default=0.0,
        metavar="FRACTION",
        help="fraction of requests with an invalid user id; they are reported, not logged [0]",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the simulation until it is done, or until SIGINT or SIGTERM."""
    _check(args)
    with LiveProgress() as progress:
        service = build(args, settings, progress)
        try:
            report = asyncio.run(_run_until_stopped(service, _movie_service(args)))
        except PipeClosed:
            return 0
    for label, text in summary_rows(report):
        print(f"{label:>16}  {text}", file=sys.stderr)
    return 1 if report.unacknowledged else 0


async def _run_until_stopped(
    service: StreamingService, movie_service: MovieService | None
) -> SimulationReport:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with movie_service or nullcontext():
        return await service.run(stop)


def _movie_service(args: argparse.Namespace) -> MovieService | None:
    """Create the service for ``--customer-service-port``; customers beyond those of the data are synthetic."""
    if args.customer_service_port is None:
        return None
    synthetic = args.mode == "synthetic"
    users = {} if synthetic else read_table(args.data / USERS_FILE, "user_id")
    movies = {} if synthetic else read_table(args.data / MOVIES_FILE, "movie_id")
    catalogue = SyntheticCatalogue(args.movies, args.seed) if synthetic else None
    return MovieService(
        CustomerTable(args.seed, 2 * max(args.users, len(users)), users),
        MovieTable(args.seed, catalogue, movies),
        port=args.customer_service_port,
        requests_per_second=args.customer_service_limit,
    )


def build(args: argparse.Namespace, settings: Settings, progress: LiveProgress) -> StreamingService:
    """Create the service for ``args``; raise :class:`SettingsError` or ``TrainingDataError``."""
    rating_max = args.rating_max or settings.rating_max
    try:
        population = _population(args, rating_max)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    sessions = ActiveSessions(
        population,
        _concurrent_sessions(args),
        midway=args.mode == "synthetic",
        irregular=args.corrupt > 0,
    )
    timeout_ms = args.caller_timeout_ms or settings.caller_timeout_ms
    return StreamingService(
        _plan(args),
        sessions,
        _event_log(args, settings, population, rating_max),
        RecommendClient(args.url, timeout_ms) if args.url else None,
        progress.show,
    )


def _population(args: argparse.Namespace, rating_max: int) -> UserPopulation:
    if args.mode == "replay":
        replayed = read_replayed(args.replayed) if args.replayed else frozenset()
        return Replay(
            split_base_data(args.data, args.fraction, replayed),
            seed=args.seed,
            rating_max=rating_max,
            influence=args.influence,
            extra_sessions=args.extra_sessions,
        )
    catalogue = SyntheticCatalogue(args.movies, args.seed)
    return SyntheticUsers(
        args.users, catalogue, seed=args.seed, rating_max=rating_max, influence=args.influence
    )


def _concurrent_sessions(args: argparse.Namespace) -> int:
    sessions = _CONCURRENT_SESSIONS[args.mode]
    if args.speed_up:
        sessions = round(args.records_per_second * _MINUTE_S / args.speed_up)
    if args.mode == "synthetic":
        sessions = min(sessions, args.users // 2 + 1)
    return max(1, sessions)


def _event_log(
    args: argparse.Namespace, settings: Settings, population: UserPopulation, rating_max: int
) -> EventLog:
    parser = EventParser(settings.time_zone, rating_max)
    user_corrupter, request_corrupter = (
        Corrupter(args.corrupt, parser, population.has_movie, args.seed * 2 + number) for number in (0, 1)
    )
    return EventLog(
        _producer(args, settings),
        settings.time_zone,
        parser,
        user_corrupter,
        request_corrupter,
        disorder=args.corrupt > 0,
    )


def _producer(args: argparse.Namespace, settings: Settings) -> RecordProducer:
    if args.stdout:
        return PipeProducer(sys.stdout.buffer)
    bootstrap = args.kafka or settings.kafka_bootstrap
    if bootstrap:
        return KafkaRecordProducer(settings, bootstrap, args.topic or settings.kafka_topic, args.partitions)
    if args.records_per_second == 0:
        return NullProducer()
    raise SettingsError(
        "there is no destination for the records: give --kafka HOST:PORT, set MARQUEE_KAFKA_BOOTSTRAP, "
        "or give --stdout"
    )


def _plan(args: argparse.Namespace) -> SimulationPlan:
    requests_per_second = args.requests_per_second
    if requests_per_second is None:
        requests_per_second = args.records_per_second * REQUESTS_PER_RECORD
    return SimulationPlan(
        mode=args.mode,
        seed=args.seed,
        records_per_second=args.records_per_second,
        requests_per_second=requests_per_second,
        max_records=args.records,
        duration_s=args.seconds,
        invalid_requests=args.invalid_requests,
        keep_running=args.keep_running,
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
        for name in ("records_per_second", "requests_per_second", "speed_up", "seconds", "records")
        if (value := getattr(args, name) or 0) < 0
    ]
    problems += [
        f"--{name} {value} should be at least 1"
        for name in ("users", "movies", "partitions")
        if (value := getattr(args, name)) < 1
    ]
    if args.requests_per_second and not args.url:
        problems.append("--requests-per-second needs --url")
    if problems:
        raise SettingsError("\n".join(problems))
