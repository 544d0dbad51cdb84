"""What ``infra/*.yaml`` say: the functions and the schedules, each described once for all that run them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from marquee.config import yaml_file
from marquee.config.needs import NEEDS

Name = Annotated[str, Meta(pattern="^[a-z][a-z0-9-]*$")]
Text = Annotated[str, Meta(min_length=1)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Folder = Annotated[str, Meta(pattern="^(functions|jobs)/[a-z][a-z0-9_]*$")]
# Week days by name only: cron counts them from Sunday, APScheduler from Monday.
CRON = r"^\S+ \S+ \S+ \S+ [^0-9\s]+$"
UrlPath = Annotated[str, Meta(pattern="^/")]


class Instances(Struct, frozen=True, forbid_unknown_fields=True):
    """How many may run: `min` 0 scales to zero."""

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
    """How it differs on a laptop."""

    port: Port


class FunctionSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """One function. Its target is the folder's name; `needs` are the settings that it is given. `health` tells
    that the process lives, `ready` that it can do its work.
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
    """On a laptop: the first run this long after the start, then one each so many seconds."""

    first_s: Annotated[float, Meta(ge=0)]
    every_s: Annotated[float, Meta(gt=0)]


class ScheduleSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """One job that runs by the clock, or one function (`functions/<name>`) that it calls by POST; `cron` has five
    fields and holds in `zone`. `arguments` are the job's.
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
        return () if self.function else NEEDS.get(self.job.split("/")[1], ())

    @property
    def function(self) -> str | None:
        """The function that is called; None for a job."""
        folder, name = self.job.split("/")
        return name if folder == "functions" else None


class FunctionSpecs(Struct, frozen=True, forbid_unknown_fields=True):
    """`infra/functions.yaml`."""

    functions: dict[Name, FunctionSpec]


class ScheduleSpecs(Struct, frozen=True, forbid_unknown_fields=True):
    """`infra/schedules.yaml`."""

    schedules: dict[Name, ScheduleSpec]


def read_functions(root: Path) -> dict[str, FunctionSpec]:
    """The functions by name; raises :class:`SettingsError` that names file and field."""
    return yaml_file.read_yaml(root / "infra/functions.yaml", FunctionSpecs).functions


def read_schedules(root: Path) -> dict[str, ScheduleSpec]:
    """The schedules by name; raises :class:`SettingsError` that names file and field."""
    return yaml_file.read_yaml(root / "infra/schedules.yaml", ScheduleSpecs).schedules


def schema(kind: type[FunctionSpecs] | type[ScheduleSpecs]) -> dict[str, Any]:
    """The JSON schema that stands beside the file, for editors and for those who are not Python."""
    found = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(kind)}
    return msgspec.json.decode(msgspec.json.encode(found), type=dict[str, Any])  # A tuple is a list there.
