"""Contract tests of every kind of object store, each on the wire."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.registry.conftest import StoreLocation

from marquee.errors import ObjectNotFound, ObjectStoreError, PreconditionFailed
from marquee.registry.object_store.object_store import ObjectStore, Version

ODD_NAMES = [
    "krakatoa_+east+of+java+1969",
    "m*a*s*h+1970",
    "a b/c#d?e&f=g%2Fh",
    "Amélie/八月/🎬.json",
    "'quotes'/\"double\"/<angle>/[square]/{curly}",
    "tilde~/back\\slash/colon:semi;comma,at@dollar$bang!",
    "e\u0301 is not é",
    "x" * 200,
    "dots.in.the/middle..json",
]


def test_get_returns_what_was_written(store: ObjectStore) -> None:
    """Byte for byte, with the version that the write returned."""
    for number, data in enumerate((b"", b"text", bytes(range(256)) * 10)):
        version = store.put_new(f"a/{number}", data)
        found = store.get(f"a/{number}")
        assert (found.data, found.version) == (data, version)


def test_put_new_existing_name_is_refused(store: ObjectStore) -> None:
    """The first writer's bytes stay, also if both are equal."""
    store.put_new("a", b"first")
    for data in (b"second", b"first"):
        with pytest.raises(PreconditionFailed, match="'a'"):
            store.put_new("a", data)
    assert store.get("a").data == b"first"


def test_replace_other_version_is_refused(store: ObjectStore) -> None:
    """A write counts only against the version it was meant for."""
    first = store.replace("a", b"1", None)
    second = store.replace("a", b"2", first)
    with pytest.raises(PreconditionFailed):
        store.replace("a", b"3", first)
    with pytest.raises(PreconditionFailed):
        store.replace("a", b"3", None)
    assert store.get("a").data == b"2"
    assert store.get("a").version == second


def test_replace_deleted_object_is_refused(store: ObjectStore) -> None:
    """The object is not created again."""
    version = store.put_new("a", b"1")
    store.delete("a")
    with pytest.raises(PreconditionFailed):
        store.replace("a", b"2", version)
    with pytest.raises(ObjectNotFound):
        store.get("a")


def test_get_if_changed_from_current_version_returns_none(store: ObjectStore) -> None:
    """For any other version the object is returned."""
    first = store.put_new("a", b"1")
    assert store.get("a", if_changed_from=first) is None
    second = store.replace("a", b"2", first)
    found = store.get("a", if_changed_from=first)
    assert found is not None
    assert (found.data, found.version) == (b"2", second)
    assert store.get("a", if_changed_from=second) is None


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 4, b"0123"),
        (3, 4, b"3456"),
        (8, 100, b"89"),
        (9, 1, b"9"),
        (10, 1, b""),
        (1000, 5, b""),
        (2**62, 5, b""),
        (4, 0, b""),
    ],
)
def test_read_range_returns_what_exists(store: ObjectStore, start: int, length: int, expected: bytes) -> None:
    """Less at the end, nothing past it."""
    store.put_new("a", b"0123456789")
    assert store.read_range("a", start, length) == expected


def test_read_range_empty_object_is_empty(store: ObjectStore) -> None:
    """Any range."""
    store.put_new("a", b"")
    assert store.read_range("a", 0, 10) == b""
    assert store.read_range("a", 5, 10) == b""


def test_read_range_negative_numbers_are_refused(store: ObjectStore) -> None:
    """Some stores would read a negative start from the end; all refuse it."""
    store.put_new("a", b"0123456789")
    for start, length in ((-1, 2), (0, -2)):
        with pytest.raises(ValueError, match="negative"):
            store.read_range("a", start, length)


def test_get_missing_object_raises(store: ObjectStore) -> None:
    """Every way to read raises the same error, before and after the first write."""
    for _ in range(2):
        with pytest.raises(ObjectNotFound, match="'no/such'"):
            store.get("no/such")
        with pytest.raises(ObjectNotFound):
            store.get("no/such", if_changed_from=Version("1"))
        for length in (0, 10):
            with pytest.raises(ObjectNotFound):
                store.read_range("no/such", 0, length)
        assert "no/such" not in set(store.list("no/"))
        store.put_new(f"something/{_}", b"")


