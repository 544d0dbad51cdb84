"""The files of functions and schedules, and their schemas."""

import json
from pathlib import Path

import pytest
from apscheduler.triggers.cron import CronTrigger
from docs.generate import json_schema

from marquee.errors import SettingsError
from marquee.local.infra_spec import FunctionSpecs, ScheduleSpecs, read_functions, read_schedules

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
def test_json_schema_committed_file_is_current(name: str, kind: type[FunctionSpecs] | type[ScheduleSpecs]) -> None:
    """The committed schema is that of the code; `make docs` writes it."""
    assert json.loads((ROOT / f"infra/{name}.schema.json").read_text()) == json_schema(kind)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("functions: [", "while parsing"),
        ("functions: {a: {}}", "missing required field `text`"),
        ("functions: {A: {}}", "Expected `str` matching regex"),
        ("schedules: {}", "unknown field `schedules`"),
    ],
)
def test_read_functions_invalid_file_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    """The error names the file and the field."""
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra/functions.yaml").write_text(text)
    with pytest.raises(SettingsError, match=rf"(?s)infra/functions.yaml.*{problem}"):
        read_functions(tmp_path)


def test_read_schedules_missing_file_is_named(tmp_path: Path) -> None:
    """The error names the file and the reason."""
    with pytest.raises(SettingsError, match=r"infra/schedules.yaml cannot be read: No such file"):
        read_schedules(tmp_path)


def test_read_schedules_weekday_number_is_refused(tmp_path: Path) -> None:
    """0 is Sunday for cron and Monday for APScheduler, so only names are valid."""
    (tmp_path / "infra").mkdir()
    text = (ROOT / "infra/schedules.yaml").read_text()
    for day, valid in (("sun", True), ("0", False)):
        (tmp_path / "infra/schedules.yaml").write_text(text.replace("15 4 * * *", f"15 4 * * {day}"))
        if valid:
            assert read_schedules(tmp_path)["retrain"].cron == "15 4 * * sun"
        else:
            with pytest.raises(SettingsError, match="cron"):
                read_schedules(tmp_path)
