"""``marquee simulate``: a simulated streaming service, and a load test of recommendations."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from contextlib import nullcontext

from marquee.cli.simulate_arguments import add_arguments
from marquee.config.base_data import MOVIES_FILE, USERS_FILE, read_side_table
from marquee.config.settings import Settings
from marquee.errors import SettingsError
from marquee.events.log_scale import LogScale
from marquee.events.parser import EventParser
from marquee.simulate.catalog import SyntheticCatalog
from marquee.simulate.corruption import Corrupter
from marquee.simulate.event_log import EventLog
from marquee.simulate.movie_service import CustomerTable, MovieService, MovieTable
from marquee.simulate.producer import (
    KafkaRecordProducer,
    PipeClosed,
    PipeProducer,
    RecordProducer,
)
from marquee.simulate.progress import ReportDisplay, summary_rows
from marquee.simulate.recommend_client import RecommendClient
from marquee.simulate.replay import Replay, read_replayed, split_base_data
from marquee.simulate.report import SimulationReport
from marquee.simulate.service import SimulationPlan, StreamingService
from marquee.simulate.sessions import ActiveSessions
from marquee.simulate.synthetic_users import SyntheticUsers
from marquee.simulate.user_requests import UserRequests
from marquee.simulate.watch_plan import UserPopulation

__all__ = ["add_arguments", "build", "run"]

# As recorded in 2025: 12 requests per 1,580 records.
REQUESTS_PER_RECORD = 12 / 1580
_MINUTE_S = 60
# Few enough in a demo that the first watch sessions end, and are rated, after some seconds.
_CONCURRENT_SESSIONS = {"replay": 64, "synthetic": 2000}


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run the simulation until it is done, or until SIGINT or SIGTERM."""
    if args.requests_per_second and not args.url:
        raise SettingsError("--requests-per-second needs --url")
    with ReportDisplay() as progress:
        service = build(args, settings, progress)
        try:
            report = asyncio.run(_run_until_stopped(service, _movie_service(args, settings, service)))
        except PipeClosed:
            return 0
    for label, text in summary_rows(report):
        print(f"{label:>16}  {text}", file=sys.stderr)
    return 1 if report.unacknowledged else 0


async def _run_until_stopped(service: StreamingService, movie_service: MovieService | None) -> SimulationReport:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with movie_service or nullcontext():
        return await service.run(stop)


def _movie_service(args: argparse.Namespace, settings: Settings, service: StreamingService) -> MovieService | None:
    """Create the service for ``--customer-service-port``; customers beyond those of the data are synthetic."""
    if args.customer_service_port is None:
        return None
    synthetic = args.mode == "synthetic"
    users = {} if synthetic else read_side_table(args.data / USERS_FILE, "user_id")
    movies = {} if synthetic else read_side_table(args.data / MOVIES_FILE, "movie_id")
    catalog = SyntheticCatalog(args.movies, args.seed) if synthetic else None
    table = MovieTable(args.seed, catalog, movies)
    return MovieService(
        CustomerTable(args.seed, 2 * max(args.users, len(users)), users),
        table,
        users=UserRequests(table, service.write_from_outside, _scale(args, settings)),
        host=args.customer_service_host,
        port=args.customer_service_port,
        requests_per_second=args.customer_service_limit,
    )


def build(args: argparse.Namespace, settings: Settings, progress: ReportDisplay) -> StreamingService:
    """Create the service for ``args``. Raises ``SettingsError`` or ``TrainingDataError`` if they are wrong."""
    scale = _scale(args, settings)
    try:
        population = _population(args, scale)
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
        _event_log(args, settings, population, scale),
        RecommendClient(args.url, timeout_ms, settings.recommend_key.strip("-")) if args.url else None,
        progress.show,
    )


def _scale(args: argparse.Namespace, settings: Settings) -> LogScale:
    return LogScale.named(args.rating_scale or settings.rating_scale)


def _population(args: argparse.Namespace, scale: LogScale) -> UserPopulation:
    if args.mode == "replay":
        replayed = read_replayed(args.replayed) if args.replayed else frozenset()
        return Replay(
            split_base_data(args.data, args.fraction, replayed),
            seed=args.seed,
            scale=scale,
            influence=args.influence,
            extra_sessions=args.extra_sessions,
        )
    catalog = SyntheticCatalog(args.movies, args.seed)
    return SyntheticUsers(args.users, catalog, seed=args.seed, scale=scale, influence=args.influence)


def _concurrent_sessions(args: argparse.Namespace) -> int:
    sessions = _CONCURRENT_SESSIONS[args.mode]
    if args.speed_up:
        sessions = round(args.records_per_second * _MINUTE_S / args.speed_up)
    if args.mode == "synthetic":
        sessions = min(sessions, args.users // 2 + 1)
    return max(1, sessions)


def _event_log(args: argparse.Namespace, settings: Settings, population: UserPopulation, scale: LogScale) -> EventLog:
    parser = EventParser(settings.time_zone, scale)
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
        return RecordProducer()
    raise SettingsError(
        "there is no destination for the records: give --kafka HOST:PORT, set MARQUEE_KAFKA_BOOTSTRAP, or give --stdout"
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