def test_list_returns_names_by_prefix_in_byte_order(store: ObjectStore) -> None:
    """A prefix may end within a name."""
    names = ["b/é", "a", "b/10", "b/2", "b/c/d", "bb", "b/c+"]
    for name in names:
        store.put_new(name, b"")
    ordered = ["a", "b/10", "b/2", "b/c+", "b/c/d", "b/é", "bb"]
    assert list(store.list("")) == ordered
    assert list(store.list("b/")) == ordered[1:6]
    assert list(store.list("b/c")) == ["b/c+", "b/c/d"]
    assert list(store.list("b")) == ordered[1:]
    assert list(store.list("z/")) == []


def test_delete_is_idempotent(store: ObjectStore) -> None:
    """The name can be used again."""
    store.put_new("a/b", b"1")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("never/was")
    assert list(store.list("")) == []
    store.put_new("a/b", b"2")
    assert store.get("a/b").data == b"2"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_unusual_names_round_trip(store: ObjectStore, name: str) -> None:
    """Blanks, accents, emoji and reserved characters of URLs."""
    version = store.put_new(name, name.encode())
    assert store.get(name).data == name.encode()
    assert store.get(name, if_changed_from=version) is None
    assert store.read_range(name, 1, 3) == name.encode()[1:4]
    assert list(store.list("")) == [name]
    store.replace(name, b"new", version)
    store.delete(name)
    assert list(store.list("")) == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../../b",
        "./a",
        "a/.hidden",
        "a\nb",
        "a\0b",
        "\ud800",
        "x" * 201,
        "ab/" * 400 + "c",
    ],
)
def test_invalid_name_is_refused(store: ObjectStore, name: str) -> None:
    """A name that one store could not hold is refused by all, before anything is sent."""
    calls: list[Callable[[], object]] = [
        lambda: store.get(name),
        lambda: store.read_range(name, 0, 1),
        lambda: store.put_new(name, b""),
        lambda: store.replace(name, b"", None),
        lambda: store.delete(name),
    ]
    for call in calls:
        with pytest.raises(ObjectStoreError, match="is not a valid object name"):
            call()


def test_put_new_large_file_round_trips(store: ObjectStore, tmp_path: Path) -> None:
    """A file of more than 8 MB, and ranges of it."""
    data = bytes(range(251)) * 40_000
    path = tmp_path / "large"
    path.write_bytes(data)
    version = store.put_new("large", path)
    assert store.get("large").data == data
    assert store.get("large", if_changed_from=version) is None
    assert store.read_range("large", 9_000_000, 1000) == data[9_000_000:9_001_000]
    assert store.read_range("large", len(data) - 1, 2) == data[-1:]


def test_put_new_large_bytes_round_trip(store: ObjectStore) -> None:
    """More than 8 MB."""
    data = b"\0\1\2" * 3_000_000
    store.put_new("large", data)
    assert store.get("large").data == data


def test_two_clients_see_each_others_writes(location: StoreLocation) -> None:
    """At once."""
    one, other = location.connect(), location.connect()
    version = one.put_new("a", b"1")
    assert other.get("a").version == version
    other.replace("a", b"2", version)
    assert one.get("a").data == b"2"


def test_put_new_concurrent_writers_one_wins(location: StoreLocation) -> None:
    """The bytes are the winner's."""
    outcomes = _race(location, 8, lambda store, n: store.put_new("a", f"writer {n}".encode()))
    winners = [n for n, won in enumerate(outcomes) if won]
    assert len(winners) == 1
    assert location.connect().get("a").data == f"writer {winners[0]}".encode()


def test_replace_concurrent_counters_lose_no_update(location: StoreLocation) -> None:
    """A counter that several clients raise ends at the number of raises."""
    location.connect().put_new("count", b"0")

    def raise_count(store: ObjectStore, _: int) -> None:
        done = 0
        while done < 5:
            before = store.get("count")
            try:
                store.replace("count", str(int(before.data) + 1).encode(), before.version)
                done += 1
            except PreconditionFailed:
                pass

    assert all(_race(location, 4, raise_count))
    assert location.connect().get("count").data == b"20"


def _race(location: StoreLocation, writers: int, work: Callable[[ObjectStore, int], object]) -> list[bool]:
    outcomes = [False] * writers
    stores = [location.connect() for _ in range(writers)]
    start = threading.Barrier(writers)

    def run(n: int) -> None:
        start.wait()
        try:
            work(stores[n], n)
            outcomes[n] = True
        except PreconditionFailed:
            pass

    threads = [threading.Thread(target=run, args=(n,)) for n in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
