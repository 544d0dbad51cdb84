"""The functions' and the schedules' files, and their schemas."""

import json
from pathlib import Path

import pytest
from apscheduler.triggers.cron import CronTrigger

from marquee.errors import SettingsError
from marquee.local.infra_spec import FunctionSpecs, ScheduleSpecs, read_functions, read_schedules, schema

ROOT = Path(__file__).parents[2]


def test_read_functions_sources_exist() -> None:
    """Each source has a main.py, and no minimum exceeds its maximum."""
    for name, function in read_functions(ROOT).items():
        assert (ROOT / function.source / "main.py").is_file(), name
        assert function.instances.min <= function.instances.max


def test_read_schedules_jobs_exist() -> None:
    """Each job has a main.py, each cron line can be parsed, and a function has no settings or arguments of its own."""
    for name, schedule in read_schedules(ROOT).items():
        assert (ROOT / schedule.job / "main.py").is_file(), name
        CronTrigger.from_crontab(schedule.cron, timezone=schedule.zone)
        if schedule.function:
            assert read_functions(ROOT)[schedule.function].source == schedule.job
            assert (schedule.needs, schedule.arguments) == ((), ()), name


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
