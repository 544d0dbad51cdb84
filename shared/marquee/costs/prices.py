"""The table of prices: ``prices.json`` beside this file, dated, for one region, in one currency.

It lies in the library and not under ``infra/``, since ``monitor`` estimates with it where there is no checkout.
To bring it up to date: look up what differs, change the figures and ``date``, run ``make docs``.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from marquee.errors import SettingsError

FILE = Path(__file__).with_name("prices.json")
OLD_AFTER_DAYS = 365

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Text = Annotated[str, Meta(min_length=1)]


class Price(Struct, frozen=True, forbid_unknown_fields=True):
    """``usd`` for each ``per`` units of a month, the first ``free`` units not counted."""

    usd: NotNegative
    per: Positive
    free: NotNegative
    unit: Text
    text: Text

    def of(self, quantity: float) -> float:
        """US dollars a month for ``quantity`` units a month."""
        return max(0.0, quantity - self.free) / self.per * self.usd


class Google(Struct, frozen=True, forbid_unknown_fields=True):
    """What Google Cloud takes, by resource."""

    request_vcpu_s: Price
    request_gib_s: Price
    requests: Price
    job_vcpu_s: Price
    job_gib_s: Price
    worker_vcpu_s: Price
    worker_gib_s: Price
    pubsub_gib: Price
    pubsub_kept_gib_month: Price
    stored_gib_month: Price
    object_writes: Price
    object_reads: Price
    schedules: Price
    images_gib_month: Price
    secrets: Price
    nat_vm_h: Price
    nat_gib: Price
    address_h: Price
    egress_gib: Price
    logs_gib: Price
    disk_gib_month: Price
    machine_address_h: Price


class Machine(Struct, frozen=True, forbid_unknown_fields=True):
    """A virtual machine that is always on."""

    name: Text
    vcpu: Positive
    memory_gib: Positive
    usd_per_hour: Positive


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """What others take, if they are asked."""

    timescale_h: Price
    timescale_gib_month: Price
    grafana_users: Price


class Prices(Struct, frozen=True, forbid_unknown_fields=True):
    """``prices.json``. ``machines`` is ordered, the smallest first."""

    date: datetime.date
    region: Text
    currency: Literal["USD"]
    source: Text
    google: Google
    machines: Annotated[tuple[Machine, ...], Meta(min_length=1)]
    options: Options

    def warning(self, today: datetime.date) -> str | None:
        """What to say of a table that is older than a year, else None."""
        days = (today - self.date).days
        if days <= OLD_AFTER_DAYS:
            return None
        return f"the prices are of {self.date}, {days} days old: look them up and change {FILE.name}"


def read_prices(path: Path = FILE) -> Prices:
    """The table; raises :class:`SettingsError` that names file and field."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Prices)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise SettingsError(f"{path}: {error}") from error


def schema() -> dict[str, Any]:
    """The JSON schema that stands beside the table."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Prices)}
