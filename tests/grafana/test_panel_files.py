"""The committed dashboards: generated, valid for Grafana's own models, and with queries that return rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from dashboards import generate
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.grafana.good_day import write_good_day

from marquee.db.pool import Database
from marquee.errors import MarqueeError, PanelRefused
from marquee.grafana import panel_files
from marquee.grafana.macros import TimeRange
from marquee.grafana.panel_files import BoardFile, PanelFile
from marquee.grafana.panel_query import Table, run_panel_query

ROOT = Path(__file__).parents[2]
BOARDS = panel_files.read_boards(ROOT / "dashboards")
PANELS = [
    pytest.param(board, panel, id=f"{board.uid}-{panel.id}") for board in BOARDS.values() for panel in board.panels
]
_NUMBER = (int, float, Decimal)
# Minimum number of columns with numbers for each panel type, besides the time.
MIN_NUMERIC_COLUMNS = {"stat": 1, "gauge": 1, "timeseries": 1, "barchart": 1, "table": 0}


def test_dashboards_are_up_to_date() -> None:
    """`make dashboards` writes the committed files."""
    committed = {path.name: path.read_text() for path in (ROOT / "dashboards").glob("*.json")}
    assert committed == generate.build_files()


@pytest.mark.parametrize("name", sorted(generate.build_files()))
def test_dashboard_round_trip_through_sdk_is_identical(name: str) -> None:
    """Read with the classes of Grafana's SDK and written again, nothing is lost or changed."""
    register_default_plugins()
    text = (ROOT / "dashboards" / name).read_text()
    assert generate.format_dashboard(Dashboard.from_json(json.loads(text))) == text


def test_dashboards_have_a_question_and_link_to_each_other() -> None:
    """There are seven dashboards, each with a question and links to the others."""
    assert len(BOARDS) == 7
    assert all(board.description.endswith("?") for board in BOARDS.values())
    urls = {f"/d/{uid}" for uid in BOARDS}
    assert all({link.url for link in board.links} == urls - {f"/d/{board.uid}"} for board in BOARDS.values())


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: str(board.uid))
def test_panels_have_unique_ids_and_fill_the_grid(board: BoardFile) -> None:
    """Panels do not overlap and use the full width."""
    assert len({panel.id for panel in board.panels}) == len(board.panels)
    assert len({panel.title for panel in board.panels}) == len(board.panels)
    tiles = [
        (x, y)
        for area in (panel.grid_pos for panel in board.panels)
        for x in range(area.x, area.x + area.w)
        for y in range(area.y, area.y + area.h)
    ]
    assert len(tiles) == len(set(tiles)), "no two panels overlap"
    assert {x for x, _ in tiles} == set(range(24))


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_panel_has_description_unit_and_thresholds(board: BoardFile, panel: PanelFile) -> None:
    """A panel says what is good and what no rows mean, and refers to the data source by uid."""
    display = panel.field_config.defaults
    description, _, good = panel.description.partition(" Good: ")
    assert description.endswith(".")
    assert good.endswith(".")
    assert display.unit
    assert display.no_value
    assert display.thresholds.steps[0].value is None
    assert sorted(step.value or float("-inf") for step in display.thresholds.steps) == [
        float("-inf") if step.value is None else step.value for step in display.thresholds.steps
    ]
    assert (panel.targets[0].format == "time_series") == (panel.type == "timeseries")
    assert panel.targets[0].datasource == panel_files.DataSource("marquee", "grafana-postgresql-datasource")


def test_panels_link_to_existing_runbooks() -> None:
    """A panel that an alert watches links to its runbook."""
    links = [link.url for board in BOARDS.values() for panel in board.panels for link in panel.links]
    names = {url.rsplit("/", 1)[1] for url in links}
    assert names <= {path.name for path in (ROOT / "docs/runbooks").glob("*.md")}
    assert len(names) >= 10


@pytest.fixture
def reader(kind: str, database: Database, request: pytest.FixtureRequest) -> Iterator[tuple[Database, datetime]]:
    """Yield a database with a day of data and the end of that day; on PostgreSQL with Grafana's read-only role."""
    end = write_good_day(database)
    if kind == "timescale":  # The test server has one backend and one role.
        yield database, end
        return
    _create_reader_role(request.getfixturevalue("postgres").admin_url())
    parts = urlsplit(database.url)
    url = urlunsplit(parts._replace(netloc=f"reader:reader@{parts.hostname}:{parts.port}"))
    with closing(Database(url)) as as_reader:
        yield as_reader, end


def _create_reader_role(url: str) -> None:
    script = (ROOT / "infra/compose/reader.sql").read_text()
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reader')")
        if cursor.fetchone() == (False,):
            cursor.execute(script)
        connection.commit()


def test_panels_have_rows_on_a_good_day(reader: tuple[Database, datetime]) -> None:
    """Over a day and over an hour each query runs and returns the columns that its panel draws."""
    database, end = reader
    problems: dict[str, str] = {}
    for span in (timedelta(hours=24), timedelta(hours=1)):
        interval = TimeRange.last(span).interval
        for board in BOARDS.values():
            for panel in board.panels:
                try:
                    table = run_panel_query(database, panel.sql, TimeRange(end - span, end, interval))
                    problem = _find_problem(panel, table, full=span > timedelta(hours=1))
                except MarqueeError as error:
                    problem = str(error)
                if problem:
                    problems[f"{board.title}: {panel.title} ({span})"] = problem
    assert problems == {}


def _find_problem(panel: PanelFile, table: Table, *, full: bool) -> str:
    """Return why the panel cannot be drawn, or nothing. Over an hour a panel may be empty."""
    if not table.rows:
        return "no rows" if full else ""
    numbers = [
        name
        for index, name in enumerate(table.columns)
        if name != "time" and any(isinstance(row[index], _NUMBER) for row in table.rows)
    ]
    if full and len(numbers) < MIN_NUMERIC_COLUMNS[panel.type]:
        return f"{len(numbers)} columns with numbers among {table.columns}"
    if panel.type in ("stat", "gauge") and len(table.rows) != 1:
        return f"{len(table.rows)} rows"
    if panel.type == "barchart" and not all(isinstance(row[0], str) for row in table.rows):
        return "the first column is not text"
    if panel.type == "timeseries":
        return _find_series_problem(table)
    return "" if table.is_complete else "too many rows"


def _find_series_problem(table: Table) -> str:
    if table.columns[0] != "time":
        return f"no column time first: {table.columns}"
    times = [row[0] for row in table.rows]
    if times != sorted(times):
        return "not in order of time"
    texts = {name for index, name in enumerate(table.columns) if any(isinstance(row[index], str) for row in table.rows)}
    return "" if texts <= {"metric"} else f"text columns {texts}"


def test_read_boards_other_files_are_refused(tmp_path: Path) -> None:
    """The error names the file and the missing field."""
    with pytest.raises(PanelRefused, match="holds no dashboard"):
        panel_files.read_boards(tmp_path)
    (tmp_path / "one.json").write_text('{"uid": "one"}')
    with pytest.raises(PanelRefused, match=r"one\.json is not a dashboard: .*title"):
        panel_files.read_boards(tmp_path)
