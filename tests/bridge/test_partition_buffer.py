"""A partition's batches: bounded, delivered until accepted, committable only without a gap."""

from __future__ import annotations

from concurrent.futures import Future

from hypothesis import given
from hypothesis import strategies as st

from marquee.bridge.bridge_limits import BridgeLimits
from marquee.bridge.bridge_stats import BridgeStats
from marquee.bridge.partition_buffer import INVALID_BACKOFF_S, MAX_BACKOFF_S, PartitionBuffer
from marquee.errors import DeliveryFailed, InvalidBatch
from marquee.events.batches import StreamBatch
from marquee.events.envelopes import Envelope, open_envelope


class FakeDelivery:
    """Keeps what was submitted; a test says when each is accepted or refused."""

    def __init__(self) -> None:
        self.submitted: list[tuple[Envelope, Future[None]]] = []

    def submit(self, envelope: Envelope) -> Future[None]:
        future: Future[None] = Future()
        self.submitted.append((envelope, future))
        return future

    def close(self) -> None: ...

    def accept(self, number: int) -> None:
        self.submitted[number][1].set_result(None)

    def fail(self, number: int, error: Exception) -> None:
        self.submitted[number][1].set_exception(error)

    @property
    def batches(self) -> list[StreamBatch]:
        opened = [open_envelope(envelope) for envelope, _ in self.submitted]
        return [batch for batch in opened if isinstance(batch, StreamBatch)]


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


def test_full_batch_is_submitted_at_once() -> None:
    """Two lines a batch: five lines are two batches, and one line that waits."""
    delivery = FakeDelivery()
    _fill(_buffer(delivery), 5)
    assert [[r.offset for r in batch.records] for batch in delivery.batches] == [[0, 1], [2, 3]]
    batch = delivery.batches[0]
    assert (batch.topic, batch.topic_id, batch.partition, batch.records[0].timestamp_ms) == (
        "log",
        "topic-id",
        0,
        7,
    )


def test_line_waits_no_longer_than_it_may() -> None:
    """A batch that does not fill goes when its oldest line has waited."""
    delivery = FakeDelivery()
    buffer = _buffer(delivery, max_records=100)
    buffer.extend([0], [0], [b"a"], now=10.0)
    buffer.extend([1], [0], [b"b"], now=10.9)
    buffer.pump(10.99)
    assert delivery.batches == []
    buffer.pump(11.0)
    assert [len(batch.records) for batch in delivery.batches] == [2]


def test_batch_is_bounded_in_bytes() -> None:
    """So that it stays below what Pub/Sub takes."""
    delivery = FakeDelivery()
    buffer = _buffer(delivery, max_records=1000)
    _fill(buffer, 50, b"x" * 99)
    buffer.flush()
    assert all(len(envelope.data) <= 1000 for envelope, _ in delivery.submitted)
    assert [r.offset for batch in delivery.batches for r in batch.records] == list(range(50))


def test_escapes_do_not_break_the_bound() -> None:
    """A control character is six bytes of JSON, and is found in no sum of the lines' lengths."""
    delivery = FakeDelivery()
    buffer = _buffer(delivery, max_records=1000, max_in_flight=100)
    _fill(buffer, 40, b"\x01" * 50)
    buffer.flush()
    assert all(len(envelope.data) <= 1000 for envelope, _ in delivery.submitted)
    for number in range(len(delivery.submitted)):
        delivery.accept(number)
    buffer.pump(0.0)
    assert buffer.committable == 40


def test_line_that_is_too_long_travels_alone() -> None:
    """It is not our place to judge it: whoever takes it quarantines it."""
    delivery = FakeDelivery()
    buffer = _buffer(delivery, max_records=1000)
    for offset, value in enumerate([b"a", b"x" * 5000, b"b"]):
        buffer.extend([offset], [0], [value], now=0.0)
    buffer.flush()
    assert [[r.raw[:1] for r in batch.records] for batch in delivery.batches] == [[b"a"], [b"x"], [b"b"]]


@given(
    chunks=st.lists(st.lists(st.one_of(st.none(), st.binary(max_size=60)), max_size=9), max_size=9),
    lines=st.integers(1, 5),
)
def test_however_lines_come_they_leave_in_order_and_within_bounds(
    chunks: list[list[bytes | None]], lines: int
) -> None:
    """Taken one by one or many at a time: the same records, no batch longer than it may be."""
    delivery, first = FakeDelivery(), 0
    buffer = _buffer(delivery, max_records=lines, max_bytes=400, max_in_flight=1000)
    for values in chunks:
        buffer.extend(range(first, first + len(values)), [7] * len(values), values, now=0.0)
        first += len(values)
    buffer.flush()
    found = [r for batch in delivery.batches for r in batch.records]
    assert [r.raw for r in found] == [value or b"" for values in chunks for value in values]
    assert [r.offset for r in found] == list(range(first))
    assert all(len(batch.records) <= lines for batch in delivery.batches)
    assert all(
        len(envelope.data) <= 400 or len(batch.records) == 1
        for batch, (envelope, _) in zip(delivery.batches, delivery.submitted, strict=True)
    )


def test_batches_say_what_kafka_does_not_hold() -> None:
    """Each answers for the offsets from where the one before it ended, markers and compacted ones among them."""
    delivery = FakeDelivery()
    buffer = _buffer(delivery)
    buffer.extend([5, 7, 8, 12, 20, 21], [7] * 6, [b"x"] * 6, now=0.0)
    found = [(batch.since, [r.offset for r in batch.records]) for batch in delivery.batches]
    assert found == [(5, [5, 7]), (8, [8, 12]), (13, [20, 21])]


def test_nothing_is_committable_before_acceptance() -> None:
    """Neither when submitted, nor when refused."""
    delivery = FakeDelivery()
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


def test_later_batch_waits_for_the_one_before_it() -> None:
    """A commit covers all that is before it: a gap would be a loss."""
    delivery = FakeDelivery()
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
def test_committable_is_the_unbroken_prefix(order: list[int]) -> None:
    """Whatever order the answers come in."""
    delivery = FakeDelivery()
    buffer = _buffer(delivery, max_in_flight=8)
    _fill(buffer, 16)
    accepted: set[int] = set()
    for number in order:
        delivery.accept(number)
        accepted.add(number)
        buffer.pump(0.0)
        prefix = next(n for n in range(9) if n not in accepted)
        assert buffer.committable == (2 * prefix or None)


def test_failed_batch_is_tried_for_ever_with_growing_pauses() -> None:
    """The same envelope each time; never more often than the back-off says, never given up."""
    delivery = FakeDelivery()
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


def test_batch_that_is_called_invalid_is_kept_and_tried_slowly() -> None:
    """Its lines would be lost otherwise; the receiver may be the one that is wrong."""
    delivery = FakeDelivery()
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


def test_full_window_says_so() -> None:
    """The bridge stops reading this partition until there is room."""
    delivery = FakeDelivery()
    buffer = _buffer(delivery)
    _fill(buffer, 4)
    assert buffer.window_full
    assert buffer.buffered_bytes > 0
    delivery.accept(0)
    buffer.pump(0.0)
    assert not buffer.window_full
