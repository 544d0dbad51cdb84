"""Tests of TLS and SASL to Kafka, on the wire and by settings alone, without secrets in a log."""

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
from tests.bridge.bridge_harness import BridgeHarness
from tests.servers.certificates import Authority
from tests.servers.kafka_front import KafkaFront
from tests.servers.receiver import Receiver

from marquee.config.kafka_options import client_options
from marquee.config.settings import Settings
from marquee.local.embedded_kafka import CONSUMER_OPTIONS, EmbeddedKafka
from marquee.local.process import Process, free_port

pytestmark = [pytest.mark.servers, pytest.mark.long]
USER, PASSWORD, WRONG = "bridge", "s3cret-of-the-bridge", "another-s3cret"
RECORDS = [f"record {number}" for number in range(20)]


@dataclass
class SecuredKafka:
    """A broker that accepts TLS and SASL only, with some records, and bridges that connect to it."""

    harness: BridgeHarness
    directory: Path
    bootstrap: str
    options: dict[str, str]

    def produce(self) -> None:
        """Create the topic and write the records, with the settings of the bridge."""
        config = client_options(Settings(kafka_bootstrap=self.bootstrap, kafka_options=tuple(self.options.items())))
        admin = AdminClient(config)
        admin.create_topics([NewTopic(self.harness.topic, 2, 1)])[self.harness.topic].result(20)
        producer = Producer(config)
        for record in RECORDS:
            producer.produce(self.harness.topic, record)
        assert producer.flush(20) == 0

    def await_delivery(self) -> str:
        """Wait until a bridge has delivered all records; return its log."""
        bridge = self._bridge("right")
        bridge.start()
        try:
            self.harness.await_arrival(len(RECORDS))
        finally:
            bridge.stop()
        assert sorted(self.harness.receiver.texts()) == sorted(RECORDS)
        return bridge.log.read_text()

    def await_refusal(self, reason: str, other: dict[str, str]) -> str:
        """Wait until a bridge with other options logs ``reason``; return its log."""
        bridge = self._bridge(f"refused-{len(reason)}", other)
        bridge.start()
        deadline = time.monotonic() + 60
        while reason not in bridge.log.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        bridge.stop()
        log = bridge.log.read_text()
        assert reason in log
        assert self.harness.receiver.accepted == []
        return log

    def _bridge(self, name: str, other: dict[str, str] | None = None) -> Process:
        options = dict(CONSUMER_OPTIONS) | {"group.id": self.harness.topic} | self.options | (other or {})
        texts = ",".join(f"{option}={value}" for option, value in options.items())
        return self.harness.process(self.directory, name, KAFKA_BOOTSTRAP=self.bootstrap, KAFKA_OPTIONS=texts)


@pytest.fixture(params=["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def secured(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SecuredKafka]:
    """Provide a broker for each SASL mechanism."""
    authority, port = Authority(tmp_path, "authority"), free_port()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("broker"))
    with closing(KafkaFront(port, context, {USER: PASSWORD})) as front, closing(Receiver()) as receiver:
        kafka = EmbeddedKafka(tmp_path / "kafka", durable=False, port=port, advertised=front.address)
        options = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": request.param,
            "sasl.username": USER,
            "sasl.password": PASSWORD,
            "ssl.ca.location": str(authority.certificate),
        }
        with kafka:
            yield SecuredKafka(BridgeHarness(kafka, receiver), tmp_path, front.address, options)


def test_bridge_with_tls_and_sasl_delivers_and_logs_no_secret(secured: SecuredKafka, tmp_path: Path) -> None:
    """A wrong password, a certificate of another authority, or no TLS: the log names the cause."""
    secured.produce()
    logs = secured.await_refusal("uthentication failed", {"sasl.password": WRONG})
    if secured.options["sasl.mechanism"] == "PLAIN":
        other = str(Authority(tmp_path, "other").certificate)
        logs += secured.await_refusal("certificate verify failed", {"ssl.ca.location": other})
        logs += secured.await_refusal("Disconnected", {"security.protocol": "PLAINTEXT"})
    logs += secured.await_delivery()
    assert PASSWORD not in logs
    assert WRONG not in logs
