"""Tests of the user store: it finds exactly the users that were written, and detects wrong bytes."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.registry.models import forge, make_model, overwrite, store_model

from marquee.errors import ArtifactRefused
from marquee.registry.manifest import object_name, read_manifest
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import Object, ObjectStore
from marquee.registry.trained_model import Histories, TrainedModel
from marquee.registry.user_store import UserStore, user_bucket, write_users

IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


class _RemoteStore:
    """A store that cannot be mapped, and records its ranged reads."""

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
def test_read_returns_each_written_user(
    tmp_path_factory: pytest.TempPathFactory, ids: set[str], others: set[str], mapped: bool, seed: int
) -> None:
    """For any ids and any number of users in a bucket; a user that was not written is None."""
    store = connect(tmp_path_factory.mktemp("users").as_uri())
    model = make_model(sorted(ids), seed=seed)
    manifest = read_manifest(store, store_model(store, model))
    users = UserStore(store if mapped else _RemoteStore(store), manifest)  # type: ignore[arg-type]
    h = model.histories
    for user, user_id in enumerate(model.user_ids):
        record = users.read(user_id)
        assert record is not None
        assert record.user_id == user_id
        assert record.bias == model.user_biases[user]
        np.testing.assert_array_equal(record.vector, model.user_vectors[user])
        rows = slice(h.indptr[user], h.indptr[user + 1])
        np.testing.assert_array_equal(record.items, h.items[rows])
        np.testing.assert_array_equal(record.ratings, h.ratings[rows])
        np.testing.assert_array_equal(record.weights, h.weights[rows])
    for user_id in others - ids:
        assert users.read(user_id) is None


def test_read_id_that_is_not_utf8_returns_none(file_store: ObjectStore) -> None:
    """No writer accepts such an id, so it is unknown and no error."""
    users = UserStore(file_store, read_manifest(file_store, store_model(file_store)))
    assert users.read("\ud800") is None


def test_user_bucket_known_digest_is_fixed() -> None:
    """SHA-256, its first 8 bytes, big endian: today's artifacts stay readable."""
    # sha256("514537") = a2879facb68ccd42... by sha256sum(1).
    assert user_bucket("514537", 2**64) == 0xA2879FACB68CCD42
    assert user_bucket("514537", 1) == 0


def test_read_costs_two_ranged_reads(file_store: ObjectStore) -> None:
    """Whatever the number of users."""
    version = store_model(file_store, make_model([str(n) for n in range(500)]))
    remote = _RemoteStore(file_store)
    users = UserStore(remote, read_manifest(file_store, version))  # type: ignore[arg-type]
    assert users.read("123") is not None
    assert users.read("unknown") is None
    assert remote.ranges == ["users.index", "users.bin"] * 2


@pytest.mark.parametrize("mapped", [True, False])
def test_read_flipped_bit_is_refused_in_one_bucket(file_store: ObjectStore, mapped: bool) -> None:
    """A wrong byte in index or blocks never gives a wrong user; users of other buckets are not affected."""
    ids = [f"user {n}" for n in range(24)]
    version = store_model(file_store, make_model(ids))
    manifest = read_manifest(file_store, version)
    for file in ("users.bin", "users.index"):
        content = file_store.get(object_name(version, file)).data
        for at in range(0, len(content), 17 if file == "users.bin" else 1):
            overwrite(file_store, version, file, content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :])
            users = UserStore(file_store if mapped else _RemoteStore(file_store), manifest)  # type: ignore[arg-type]
            refused = {user_bucket(i, manifest.buckets) for i in ids if _is_refused(users, i)}
            assert len(refused) == 1, (file, at)
        overwrite(file_store, version, file, content)


def _is_refused(users: UserStore, user_id: str) -> bool:
    try:
        return users.read(user_id) is None
    except ArtifactRefused:
        return True


def open_users_of(file_store: ObjectStore, model: TrainedModel) -> UserStore:
    """Return the users of ``model`` under the manifest of another one."""
    version, other = store_model(file_store), store_model(file_store, model)
    for file in ("users.index", "users.bin"):
        forge(file_store, version, file, file_store.get(object_name(other, file)).data)
    return UserStore(file_store, read_manifest(file_store, version))


def test_read_blocks_of_another_artifact_are_refused(file_store: ObjectStore) -> None:
    """A manifest that does not fit the blocks raises an expected error."""
    users = open_users_of(file_store, make_model(k=9))
    for user_id in make_model().user_ids:
        assert _is_refused(users, user_id)


def test_read_item_row_out_of_range_is_refused(file_store: ObjectStore) -> None:
    """A history cannot point outside of the item factors."""
    users = open_users_of(file_store, make_model(n_items=3000))
    with pytest.raises(ArtifactRefused, match="movies that do not exist"):
        users.read("dora")


def test_write_users_needs_little_memory(tmp_path: Path) -> None:
    """Blocks are written one by one: 20,000 users of 1 kB need about 100 bytes a user beside the model."""
    n_users = 20_000
    model = make_model([str(n) for n in range(n_users)], k=250)
    tracemalloc.start()
    buckets = write_users(model, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert buckets == n_users // 4
    assert (tmp_path / "users.bin").stat().st_size > 1000 * n_users
    assert peak < 150 * n_users + (4 << 20)


def test_write_users_memory_order_does_not_matter(tmp_path: Path) -> None:
    """Arrays in Fortran order, or of the other byte order, give the same bytes."""
    model = make_model()
    h = model.histories
    strange = make_model()
    object.__setattr__(strange, "user_vectors", np.asfortranarray(model.user_vectors))
    object.__setattr__(strange, "histories", Histories(h.indptr, h.items.astype(">u4"), h.ratings, h.weights))
    for name, each in (("a", model), ("b", strange)):
        (tmp_path / name).mkdir()
        write_users(each, tmp_path / name)
    for file in ("users.bin", "users.index"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_read_many_users_does_not_grow_memory(file_store: ObjectStore) -> None:
    """Ten thousand users of 2 kB, mapped: resident memory stays well below the size of the file, and earlier
    records keep their values.
    """
    model = make_model([str(n) for n in range(10_000)], k=500)
    manifest = read_manifest(file_store, store_model(file_store, model))
    users = UserStore(file_store, manifest)
    first = users.read("7")
    assert first is not None
    before = psutil.Process().memory_full_info().pss
    for user_id in model.user_ids:
        assert users.read(user_id) is not None
    grown = psutil.Process().memory_full_info().pss - before
    assert grown < 0.7 * manifest.files["users.bin"].size
    assert first.vector.tolist() == model.user_vectors[7].tolist()
