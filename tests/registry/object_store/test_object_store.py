"""One contract for every kind of object store, each on the wire."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.registry.conftest import Place

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


def test_what_is_written_is_read(store: ObjectStore) -> None:
    """An object comes back byte for byte, with the version that writing it gave."""
    for number, data in enumerate((b"", b"text", bytes(range(256)) * 10)):
        version = store.put_new(f"a/{number}", data)
        found = store.get(f"a/{number}")
        assert (found.data, found.version) == (data, version)


def test_a_name_is_put_once(store: ObjectStore) -> None:
    """The second writer of a name is told, and the first one's bytes stay, even if both are equal."""
    store.put_new("a", b"first")
    for data in (b"second", b"first"):
        with pytest.raises(PreconditionFailed, match="'a'"):
            store.put_new("a", data)
    assert store.get("a").data == b"first"


def test_replace_is_compare_and_swap(store: ObjectStore) -> None:
    """A write counts only against the version it was meant for."""
    first = store.replace("a", b"1", None)
    second = store.replace("a", b"2", first)
    with pytest.raises(PreconditionFailed):
        store.replace("a", b"3", first)
    with pytest.raises(PreconditionFailed):
        store.replace("a", b"3", None)
    assert store.get("a").data == b"2"
    assert store.get("a").version == second


def test_replace_of_what_is_gone_fails(store: ObjectStore) -> None:
    """A version that was deleted cannot be replaced."""
    version = store.put_new("a", b"1")
    store.delete("a")
    with pytest.raises(PreconditionFailed):
        store.replace("a", b"2", version)
    with pytest.raises(ObjectNotFound):
        store.get("a")


def test_a_read_tells_that_nothing_changed(store: ObjectStore) -> None:
    """The holder of the present version gets None; of any other, the object."""
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
def test_ranges(store: ObjectStore, start: int, length: int, expected: bytes) -> None:
    """A range holds what there is of it: less at the end, nothing past it."""
    store.put_new("a", b"0123456789")
    assert store.read_range("a", start, length) == expected


def test_ranges_of_an_empty_object(store: ObjectStore) -> None:
    """There is nothing in any range of it."""
    store.put_new("a", b"")
    assert store.read_range("a", 0, 10) == b""
    assert store.read_range("a", 5, 10) == b""


def test_a_range_has_no_negative_numbers(store: ObjectStore) -> None:
    """A negative start would mean the end to some stores: it is refused by all."""
    store.put_new("a", b"0123456789")
    for start, length in ((-1, 2), (0, -2)):
        with pytest.raises(ValueError, match="negative"):
            store.read_range("a", start, length)


def test_what_is_not_there(store: ObjectStore) -> None:
    """Every way to read says the same, before and after the first write."""
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


def test_list_gives_names_by_prefix_in_order(store: ObjectStore) -> None:
    """A prefix is the beginning of a name, wherever it ends; the order is that of the bytes."""
    names = ["b/é", "a", "b/10", "b/2", "b/c/d", "bb", "b/c+"]
    for name in names:
        store.put_new(name, b"")
    ordered = ["a", "b/10", "b/2", "b/c+", "b/c/d", "b/é", "bb"]
    assert list(store.list("")) == ordered
    assert list(store.list("b/")) == ordered[1:6]
    assert list(store.list("b/c")) == ["b/c+", "b/c/d"]
    assert list(store.list("b")) == ordered[1:]
    assert list(store.list("z/")) == []


def test_delete_may_be_repeated(store: ObjectStore) -> None:
    """What is gone stays gone without a complaint, and its name is free again."""
    store.put_new("a/b", b"1")
    store.delete("a/b")
    store.delete("a/b")
    store.delete("never/was")
    assert list(store.list("")) == []
    store.put_new("a/b", b"2")
    assert store.get("a/b").data == b"2"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(store: ObjectStore, name: str) -> None:
    """A name is kept as it is written."""
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
def test_names_that_no_store_takes(store: ObjectStore, name: str) -> None:
    """What one store could not hold is refused by all, before anything is sent."""
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


def test_a_large_object_from_a_file(store: ObjectStore, tmp_path: Path) -> None:
    """A file of more than 8 MB is written whole, and any range of it can be read."""
    data = bytes(range(251)) * 40_000
    path = tmp_path / "large"
    path.write_bytes(data)
    version = store.put_new("large", path)
    assert store.get("large").data == data
    assert store.get("large", if_changed_from=version) is None
    assert store.read_range("large", 9_000_000, 1000) == data[9_000_000:9_001_000]
    assert store.read_range("large", len(data) - 1, 2) == data[-1:]


def test_a_large_object_of_bytes(store: ObjectStore) -> None:
    """Bytes are no different from a file."""
    data = b"\0\1\2" * 3_000_000
    store.put_new("large", data)
    assert store.get("large").data == data


def test_two_clients_see_each_other(place: Place) -> None:
    """What one client wrote is what the other reads, at once."""
    one, other = place.connect(), place.connect()
    version = one.put_new("a", b"1")
    assert other.get("a").version == version
    other.replace("a", b"2", version)
    assert one.get("a").data == b"2"


def test_racing_writers_of_a_new_name(place: Place) -> None:
    """Of many who put the same name, exactly one succeeds, and his bytes are there."""
    outcomes = _race(place, 8, lambda store, n: store.put_new("a", f"writer {n}".encode()))
    winners = [n for n, won in enumerate(outcomes) if won]
    assert len(winners) == 1
    assert place.connect().get("a").data == f"writer {winners[0]}".encode()


def test_racing_compare_and_swap_loses_no_count(place: Place) -> None:
    """A counter that many raise by compare-and-swap ends at the number of raises."""
    place.connect().put_new("count", b"0")

    def raise_count(store: ObjectStore, _: int) -> None:
        done = 0
        while done < 5:
            before = store.get("count")
            try:
                store.replace("count", str(int(before.data) + 1).encode(), before.version)
                done += 1
            except PreconditionFailed:
                pass

    assert all(_race(place, 4, raise_count))
    assert place.connect().get("count").data == b"20"


def _race(place: Place, writers: int, work: Callable[[ObjectStore, int], object]) -> list[bool]:
    outcomes = [False] * writers
    stores = [place.connect() for _ in range(writers)]
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
