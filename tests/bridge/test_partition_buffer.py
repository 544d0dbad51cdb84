"""Tests of PartitionBuffer: bounded batches, delivery until accepted, commits without a gap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.support.fake_delivery import FakeDelivery

from marquee.bridge.bridge_limits import BridgeLimits
from marquee.bridge.bridge_stats import BridgeStats
from marquee.bridge.partition_buffer import INVALID_BACKOFF_S, MAX_BACKOFF_S, PartitionBuffer
from marquee.errors import DeliveryFailed, DeliveryUnauthorized, InvalidBatch


def _buffer(
    delivery: FakeDelivery, *, max_records: int = 2, max_bytes: int = 1000, max_in_flight: int = 2
) -> PartitionBuffer:
    limits = BridgeLimits(max_records, max_bytes, max_wait_s=1.0, max_in_flight=max_in_flight)
    return PartitionBuffer("log", "topic-id", 0, limits, delivery, BridgeStats())


def _committable(buffer: PartitionBuffer) -> int | None:
    # A call, because mypy narrows the attribute after `is None`.
    return buffer.committable


def _fill(buffer: PartitionBuffer, count: int, value: bytes = b"x") -> None:
    for offset in range(count):
        buffer.extend([offset], [7], [value], now=0.0)


def test_extend_full_batch_is_submitted_at_once() -> None:
    """With two records per batch, five records are two batches and one pending record."""
    delivery = FakeDelivery(manual=True)
    _fill(_buffer(delivery), 5)
    assert [[r.offset for r in batch.records] for batch in delivery.stream_batches] == [[0, 1], [2, 3]]
    batch = delivery.stream_batches[0]
    assert (batch.topic, batch.topic_id, batch.partition, batch.records[0].timestamp_ms) == (
        "log",
        "topic-id",
        0,
        7,
    )


def test_pump_submits_partial_batch_after_max_wait() -> None:
    """A batch that does not fill is submitted when its oldest record has waited long enough."""
    delivery = FakeDelivery(manual=True)
    buffer = _buffer(delivery, max_records=100)
    buffer.extend([0], [0], [b"a"], now=10.0)
    buffer.extend([1], [0], [b"b"], now=10.9)
    buffer.pump(10.99)
    assert delivery.stream_batches == []
    buffer.pump(11.0)
    assert [len(batch.records) for batch in delivery.stream_batches] == [2]


def test_extend_batches_are_within_max_bytes() -> None:
    """So that they stay below the limit of Pub/Sub."""
    delivery = FakeDelivery(manual=True)
    buffer = _buffer(delivery, max_records=1000)
    _fill(buffer, 50, b"x" * 99)
    buffer.flush()
    assert all(len(envelope.data) <= 1000 for envelope, _ in delivery.submitted)
    assert [r.offset for batch in delivery.stream_batches for r in batch.records] == list(range(50))


def test_flush_json_escapes_stay_within_max_bytes() -> None:
    """A control character takes six bytes of JSON, which the sum of the lengths does not show."""
    delivery = FakeDelivery(manual=True)
    buffer = _buffer(delivery, max_records=1000, max_in_flight=100)
    _fill(buffer, 40, b"\x01" * 50)
    buffer.flush()
    assert all(len(envelope.data) <= 1000 for envelope, _ in delivery.submitted)
    for number in range(len(delivery.submitted)):
        delivery.accept(number)
    buffer.pump(0.0)
    assert buffer.committable == 40


def test_extend_oversized_record_is_submitted_alone() -> None:
    """The bridge does not judge records: the receiver quarantines it."""
    delivery = FakeDelivery(manual=True)
    buffer = _buffer(delivery, max_records=1000)
    for offset, value in enumerate([b"a", b"x" * 5000, b"b"]):
        buffer.extend([offset], [0], [value], now=0.0)
    buffer.flush()
    assert [[r.raw[:1] for r in batch.records] for batch in delivery.stream_batches] == [
        [b"a"],
        [b"x"],
        [b"b"],
    ]


@given(
    chunks=st.lists(st.lists(st.one_of(st.none(), st.binary(max_size=60)), max_size=9), max_size=9),
    max_records=st.integers(1, 5),
)
def test_extend_any_chunks_keep_order_and_limits(chunks: list[list[bytes | None]], max_records: int) -> None:
    """One by one or many at a time: the same records, and no batch above its limits."""
    delivery, first = FakeDelivery(manual=True), 0
    buffer = _buffer(delivery, max_records=max_records, max_bytes=400, max_in_flight=1000)
    for values in chunks:
        buffer.extend(range(first, first + len(values)), [7] * len(values), values, now=0.0)
        first += len(values)
    buffer.flush()
    found = [r for batch in delivery.stream_batches for r in batch.records]
    assert [r.raw for r in found] == [value or b"" for values in chunks for value in values]
    assert [r.offset for r in found] == list(range(first))
    assert all(len(batch.records) <= max_records for batch in delivery.stream_batches)
    assert all(
        len(envelope.data) <= 400 or len(batch.records) == 1
        for batch, (envelope, _) in zip(delivery.stream_batches, delivery.submitted, strict=True)
    )


def test_flush_batches_cover_missing_offsets() -> None:
    """Each batch covers the offsets from the end of the one before, markers and compacted records included."""
    delivery = FakeDelivery(manual=True)
    buffer = _buffer(delivery)
    buffer.extend([5, 7, 8, 12, 20, 21], [7] * 6, [b"x"] * 6, now=0.0)
    found = [(batch.since, [r.offset for r in batch.records]) for batch in delivery.stream_batches]
    assert found == [(5, [5, 7]), (8, [8, 12]), (13, [20, 21])]


def test_committable_before_acceptance_is_none() -> None:
    """Neither a submission nor a refusal makes an offset committable."""
    delivery = FakeDelivery(manual=True)
    buffer = _buffer(delivery)
    _fill(buffer, 2)
    buffer.pump(0.0)
    assert buffer.committable is None
    delivery.fail(0, DeliveryFailed("away"))
    buffer.pump(0.0)
    assert buffer.committable is None
    buffer.pump(1.0)
    delivery.accept(1)
    buffer.pump(1.0)
    assert _committable(buffer) == 2
    assert buffer.batches_in_flight == 0


def test_committable_waits_for_earlier_batches() -> None:
    """A commit covers all earlier offsets, so a gap would lose records."""
    delivery = FakeDelivery(manual=True)
    buffer = _buffer(delivery, max_in_flight=3)
    _fill(buffer, 6)
    delivery.accept(2)
    delivery.accept(1)
    buffer.pump(0.0)
    assert buffer.committable is None
    delivery.accept(0)
    buffer.pump(0.0)
    assert buffer.committable == 6


@given(st.permutations(range(8)))
def test_committable_is_the_unbroken_accepted_prefix(order: list[int]) -> None:
    """Holds for every order of the answers."""
    delivery = FakeDelivery(manual=True)
    buffer = _buffer(delivery, max_in_flight=8)
    _fill(buffer, 16)
    accepted: set[int] = set()
    for number in order:
        delivery.accept(number)
        accepted.add(number)
        buffer.pump(0.0)
        prefix = next(n for n in range(9) if n not in accepted)
        assert buffer.committable == (2 * prefix or None)


def test_pump_failed_batch_is_retried_with_backoff() -> None:
    """The same envelope each time, no earlier than the back-off, without limit."""
    delivery = FakeDelivery(manual=True)
    buffer = _buffer(delivery)
    _fill(buffer, 2)
    now = 0.0
    for attempt in range(50):
        delivery.fail(attempt, DeliveryFailed("away"))
        buffer.pump(now)
        buffer.pump(now + 0.04)
        assert len(delivery.submitted) == attempt + 1
        now += MAX_BACKOFF_S
        buffer.pump(now)
        assert len(delivery.submitted) == attempt + 2
    assert {envelope.id for envelope, _ in delivery.submitted} == {"log/0/0-1"}


def test_pump_invalid_batch_is_retried_slowly() -> None:
    """Dropping it would lose its records, and the receiver may be wrong."""
    delivery = FakeDelivery(manual=True)
    buffer = _buffer(delivery)
    _fill(buffer, 2)
    delivery.fail(0, InvalidBatch("what is this?"))
    buffer.pump(0.0)
    buffer.pump(INVALID_BACKOFF_S - 0.1)
    assert len(delivery.submitted) == 1
    buffer.pump(INVALID_BACKOFF_S)
    delivery.accept(1)
    buffer.pump(INVALID_BACKOFF_S)
    assert buffer.committable == 2


def test_window_full_until_a_batch_is_accepted() -> None:
    """The bridge stops reading this partition until there is room."""
    delivery = FakeDelivery(manual=True)
    buffer = _buffer(delivery)
    _fill(buffer, 4)
    assert buffer.window_full
    assert buffer.buffered_bytes > 0
    delivery.accept(0)
    buffer.pump(0.0)
    assert not buffer.window_full


def test_pump_refused_credentials_wait_and_are_counted() -> None:
    """The batch is kept and retried as slowly as an invalid one, because a person has to act."""
    delivery = FakeDelivery(manual=True)
    buffer = _buffer(delivery)
    _fill(buffer, 2)
    delivery.fail(0, DeliveryUnauthorized("401"))
    buffer.pump(0.0)
    buffer.pump(INVALID_BACKOFF_S - 0.1)
    assert (len(delivery.submitted), buffer._stats.deliveries_refused) == (1, 1)
    buffer.pump(INVALID_BACKOFF_S)
    assert len(delivery.submitted) == 2
