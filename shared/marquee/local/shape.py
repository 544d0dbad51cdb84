"""The size of the local system, and the sources that replace its own."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

LOOPBACK_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Shape:
    """The size and the sources of the local system.

    Attributes
    ----------
    instances
        Instances of `recommend` on one port.
    workers
        Workers of each function; None: as in `infra/functions.yaml`.
    customer_service
        The simulator will run the customer service, and `recommend` uses it.
    app
        Run the app with a MongoDB. The simulator must run the movie service.
    durable_kafka
        Keep Kafka's log on disk instead of in memory; slower with a backlog.
    kafka
        Bootstrap servers of another Kafka to read from; empty: the embedded broker.
    ratings
        Directory with ratings.csv to train on; None: MovieLens 100K.
    replayed
        The simulator replays the newest part of the base data, which is therefore not trained on.
    base
        False: train on the database alone, without any base data.
    host
        Address on which the public functions listen as well as on loopback.
    """

    instances: int = 1
    workers: int | None = None
    customer_service: bool = False
    app: bool = False
    durable_kafka: bool = False
    kafka: str = ""
    ratings: Path | None = None
    replayed: bool = False
    base: bool = True
    host: str = LOOPBACK_HOST

    @property
    def is_open(self) -> bool:
        """True if other machines may reach the public functions."""
        return not ip_address(self.host).is_loopback
