"""A bad model for a demo: a copy of the serving one with shuffled item vectors, started as a canary."""

from __future__ import annotations

import hashlib
import io

import msgspec
import numpy as np

from marquee.errors import PreconditionFailed, ReleaseError
from marquee.experiments.declaration import parse_declaration
from marquee.experiments.lifecycle import start
from marquee.registry.manifest import MANIFEST, FileEntry, encode_manifest, object_name, read_manifest
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release, find_serving_release

SHUFFLED = ("item_vectors.npy", "rank_items.npy")
"""Files whose rows are shuffled: predictions and lists then belong to other movies."""
_SEED = 20260302
# A tenth of the users gets it immediately, so that its lists are seen. It is rolled back long before the planned end.
_DECLARATION = {
    "kind": "canary",
    "ladder": [0.1, 0.5],
    "guardrails": {"answered": 0.005, "rates": "2 %", "ranks": 0.02},
    "dwell_min": 0.25,
    "ends": {"after_min": 30, "undecided": "control"},
}


def stage_bad_canary(store: ObjectStore) -> Release:
    """Store a bad copy of the serving model and start its canary. Raises :class:`ReleaseError` without a release."""
    serving = find_serving_release(store)
    if serving is None:
        raise ReleaseError("no model serves yet, so no bad copy of one can be made")
    version = copy_shuffled(store, serving.arms[0].version)
    declaration = parse_declaration("staged", _DECLARATION)
    return start(store, declaration, version=version, author="demo", reason="a bad model, staged for this demo")


def copy_shuffled(store: ObjectStore, version: str) -> str:
    """Store a copy of an artifact whose item vectors belong to other movies; return its version."""
    manifest = read_manifest(store, version)
    contents = {file: store.get(object_name(version, file)).data for file in manifest.files}
    for file in SHUFFLED:
        contents[file] = _shuffle_rows(contents[file])
    files = {file: FileEntry(len(data), hashlib.sha256(data).hexdigest()) for file, data in contents.items()}
    mark = hashlib.sha256("".join(entry.sha256 for entry in files.values()).encode()).hexdigest()[:8]
    copy = f"{version.rpartition('-')[0]}-{mark}"
    # Without the smoke cases of the original, which a shuffled model does not reproduce.
    changed = msgspec.structs.replace(manifest, version=copy, files=files, smoke=())
    for file, data in {**contents, MANIFEST: encode_manifest(changed)}.items():
        try:
            store.put_new(object_name(copy, file), data)
        except PreconditionFailed:
            continue  # Staged before.
    return copy


def _shuffle_rows(data: bytes) -> bytes:
    rows = np.load(io.BytesIO(data), allow_pickle=False)
    shuffled = io.BytesIO()
    order = np.random.default_rng(_SEED).permutation(len(rows))
    np.lib.format.write_array(shuffled, np.ascontiguousarray(rows[order]), version=(1, 0), allow_pickle=False)
    return shuffled.getvalue()
