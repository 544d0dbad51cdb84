"""The committed dashboards: what the generator gives, what Grafana's own models read, and queries that have rows."""

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
from tests.grafana.day import fill

from marquee.db.pool import Database
from marquee.errors import MarqueeError, PanelRefused
from marquee.grafana import panel_files
from marquee.grafana.macros import TimeRange
from marquee.grafana.panel_files import BoardFile, PanelFile
from marquee.grafana.panel_query import Table, run_panel_query

ROOT = Path(__file__).parents[2]
BOARDS = panel_files.read_boards(ROOT / "dashboards")
PANELS = [
    pytest.param(board, panel, id=f"{board.uid}-{panel.id}")
    for board in BOARDS.values()
    for panel in board.panels
]
# What each panel type needs beside the time: this many columns with numbers at least.
_NUMBER = (int, float, Decimal)
NUMBERS = {"stat": 1, "gauge": 1, "timeseries": 1, "barchart": 1, "table": 0}


def test_the_files_are_what_the_generator_gives() -> None:
    """`make dashboards` writes them."""
    committed = {path.name: path.read_text() for path in (ROOT / "dashboards").glob("*.json")}
    assert committed == generate.files()


@pytest.mark.parametrize("name", sorted(generate.files()))
def test_grafanas_own_models_read_them_whole(name: str) -> None:
    """Read with the SDK's classes and written again, nothing is lost or changed."""
    register_default_plugins()
    text = (ROOT / "dashboards" / name).read_text()
    assert generate.text(Dashboard.from_json(json.loads(text))) == text


def test_five_dashboards_one_question_each() -> None:
    assert len(BOARDS) == 5
    assert all(board.description.endswith("?") for board in BOARDS.values())
    urls = {f"/d/{uid}" for uid in BOARDS}
    assert all({link.url for link in board.links} == urls - {f"/d/{board.uid}"} for board in BOARDS.values())


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: str(board.uid))
def test_panels_have_ids_of_their_own_and_fill_the_grid(board: BoardFile) -> None:
    assert len({panel.id for panel in board.panels}) == len(board.panels)
    assert len({panel.title for panel in board.panels}) == len(board.panels)
    tiles = [
        (x, y)
        for place in (panel.grid_pos for panel in board.panels)
        for x in range(place.x, place.x + place.w)
        for y in range(place.y, place.y + place.h)
    ]
    assert len(tiles) == len(set(tiles)), "no two panels overlap"
    assert {x for x, _ in tiles} == set(range(24))


@pytest.mark.parametrize(("board", "panel"), PANELS)
def test_a_panel_says_what_is_good(board: BoardFile, panel: PanelFile) -> None:
    """It has a unit, thresholds, what to look for, what an empty one means, and the data source by its uid."""
    shown = panel.field_config.defaults
    about, _, good = panel.description.partition(" Good: ")
    assert about.endswith(".")
    assert good.endswith(".")
    assert shown.unit
    assert shown.no_value
    assert shown.thresholds.steps[0].value is None
    assert sorted(step.value or float("-inf") for step in shown.thresholds.steps) == [
        float("-inf") if step.value is None else step.value for step in shown.thresholds.steps
    ]
    assert (panel.targets[0].format == "time_series") == (panel.type == "timeseries")
    assert panel.targets[0].datasource == panel_files.DataSource("marquee", "grafana-postgresql-datasource")


def test_runbooks_that_panels_lead_to_are_there() -> None:
    """A panel that an alert watches leads to what to do about it."""
    links = [link.url for board in BOARDS.values() for panel in board.panels for link in panel.links]
    names = {url.rsplit("/", 1)[1] for url in links}
    assert names <= {path.name for path in (ROOT / "docs/runbooks").glob("*.md")}
    assert len(names) >= 10


@pytest.fixture
def reader(kind: str, database: Database) -> Iterator[tuple[Database, datetime]]:
    """The filled database, on PostgreSQL as the role that Grafana has in the containers; and the day's end."""
    end = fill(database)
    if kind == "timescale":  # It has one backend and one role.
        yield database, end
        return
    _make_reader(database.url)
    parts = urlsplit(database.url)
    url = urlunsplit(parts._replace(netloc=f"reader:reader@{parts.hostname}:{parts.port}"))
    with closing(Database(url)) as as_reader:
        yield as_reader, end


def _make_reader(url: str) -> None:
    script = (ROOT / "infra/compose/reader.sql").read_text()
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'reader')")
        if not cursor.fetchone()[0]:
            cursor.execute(script)
        connection.commit()


def test_every_panel_shows_something(reader: tuple[Database, datetime]) -> None:
    """Over a day and over an hour each query runs, and gives rows with the columns that its panel draws."""
    database, end = reader
    problems = {}
    for span in (timedelta(hours=24), timedelta(hours=1)):
        interval = TimeRange.last(span).interval
        for board in BOARDS.values():
            for panel in board.panels:
                try:
                    table = run_panel_query(database, panel.sql, TimeRange(end - span, end, interval))
                    problem = _problem(panel, table, full=span > timedelta(hours=1))
                except MarqueeError as error:
                    problem = str(error)
                if problem:
                    problems[f"{board.title}: {panel.title} ({span})"] = problem
    assert problems == {}


def _problem(panel: PanelFile, table: Table, *, full: bool) -> str:
    """What the panel could not draw, or nothing. In an hour some panels rightly have nothing to show."""
    if not table.rows:
        return "no rows" if full else ""
    numbers = [
        place
        for place in range(len(table.columns))
        if table.columns[place] != "time" and any(isinstance(row[place], _NUMBER) for row in table.rows)
    ]
    if full and len(numbers) < NUMBERS[panel.type]:
        return f"{len(numbers)} columns with numbers among {table.columns}"
    if panel.type in ("stat", "gauge") and len(table.rows) != 1:
        return f"{len(table.rows)} rows"
    if panel.type == "barchart" and not all(isinstance(row[0], str) for row in table.rows):
        return "the first column does not name the bars"
    if panel.type == "timeseries":
        return _problem_of_series(table)
    return "" if table.whole else "too many rows"


def _problem_of_series(table: Table) -> str:
    if table.columns[0] != "time":
        return f"no column time first: {table.columns}"
    times = [row[0] for row in table.rows]
    if times != sorted(times):
        return "not in the order of time"
    texts = {
        name
        for place, name in enumerate(table.columns)
        if any(isinstance(row[place], str) for row in table.rows)
    }
    return "" if texts <= {"metric"} else f"texts in {texts}"


def test_what_is_no_dashboard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PanelRefused, match="holds no dashboard"):
        panel_files.read_boards(tmp_path)
    (tmp_path / "one.json").write_text('{"uid": "one"}')
    with pytest.raises(PanelRefused, match=r"one\.json is no dashboard: .*title"):
        panel_files.read_boards(tmp_path)
