"""Tests of the shared secret between the senders and `ingest`, on the wire, and of its limit of the request line."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from tests.functions.ingest import IngestProcess
from tests.support.records import account, batch, rows

from marquee.bridge.delivery.delivery_factory import connect_delivery
from marquee.config.delivery_secret import DELIVERY_HEADER
from marquee.db.pool import Database
from marquee.errors import DeliveryUnauthorized
from marquee.events.envelopes import encode_batch

pytestmark = pytest.mark.servers
SECRET = "0123456789abcdef" * 2


@pytest.fixture
def function(postgres_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IngestProcess]:
    log = tmp_path_factory.mktemp("ingest") / "ingest.log"
    function = IngestProcess(log, postgres_database.url, DELIVERY_SECRET=SECRET)
    function.start()
    yield function
    function.process.stop()


def test_ingest_with_a_secret_takes_deliveries_that_know_it(
    function: IngestProcess, postgres_database: Database
) -> None:
    """Others get 401, and nothing of them is stored; the sender learns which setting differs."""
    envelope = encode_batch(batch([account(1)]))
    url = f"http://127.0.0.1:{function.port}"
    for wrong in ("", SECRET[:-1] + "x", "é" * 16):
        delivery = connect_delivery(url, timeout_s=30, secret=wrong)
        error = delivery.submit(envelope).exception(30)
        delivery.close()
        assert isinstance(error, DeliveryUnauthorized)
        assert "MARQUEE_DELIVERY_SECRET" in str(error)
        assert SECRET not in str(error)
    assert (
        rows(postgres_database, "SELECT FROM rejected_events") == rows(postgres_database, "SELECT FROM accounts") == []
    )
    delivery = connect_delivery(url, timeout_s=30, secret=SECRET)
    delivery.submit(envelope).result(30)
    delivery.close()
    assert len(rows(postgres_database, "SELECT FROM accounts")) == 1
    assert function.request("POST", b"", {DELIVERY_HEADER.lower(): SECRET})[0] == 204
    with socket.create_connection(("127.0.0.1", function.port), timeout=30) as connection:
        connection.sendall(b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n\r\n")
        assert connection.recv(100).split(b" ")[1] in (b"400", b"414")
