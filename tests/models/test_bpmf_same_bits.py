"""The Bayesian SVD comes to the same bits: resumed after a kill, on any number of threads, on any processor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.support.killed import Killed
from tests.support.synthetic_data import sample_pairs, two_group_ratings

from marquee.models.bpmf import kernel
from marquee.models.bpmf.gibbs import Budget, ModelShape, fit_bpmf


def chain(user: np.ndarray, item: np.ndarray, **more: object) -> np.ndarray:
    options = {"shape": ModelShape(15, 8), "budget": Budget(12, burn_in=4), "seed": 7} | more
    factors = fit_bpmf(user, item, two_group_ratings(user, item), (60, 50), **options).factors  # type: ignore[arg-type]
    return np.concatenate([factors.user_vectors.ravel(), factors.item_vectors.ravel(), factors.item_biases])


def test_a_run_that_was_killed_ends_as_it_would_have(tmp_path: Path) -> None:
    """From its checkpoint the chain goes on to the same numbers, bit for bit."""
    user, item = sample_pairs(60, 50, 0.3, 0)
    whole = chain(user, item)
    seen: list[int] = []

    def killer(done: int, sweeps: int) -> None:
        seen.append(done)
        if done == 9:
            raise Killed

    path = tmp_path / "chain.npz"
    with pytest.raises(Killed):
        chain(user, item, progress=killer, checkpoint_path=path, checkpoint_every_s=0.0)
    seen.clear()
    resumed = chain(
        user,
        item,
        progress=lambda done, sweeps: seen.append(done),
        checkpoint_path=path,
        checkpoint_every_s=0.0,
    )
    assert seen[0] == 9, "sweeps 1 to 8 were on disk"
    assert np.array_equal(resumed, whole)
    assert not path.exists()


CHECKPOINTED = """
import hashlib, sys, time
from pathlib import Path
from tests.models.test_bpmf_same_bits import chain
from tests.support.synthetic_data import sample_pairs
slowly = lambda done, sweeps: time.sleep(0.05)
more = {"checkpoint_path": Path(sys.argv[1]), "checkpoint_every_s": 0.0, "progress": slowly} if sys.argv[1:] else {}
print(hashlib.sha256(chain(*sample_pairs(60, 50, 0.3, 0), **more).tobytes()).hexdigest())
"""


def test_a_killed_process_is_resumed(tmp_path: Path) -> None:
    """SIGKILL at any moment, three times: the process after them gives the bits of one that was left alone."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    path = tmp_path / "chain.npz"

    def run(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CHECKPOINTED, *arguments]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    alone = run().communicate()[0]
    for _ in range(3):
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = run(str(path))
        while process.poll() is None and not (path.exists() and path.stat().st_mtime_ns > before):
            time.sleep(0.01)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert alone
    assert run(str(path)).communicate()[0] == alone
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", b"not a checkpoint at all"])
def test_a_broken_or_foreign_checkpoint_is_ignored(tmp_path: Path, content: bytes) -> None:
    user, item = sample_pairs(60, 50, 0.3, 0)
    path = tmp_path / "chain.npz"
    path.write_bytes(content)
    assert np.array_equal(chain(user, item, checkpoint_path=path), chain(user, item))


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


def said(program: str, **settings: str) -> str:
    """What a process of its own prints, with these variables in its environment."""
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = os.environ | settings | {"PYTHONPATH": paths}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_any_number_of_threads_gives_the_same_bits() -> None:
    one, two = (said(CHAIN, NUMBA_NUM_THREADS=n, OPENBLAS_NUM_THREADS=n) for n in ("1", "2"))
    assert one == two


def test_any_processor_draws_the_same_bits(tmp_path: Path) -> None:
    """Compiled for the oldest processor there is, with neither wide registers nor fused multiply-adds."""
    oldest = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    assert said(DRAW, **oldest) == said(DRAW)


def test_no_compiled_function_may_change_a_sum() -> None:
    """The same bits by construction, not by luck: nothing in the kernel is compiled with leave to change how
    floats are added up."""
    compiled = {name: f for name, f in vars(kernel).items() if hasattr(f, "targetoptions")}
    assert compiled.keys() >= {"draw_side", "squared_residuals", "sums_by_column", "_add_gram", "_factorize"}
    for name, function in compiled.items():
        assert not function.targetoptions.get("fastmath", False), name
