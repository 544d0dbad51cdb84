"""The functions' and the schedules' files, and their schemas."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
from apscheduler.triggers.cron import CronTrigger

from marquee.config.settings import Settings
from marquee.errors import SettingsError
from marquee.local.infra_spec import FunctionSpecs, ScheduleSpecs, read_functions, read_schedules, schema

ROOT = Path(__file__).parents[2]


def test_functions_exist_and_need_settings_that_exist() -> None:
    """Each source has a main.py; each need is a setting."""
    for name, function in read_functions(ROOT).items():
        assert (ROOT / function.source / "main.py").is_file(), name
        assert set(function.needs) <= {f.name for f in fields(Settings)}, name
        assert function.instances.min <= function.instances.max


def test_schedules_exist_and_need_settings_that_exist() -> None:
    """Each job has a main.py, each need is a setting, each cron line can be read."""
    for name, schedule in read_schedules(ROOT).items():
        assert (ROOT / schedule.job / "main.py").is_file(), name
        assert set(schedule.needs) <= {f.name for f in fields(Settings)}, name
        CronTrigger.from_crontab(schedule.cron, timezone=schedule.zone)
        if schedule.function:  # It has its own.
            assert read_functions(ROOT)[schedule.function].source == schedule.job
            assert (schedule.needs, schedule.arguments) == ((), ()), name


CODE = {
    "monitor": ["functions/monitor", "shared/marquee/monitoring/tasks.py"],
    "ingest": ["functions/ingest", "shared/marquee/ingest/handler.py"],
    "recommend": ["functions/recommend", "shared/marquee/recommend"],
    "retention": ["jobs/retention", "shared/marquee/cli/db_retention.py"],
    "retrain": ["jobs/retrain", "shared/marquee/training"],
    "retrain-if-requested": ["jobs/retrain", "shared/marquee/training"],
}


def test_what_the_code_reads_is_named_as_needed() -> None:
    """A setting that a function or a job reads and its file does not name would silently be the default."""
    jobs = {name: schedule for name, schedule in read_schedules(ROOT).items() if schedule.function is None}
    needs = {name: set(x.needs) for name, x in [*read_functions(ROOT).items(), *jobs.items()]}
    assert set(needs) == set(CODE)
    for name, places in CODE.items():
        files = [f for place in places for f in (ROOT / place, *(ROOT / place).rglob("*.py")) if f.is_file()]
        text = "".join(file.read_text() for file in files)
        read = set(re.findall(r"settings(?:\.require\([^)]*\))?\.([a-z_]+)", text))
        assert read & {f.name for f in fields(Settings)} - needs[name] == set(), name


@pytest.mark.parametrize(("name", "kind"), [("functions", FunctionSpecs), ("schedules", ScheduleSpecs)])
def test_schemas_are_fresh(name: str, kind: type[FunctionSpecs] | type[ScheduleSpecs]) -> None:
    """The committed schema is the one that the code gives: `make docs` writes it."""
    assert json.loads((ROOT / f"infra/{name}.schema.json").read_text()) == schema(kind)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("functions: [", "while parsing"),
        ("functions: {a: {}}", "missing required field `text`"),
        ("functions: {A: {}}", "Expected `str` matching regex"),
        ("schedules: {}", "unknown field `schedules`"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, complaint: str) -> None:
    """The message names the file and the field."""
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra/functions.yaml").write_text(text)
    with pytest.raises(SettingsError, match=rf"(?s)infra/functions.yaml.*{complaint}"):
        read_functions(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Not a traceback: what cannot be read, and why."""
    with pytest.raises(SettingsError, match=r"infra/schedules.yaml cannot be read: No such file"):
        read_schedules(tmp_path)


def test_week_days_are_names(tmp_path: Path) -> None:
    """0 is Sunday for cron and Monday for APScheduler: numbers are refused."""
    (tmp_path / "infra").mkdir()
    ours = (ROOT / "infra/schedules.yaml").read_text()
    for day, readable in (("sun", True), ("0", False)):
        (tmp_path / "infra/schedules.yaml").write_text(ours.replace("15 4 * * *", f"15 4 * * {day}"))
        if readable:
            assert read_schedules(tmp_path)["retrain"].cron == "15 4 * * sun"
        else:
            with pytest.raises(SettingsError, match="cron"):
                read_schedules(tmp_path)
