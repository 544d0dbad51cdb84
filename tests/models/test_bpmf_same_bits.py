"""BPMF gives the same bits when resumed after a kill, with any number of threads, and on any processor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.killed import Killed
from tests.support.synthetic_data import sample_pairs, two_group_ratings

from marquee.models.bpmf import kernel
from marquee.models.bpmf.gibbs import BpmfParams, fit_bpmf


def chain(user: np.ndarray, item: np.ndarray, checkpoint: Path | None = None, **options: Any) -> np.ndarray:
    params = BpmfParams(15, 8, sweeps=12, burn_in=4, checkpoint=str(checkpoint) if checkpoint else None)
    factors = fit_bpmf(user, item, two_group_ratings(user, item), (60, 50), params, seed=7, **options).factors
    return np.concatenate([factors.user_vectors.ravel(), factors.item_vectors.ravel(), factors.item_biases])


def test_fit_bpmf_resumed_from_checkpoint_gives_same_bits(tmp_path: Path) -> None:
    """A chain resumed from its checkpoint ends with the bits of an uninterrupted one."""
    user, item = sample_pairs(60, 50, 0.3, 0)
    uninterrupted = chain(user, item)
    seen: list[int] = []

    def kill_at_nine(done: int, sweeps: int) -> None:
        assert sweeps == 12
        seen.append(done)
        if done == 9:
            raise Killed

    path = tmp_path / "chain.npz"
    with pytest.raises(Killed):
        chain(user, item, progress=kill_at_nine, checkpoint=path, checkpoint_every_s=0.0)
    seen.clear()
    resumed = chain(
        user,
        item,
        progress=lambda done, _: seen.append(done),
        checkpoint=path,
        checkpoint_every_s=0.0,
    )
    assert seen[0] == 9, "sweeps 1 to 8 were on disk"
    assert np.array_equal(resumed, uninterrupted)
    assert not path.exists()


CHECKPOINTED = """
import hashlib, sys, time
from pathlib import Path
from typing import Any
from tests.models.test_bpmf_same_bits import chain
from tests.support.synthetic_data import sample_pairs
slowly = lambda *_: time.sleep(0.05)
more = {"checkpoint": Path(sys.argv[1]), "checkpoint_every_s": 0.0, "progress": slowly} if sys.argv[1:] else {}
print(hashlib.sha256(chain(*sample_pairs(60, 50, 0.3, 0), **more).tobytes()).hexdigest())
"""


def test_fit_bpmf_killed_process_resumes_to_same_bits(tmp_path: Path) -> None:
    """After three SIGKILLs at any time, the next process gives the bits of an uninterrupted one."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    path = tmp_path / "chain.npz"

    def run(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CHECKPOINTED, *arguments]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    uninterrupted = run().communicate()[0]
    for _ in range(3):
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = run(str(path))
        while process.poll() is None and not (path.exists() and path.stat().st_mtime_ns > before):
            time.sleep(0.01)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert uninterrupted
    assert run(str(path)).communicate()[0] == uninterrupted
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", b"not a checkpoint at all"])
def test_fit_bpmf_unreadable_checkpoint_is_ignored(tmp_path: Path, content: bytes) -> None:
    """A checkpoint that cannot be read does not change the result."""
    user, item = sample_pairs(60, 50, 0.3, 0)
    path = tmp_path / "chain.npz"
    path.write_bytes(content)
    assert np.array_equal(chain(user, item, checkpoint=path), chain(user, item))


CHAIN = """
from tests.models.test_bpmf_same_bits import chain
from tests.support.synthetic_data import sample_pairs
import hashlib
print(hashlib.sha256(chain(*sample_pairs(60, 50, 0.3, 0)).tobytes()).hexdigest())
"""


DRAW = """
import hashlib
import numpy as np
from tests.models.test_bpmf_draws import _draw_once
normals = np.random.default_rng(0).standard_normal((13, 16)).astype(np.float32)
print(hashlib.sha256(_draw_once(normals)[0].tobytes()).hexdigest())
"""


def run_program(program: str, **settings: str) -> str:
    """Return the output of a new process with these variables in its environment."""
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | settings | {"PYTHONPATH": paths}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_fit_bpmf_number_of_threads_does_not_change_bits() -> None:
    """One thread and two threads give equal bits."""
    one, two = (run_program(CHAIN, NUMBA_NUM_THREADS=n, OPENBLAS_NUM_THREADS=n) for n in ("1", "2"))
    assert one == two


def test_draw_side_processor_does_not_change_bits(tmp_path: Path) -> None:
    """Code for the oldest processor, without wide registers and fused multiply-adds, gives the same bits."""
    oldest = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    assert run_program(DRAW, **oldest) == run_program(DRAW)


def test_kernel_is_compiled_without_fast_math() -> None:
    """No function of the kernel may be compiled with permission to reorder sums."""
    compiled = {name: f for name, f in vars(kernel).items() if hasattr(f, "targetoptions")}
    assert compiled.keys() >= {"draw_side", "squared_residuals", "sums_by_column", "_add_gram", "_factorize"}
    for name, function in compiled.items():
        assert not function.targetoptions.get("fastmath", False), name
