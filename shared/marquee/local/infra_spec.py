"""The functions and schedules of ``infra/*.yaml``, described once for every platform that runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from marquee.config.needs import NEEDS
from marquee.config.yaml_file import read_yaml

Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9-]*$")]
Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Folder = Annotated[str, Meta(pattern="^(functions|jobs)/[a-z][a-z0-9_]*$")]
# Weekdays by name only: cron counts them from Sunday, APScheduler from Monday.
CRON = r"^\S+ \S+ \S+ \S+ [^0-9\s]+$"
UrlPath = Annotated[str, Meta(pattern="^/")]


class Instances(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of the number of instances; `min` 0 scales to zero."""

    min: Annotated[int, Meta(ge=0)]
    max: Annotated[int, Meta(ge=1)]


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """Processors and memory of one instance or run."""

    cpu: Annotated[int, Meta(ge=1, le=8)]
    memory_mb: Annotated[int, Meta(ge=128, le=32_768)]

    @property
    def memory_gib(self) -> float:
        """Return the memory in GiB."""
        return self.memory_mb / 1024


class LocalFunction(Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a function on a laptop."""

    port: Port


class FunctionSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """One function, whose target is the name of its folder.

    `health` is the path of the liveness check, `ready` the one of the readiness check.
    """

    text: Text
    source: Folder
    signature: Literal["http", "cloudevent"]
    public: bool
    memory_mb: Annotated[int, Meta(ge=128, le=32_768)]
    timeout_s: Annotated[int, Meta(ge=1, le=3_600)]
    instances: Instances
    workers: Annotated[int, Meta(ge=1, le=64)]
    threads: Annotated[int, Meta(ge=1, le=1_000)]
    connections: Annotated[int, Meta(ge=0, le=100)]
    health: UrlPath
    local: LocalFunction
    ready: UrlPath | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the settings that the function reads."""
        return NEEDS[self.source.split("/")[1]]

    @property
    def limits(self) -> Limits:
        """Return the limits that Terraform derives: a processor for each worker."""
        return Limits(self.workers, self.memory_mb)


class LocalSchedule(Struct, frozen=True, forbid_unknown_fields=True):
    """The schedule on a laptop: the first run after `first_s` seconds, then one every `every_s` seconds."""

    first_s: Annotated[float, Meta(ge=0)]
    every_s: Annotated[float, Meta(gt=0)]


class ScheduleSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """One scheduled job with its `arguments`, or one function (`functions/<name>`) that is called by POST.

    `cron` has five fields and is in the time zone `zone`.
    """

    text: Text
    job: Folder
    cron: Annotated[str, Meta(pattern=CRON)]
    zone: Text
    timeout_s: Annotated[int, Meta(ge=1, le=86_400)]
    local: LocalSchedule | None = None
    arguments: tuple[Text, ...] = ()
    limits: Limits = Limits(1, 512)

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the settings that the job reads; none for a function, which has its own."""
        return () if self.function else NEEDS.get(self.part, ())

    @property
    def part(self) -> str:
        """The name of the job or function, whose login the database knows."""
        return self.job.split("/")[1]

    @property
    def function(self) -> str | None:
        """The name of the function that is called; None for a job."""
        folder, name = self.job.split("/")
        return name if folder == "functions" else None


class FunctionSpecs(Struct, frozen=True, forbid_unknown_fields=True):
    """`infra/functions.yaml`."""

    functions: dict[Name, FunctionSpec]


class ScheduleSpecs(Struct, frozen=True, forbid_unknown_fields=True):
    """`infra/schedules.yaml`."""

    schedules: dict[Name, ScheduleSpec]


def read_functions(root: Path) -> dict[str, FunctionSpec]:
    """Read the functions by name. Raises :class:`SettingsError` if a field is wrong."""
    return read_yaml(root / "infra/functions.yaml", FunctionSpecs).functions


def read_schedules(root: Path) -> dict[str, ScheduleSpec]:
    """Read the schedules by name. Raises :class:`SettingsError` if a field is wrong."""
    return read_yaml(root / "infra/schedules.yaml", ScheduleSpecs).schedules
