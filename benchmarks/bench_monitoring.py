"""Dashboards, checks and the monitor on PostgreSQL with a day of the stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.registry import BenchmarkResult, at_most, benchmark, is_full_run
from benchmarks.stream_day import CALLER_TIMEOUT_MS, NEW_WATCHES, REAL_DAY, stream_day
from marquee.config.settings import Settings
from marquee.db.pool import Database
from marquee.events.log_scale import FIVE_STARS
from marquee.grafana.macros import TimeRange
from marquee.grafana.panel_files import BoardFile, read_boards
from marquee.grafana.panel_query import run_panel_query
from marquee.monitoring.app_outcome_hours import update_outcome_hours
from marquee.monitoring.quality_task import QualityChecks
from marquee.monitoring.tasks import create_tasks
from marquee.registry.object_store.file_store import FileStore

WATCHES, WATCHES_FULL = 2_000_000, 20_000_000
REPETITIONS = 3
DASHBOARDS = Path(__file__).parents[1] / "dashboards"
# Its cost is that of the model's predictions, a page of new ratings at a time.
NOT_MEASURED = "predictions"
_CHANGE_HOUR = """
INSERT INTO app_outcome_changes SELECT max(time) - INTERVAL '1 hour' FROM app_outcome_hours"""


@benchmark("panels_day_s", "checks_day_s", "monitor_run_s")
def monitoring() -> Iterable[BenchmarkResult]:
    """Run all panels over a day, the checks, and each task of the monitor, with five new minutes at the real rate."""
    watches = WATCHES_FULL if is_full_run() else WATCHES
    with stream_day(watches) as (database, now), TemporaryDirectory() as directory:
        store = FileStore(Path(directory))
        boards = {
            board.title: _best_of(partial(_run_board, database, board, now))
            for board in read_boards(DASHBOARDS).values()
        }
        checks = _best_of(lambda: QualityChecks(FIVE_STARS).run(database, store, now))
        settings = Settings(caller_timeout_ms=CALLER_TIMEOUT_MS)
        tasks = {
            task.name: _seconds(partial(task.run, database, store, now))
            for task in create_tasks(store, settings)
            if task.name != NOT_MEASURED
        }
        tasks["app_outcome_hours"] = _seconds(partial(_count_newest_hour, database))
    size = (
        f"{watches:,} watches in the day ({watches / REAL_DAY:.1%} of the real one), "
        f"and {NEW_WATCHES:,} in its newest five minutes"
    )
    yield at_most("panels_day_s", max(boards.values()), "s", 2, reference=f"{_worst(boards)}; {size}")
    yield at_most("checks_day_s", checks, "s", 1, reference=f"checks of records; {size}")
    yield at_most("monitor_run_s", max(tasks.values()), "s", 5, reference=f"{_worst(tasks)}; {size}")


def _run_board(database: Database, board: BoardFile, now: datetime) -> None:
    day = timedelta(days=1)
    time_range = TimeRange(now - day, now, TimeRange.last(day).interval)
    for panel in board.panels:
        run_panel_query(database, panel.sql, time_range, deadline_ms=60_000)


def _count_newest_hour(database: Database) -> None:
    """Count the app's outcomes of the newest full hour, as the task ``app_usage`` does after each change of one."""
    with database.transaction() as cursor:
        cursor.execute(_CHANGE_HOUR)
    update_outcome_hours(database)


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _best_of(run: Callable[[], object]) -> float:
    return min(_seconds(run) for _ in range(REPETITIONS))


def _worst(seconds: dict[str, float]) -> str:
    """Return the names with their seconds, the slowest first."""
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {value:.2f} s" for name, value in ordered)
