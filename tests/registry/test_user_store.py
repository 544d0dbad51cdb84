"""The user side: every user that was written is found, no other is, and a wrong byte is noticed."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.registry.models import forge, made_model, overwrite, stored

from marquee.errors import ArtifactRefused
from marquee.registry.manifest import object_name, read_manifest
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import Object, ObjectStore
from marquee.registry.trained_model import Histories
from marquee.registry.user_store import UserStore, user_bucket, write_users

IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


class _RangesOnly:
    """A store of another machine: it cannot be mapped, and its reads are counted."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.ranges: list[str] = []

    def get(self, name: str) -> Object:
        return self._store.get(name)

    def read_range(self, name: str, start: int, length: int) -> bytes:
        self.ranges.append(name.rpartition("/")[2])
        return self._store.read_range(name, start, length)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    ids=st.sets(IDS, max_size=40),
    others=st.sets(IDS, max_size=10),
    mapped=st.booleans(),
    seed=st.integers(0, 9),
)
def test_any_users_are_found_again(
    tmp_path_factory: pytest.TempPathFactory, ids: set[str], others: set[str], mapped: bool, seed: int
) -> None:
    """Whatever the ids look like and however they share buckets; whoever was not written is None."""
    store = connect(tmp_path_factory.mktemp("users").as_uri())
    model = made_model(sorted(ids), seed=seed)
    manifest = read_manifest(store, stored(store, model))
    side = UserStore(store if mapped else _RangesOnly(store), manifest)  # type: ignore[arg-type]
    h = model.histories
    for user, user_id in enumerate(model.user_ids):
        record = side.read(user_id)
        assert record is not None
        assert record.user_id == user_id
        assert record.bias == model.user_biases[user]
        np.testing.assert_array_equal(record.vector, model.user_vectors[user])
        rows = slice(h.indptr[user], h.indptr[user + 1])
        np.testing.assert_array_equal(record.items, h.items[rows])
        np.testing.assert_array_equal(record.ratings, h.ratings[rows])
        np.testing.assert_array_equal(record.weights, h.weights[rows])
    for user_id in others - ids:
        assert side.read(user_id) is None


def test_what_is_no_text_is_nobody(file_store: ObjectStore) -> None:
    """An id that no writer could have written is unknown, not an error."""
    side = UserStore(file_store, read_manifest(file_store, stored(file_store)))
    assert side.read("\ud800") is None


def test_the_bucket_is_fixed_by_the_format() -> None:
    """SHA-256, its first 8 bytes, big endian: artifacts of today are read tomorrow."""
    # sha256("514537") = a2879facb68ccd42... by sha256sum(1).
    assert user_bucket("514537", 2**64) == 0xA2879FACB68CCD42
    assert user_bucket("514537", 1) == 0


def test_one_user_costs_two_ranged_reads(file_store: ObjectStore) -> None:
    """However many users there are."""
    version = stored(file_store, made_model([str(n) for n in range(500)]))
    remote = _RangesOnly(file_store)
    side = UserStore(remote, read_manifest(file_store, version))  # type: ignore[arg-type]
    assert side.read("123") is not None
    assert side.read("nobody") is None
    assert remote.ranges == ["users.index", "users.bin"] * 2


@pytest.mark.parametrize("mapped", [True, False])
def test_every_flipped_bit_is_noticed(file_store: ObjectStore, mapped: bool) -> None:
    """A wrong byte in index or blocks never gives a wrong user; users of other buckets are not hurt."""
    ids = [f"user {n}" for n in range(24)]
    version = stored(file_store, made_model(ids))
    manifest = read_manifest(file_store, version)
    for file in ("users.bin", "users.index"):
        whole = file_store.get(object_name(version, file)).data
        for at in range(0, len(whole), 17 if file == "users.bin" else 1):
            overwrite(file_store, version, file, whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
            side = UserStore(file_store if mapped else _RangesOnly(file_store), manifest)  # type: ignore[arg-type]
            refused = {user_bucket(i, manifest.buckets) for i in ids if _is_refused(side, i)}
            assert len(refused) == 1, (file, at)
        overwrite(file_store, version, file, whole)


def _is_refused(side: UserStore, user_id: str) -> bool:
    try:
        return side.read(user_id) is None
    except ArtifactRefused:
        return True


def test_blocks_of_another_shape_are_refused(file_store: ObjectStore) -> None:
    """A manifest that does not go with the blocks leads to an error that callers expect."""
    version = stored(file_store)
    other = stored(file_store, made_model(k=9))
    for file in ("users.index", "users.bin"):
        forge(file_store, version, file, file_store.get(object_name(other, file)).data)
    side = UserStore(file_store, read_manifest(file_store, version))
    for user_id in made_model().user_ids:
        assert _is_refused(side, user_id)


def test_a_movie_that_does_not_exist_is_refused(file_store: ObjectStore) -> None:
    """A history cannot lead out of the item side."""
    version = stored(file_store)
    other = stored(file_store, made_model(n_items=3000))
    for file in ("users.index", "users.bin"):
        forge(file_store, version, file, file_store.get(object_name(other, file)).data)
    side = UserStore(file_store, read_manifest(file_store, version))
    with pytest.raises(ArtifactRefused, match="movies that do not exist"):
        side.read("dora")


def test_writing_needs_little_memory_beside_the_model(tmp_path: Path) -> None:
    """Blocks go out one by one: 20,000 users of 1 kB each are written with some 100 bytes a user."""
    n_users = 20_000
    model = made_model([str(n) for n in range(n_users)], k=250)
    tracemalloc.start()
    buckets = write_users(model, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert buckets == n_users // 4
    assert (tmp_path / "users.bin").stat().st_size > 1000 * n_users
    assert peak < 150 * n_users + (4 << 20)


def test_the_files_do_not_depend_on_memory_order(tmp_path: Path) -> None:
    """Arrays that are not C-ordered, or of the other byte order, give the same bytes."""
    model = made_model()
    h = model.histories
    strange = made_model()
    object.__setattr__(strange, "user_vectors", np.asfortranarray(model.user_vectors))
    object.__setattr__(strange, "histories", Histories(h.indptr, h.items.astype(">u4"), h.ratings, h.weights))
    for name, each in (("a", model), ("b", strange)):
        (tmp_path / name).mkdir()
        write_users(each, tmp_path / name)
    for file in ("users.bin", "users.index"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_memory_does_not_grow_with_the_users_who_were_read(file_store: ObjectStore) -> None:
    """Ten thousand users of 2 kB, mapped: what is resident stays well below the file, and what was read
    before stays what it was."""
    model = made_model([str(n) for n in range(10_000)], k=500)
    side = UserStore(file_store, read_manifest(file_store, stored(file_store, model)))
    first = side.read("7")
    assert first is not None
    before = psutil.Process().memory_full_info().pss
    for user_id in model.user_ids:
        assert side.read(user_id) is not None
    grown = psutil.Process().memory_full_info().pss - before
    assert grown < 0.7 * side._manifest.files["users.bin"].size
    assert first.vector.tolist() == model.user_vectors[7].tolist()
