"""The parts of a backtest, run in processes; each result is stored, so that a killed run resumes."""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path

import msgspec
import numpy as np

import marquee
from marquee.backtest import engine_replay, running_models
from marquee.backtest.backtest_plan import BacktestPlan, Block, ServedModel, make_blocks
from marquee.backtest.engine_replay import Arrays
from marquee.backtest.event_stream import EventStream
from marquee.config.atomic_file import atomic_path
from marquee.models.trainer_port import ProgressCallback, no_progress
from marquee.training.params import Params

SURPRISE = "surprise SVD"
_LIBRARY = Path(marquee.__file__).parent
# Packages whose code determines the results.
_PACKAGES = ("backtest", "training", "models", "data", "scoring", "registry", "serving", "config")


class Job(msgspec.Struct, frozen=True):
    """One part: a candidate on one block, or a running baseline on all of them."""

    candidate: str
    block: Block
    model: ServedModel | None = None


@dataclass(frozen=True, slots=True)
class BacktestInputs:
    """All inputs of the results. ``catalog``: ids of movies that are part of the data without an event."""

    stream: EventStream
    plan: BacktestPlan
    params: Params
    catalog: Collection[str] = ()


def list_jobs(inputs: BacktestInputs) -> list[Job]:
    """Return all jobs, the longest first."""
    blocks = make_blocks(inputs.plan, inputs.stream)
    whole = Block(blocks[0].first, blocks[-1].last, blocks[-1].last)
    running = [running_models.BIASES, running_models.POPULARITY]
    if running_models.has_river():
        running.insert(0, running_models.RIVER)
    jobs = [Job(name, whole) for name in running]
    for number, model in enumerate(inputs.plan.models):
        # Only the first model's staleness is reported.
        used = blocks if number == 0 else [Block(block.first, block.last, block.last) for block in blocks]
        jobs += [Job(model.name, block, model) for block in used]
    return jobs + [Job(SURPRISE, block) for block in blocks]


def run_jobs(
    inputs: BacktestInputs, directory: Path, *, workers: int = 1, progress: ProgressCallback = no_progress
) -> list[tuple[Job, Arrays]]:
    """Return each job with its result; reuse results in ``directory`` that have the same inputs and code."""
    jobs, digest = list_jobs(inputs), _hash_inputs(inputs)
    paths = [directory / f"{_job_key(digest, job)}.npz" for job in jobs]
    missing = [number for number, path in enumerate(paths) if _read(path) is None]
    done = len(jobs) - len(missing)
    progress("backtest", done / len(jobs))
    for _ in _compute(inputs, [(jobs[number], paths[number]) for number in missing], workers):
        done += 1
        progress("backtest", done / len(jobs))
    return [(job, _read_stored(path)) for job, path in zip(jobs, paths, strict=True)]


def _compute(inputs: BacktestInputs, missing: list[tuple[Job, Path]], workers: int) -> Iterator[None]:
    """Compute and store the missing results; yield once for each."""
    if workers == 1 or len(missing) <= 1:
        for job, path in missing:
            _store(path, run_job(inputs, job))
            yield
        return
    # Spawned, because compiled kernels and BLAS have threads that a fork would not copy.
    with ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (inputs,)) as pool:
        for future in as_completed([pool.submit(_run_in_worker, job, path) for job, path in missing]):
            future.result()
            yield


_worker_inputs: BacktestInputs | None = None


def _start_worker(inputs: BacktestInputs) -> None:
    global _worker_inputs  # Sent once to each process, for all its jobs.
    _worker_inputs = inputs
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent has ended, because no one would read the result."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_in_worker(job: Job, path: Path) -> None:
    assert _worker_inputs is not None
    _store(path, run_job(_worker_inputs, job))


def run_job(inputs: BacktestInputs, job: Job) -> Arrays:
    """Compute one job; return its arrays by name."""
    stream, plan, params = inputs.stream, inputs.plan, inputs.params
    if job.model is not None:
        return engine_replay.replay_served_model(job.model, stream, job.block, params, inputs.catalog, plan.list_length)
    if job.candidate == SURPRISE:
        return engine_replay.replay_surprise(stream, job.block, params, inputs.catalog)
    first, last = job.block.first, job.block.last
    if job.candidate == running_models.POPULARITY:
        return running_models.run_popularity(stream, first, last, plan.list_length, params.popularity)
    return running_models.run_rating_model(job.candidate, stream, first, last, params.seed)


def _store(path: Path, arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, durable=True) as temporary, temporary.open("wb") as out:
        np.savez_compressed(out, **arrays)  # type: ignore[arg-type]


def _read(path: Path) -> Arrays | None:
    """Return a stored result; None if there is none or it is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, KeyError):
        return None


def _read_stored(path: Path) -> Arrays:
    arrays = _read(path)
    if arrays is None:
        raise OSError(f"{path} was just stored, but cannot be read; check the disk and run the backtest again")
    return arrays


def _hash_inputs(inputs: BacktestInputs) -> str:
    digest = hashlib.sha256(inputs.stream.dataset.sha256().encode())
    digest.update(msgspec.json.encode((inputs.params, inputs.plan.list_length, sorted(inputs.catalog))))
    for package in _PACKAGES:
        for path in sorted((_LIBRARY / package).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _job_key(digest: str, job: Job) -> str:
    return hashlib.sha256(digest.encode() + msgspec.json.encode(job)).hexdigest()[:32]
