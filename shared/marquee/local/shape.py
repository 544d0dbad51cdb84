"""The size of the local system, and the sources that replace its own."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

LOOPBACK_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Shape:
    """The size and the sources of the local system."""

    instances: int = 1
    """Instances of `recommend` on one port."""
    workers: int | None = None
    """Workers of each function; None: as in `infra/functions.yaml`."""
    customer_service: bool = False
    """The simulator will run the customer service, and `recommend` uses it."""
    app: bool = False
    """Run the app with a MongoDB. The simulator must run the movie service."""
    durable_kafka: bool = False
    """Keep Kafka's log on disk instead of in memory; slower with a backlog."""
    kafka: str = ""
    """Bootstrap servers of another Kafka to read from; empty: the embedded broker."""
    ratings: Path | None = None
    """Directory with ratings.csv to train on; None: MovieLens 100K."""
    replayed: bool = False
    """The simulator replays the newest part of the base data, which is therefore not trained on."""
    base: bool = True
    """False: train on the database alone, without any base data."""
    host: str = LOOPBACK_HOST
    """Address on which the public functions listen as well as on loopback."""

    @property
    def is_open(self) -> bool:
        """True if other machines may reach the public functions."""
        return not ip_address(self.host).is_loopback
