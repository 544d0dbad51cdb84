"""TLS and SASL to Kafka, on the wire and by settings alone; and no secret in a log."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from tests.bridge.stage import Stage
from tests.servers.certificates import Authority
from tests.servers.kafka_front import KafkaFront
from tests.servers.receiver import Receiver

from marquee.config.kafka_options import client_options
from marquee.config.settings import Settings
from marquee.local.embedded_kafka import EmbeddedKafka
from marquee.local.process import Process, free_port

pytestmark = [pytest.mark.servers, pytest.mark.long]
USER, PASSWORD, WRONG = "bridge", "s3cret-of-the-bridge", "another-s3cret"
LINES = [f"line {number}" for number in range(20)]


@dataclass
class Secured:
    """A broker that is reached through TLS and SASL only, with some lines, and bridges that try to."""

    stage: Stage
    directory: Path
    settings: dict[str, str]

    def produce(self) -> None:
        """Make the topic and write the lines, by the very settings that the bridge has."""
        given = {f"MARQUEE_KAFKA_{name}": value for name, value in self.settings.items()}
        config = client_options(Settings.from_mapping(given))
        admin = AdminClient(config)
        admin.create_topics([NewTopic(self.stage.topic, 2, 1)])[self.stage.topic].result(20)
        producer = Producer(config)
        for line in LINES:
            producer.produce(self.stage.topic, line)
        assert producer.flush(20) == 0

    def arrives(self) -> str:
        """Wait until a bridge has delivered all lines; returns its log."""
        bridge = self._bridge("right")
        bridge.start()
        try:
            self.stage.await_arrival(len(LINES))
        finally:
            bridge.stop()
        assert sorted(self.stage.receiver.texts()) == sorted(LINES)
        return bridge.log.read_text()

    def is_refused(self, reason: str, **other: str) -> str:
        """Wait until a bridge with other settings says ``reason`` in its log, which is returned."""
        bridge = self._bridge(f"refused-{len(reason)}", **other)
        bridge.start()
        deadline = time.monotonic() + 60
        while reason not in bridge.log.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        bridge.stop()
        log = bridge.log.read_text()
        assert reason in log
        assert self.stage.receiver.accepted == []
        return log

    def _bridge(self, name: str, **other: str) -> Process:
        settings = {f"KAFKA_{setting}": value for setting, value in (self.settings | other).items()}
        return self.stage.process(self.directory, name, **settings)


@pytest.fixture(params=["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def secured(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Secured]:
    authority, port = Authority(tmp_path, "authority"), free_port()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("broker"))
    with closing(KafkaFront(port, context, {USER: PASSWORD})) as front, closing(Receiver()) as receiver:
        kafka = EmbeddedKafka(tmp_path / "kafka", durable=False, port=port, advertised=front.address)
        settings = {
            "BOOTSTRAP": front.address,
            "SECURITY": "SASL_SSL",
            "SASL_MECHANISM": request.param,
            "USERNAME": USER,
            "PASSWORD": PASSWORD,
            "CA_FILE": str(authority.certificate),
        }
        with kafka:
            yield Secured(Stage(kafka, receiver), tmp_path, settings)


def test_bridge_reads_through_tls_and_sasl(secured: Secured, tmp_path: Path) -> None:
    """A wrong password, a certificate of another authority, no TLS at all: the log says which it is, and no secret."""
    secured.produce()
    logs = secured.is_refused("uthentication failed", PASSWORD=WRONG)
    if secured.settings["SASL_MECHANISM"] == "PLAIN":
        other = str(Authority(tmp_path, "other").certificate)
        logs += secured.is_refused("certificate verify failed", CA_FILE=other)
        logs += secured.is_refused("Disconnected", SECURITY="PLAINTEXT")
    logs += secured.arrives()
    assert PASSWORD not in logs
    assert WRONG not in logs
