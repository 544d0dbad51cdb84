"""Checkpoint of a Gibbs chain, from which a killed fit resumes. Plain arrays, no pickle."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from marquee.config.atomic_file import atomic_path
from marquee.models.bpmf.posterior import Posterior
from marquee.models.bpmf.sampler import Sampler, Side

Arrays = dict[str, NDArray[np.generic]]


def save_checkpoint(path: Path, key: str, chain: Sampler, posterior: Posterior) -> None:
    """Write the chain to ``path`` atomically; ``key`` identifies its data and parameters."""
    arrays: Arrays = {"key": np.array(key), "sweeps": np.array(chain.sweeps), "alpha": np.array(chain.alpha)}
    arrays["rng"] = np.array(json.dumps(chain.rng.bit_generator.state))
    arrays |= _side_arrays("users", chain.users) | _side_arrays("items", chain.items)
    if posterior.samples:
        arrays |= {f"posterior.{name}": array for name, array in posterior.state().items()}
    with atomic_path(path, durable=True) as temporary, temporary.open("wb") as out:
        np.savez(out, **arrays)  # type: ignore[arg-type]


def load_checkpoint(path: Path, key: str, chain: Sampler, posterior: Posterior) -> bool:
    """Restore ``chain`` and ``posterior`` from ``path``; return False if it is unreadable or has another key."""
    try:
        # Opened here, because numpy does not close a file that is not an archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays: Arrays = {name: stored[name] for name in stored.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile):
        return False
    if str(arrays.get("key")) != key:
        return False
    chain.sweeps, chain.alpha = int(arrays["sweeps"]), float(arrays["alpha"])
    chain.rng.bit_generator.state = json.loads(str(arrays["rng"]))
    for name, side in (("users", chain.users), ("items", chain.items)):
        _restore_side(name, side, arrays)
    state = {name.removeprefix("posterior."): a for name, a in arrays.items() if name.startswith("posterior.")}
    if state:
        posterior.restore(state)
    return True


def _side_arrays(name: str, side: Side) -> Arrays:
    links = {f"{name}.link{k}": link for k, link in enumerate(side.links)}
    return {
        f"{name}.vectors": side.vectors,
        f"{name}.noise": side.noise,
        f"{name}.link_precision": np.array(side.link_precision),
        **links,
    }


def _restore_side(name: str, side: Side, arrays: Arrays) -> None:
    side.vectors[:] = arrays[f"{name}.vectors"]
    side.noise[:] = arrays[f"{name}.noise"]
    side.link_precision[:] = arrays[f"{name}.link_precision"].tolist()
    for k, link in enumerate(side.links):
        link[:] = arrays[f"{name}.link{k}"]
