"""Random models of any size, and functions as processes, for the benchmarks of serving."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import psutil

from benchmarks.load import LoadResult, load
from marquee.local.process import free_port
from marquee.registry.artifact import write_artifact
from marquee.registry.movie_metadata import MovieMetadata
from marquee.registry.object_store.file_store import FileStore
from marquee.registry.rollout import promote
from marquee.registry.trained_model import Histories, TrainedModel

ROOT = Path(__file__).parents[1]
MOVIES = 27_000
# Movies that each random user has seen.
HISTORY = 10

HELLO = """
import functions_framework

@functions_framework.http
def hello(request):
    return "Hello, world!"
"""


def random_model(users: int, factors: int, *, movies: int = MOVIES, seed: int = 1) -> TrainedModel:
    """Return a model of random vectors, because the cost of an answer does not depend on their values."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(0.1)

    seen = rng.integers(0, movies, users * HISTORY)
    return TrainedModel(
        user_ids=[str(u) for u in range(users)],
        movie_ids=[f"film+number+{i}+{1950 + i % 70}" for i in range(movies)],
        mean=3.5,
        user_biases=normal(users),
        user_vectors=normal(users, factors),
        item_biases=normal(movies),
        item_vectors=normal(movies, factors),
        rank_items=normal(movies, factors),
        rank_history=normal(movies, factors),
        popularity=np.abs(normal(movies)),
        histories=Histories.from_entries(users, np.repeat(np.arange(users), HISTORY), seen, np.full(len(seen), 4.0)),
        rating_min=1.0,
        rating_max=5.0,
        prior_mean=np.zeros(factors + 1, np.float32),
        prior_precision=np.eye(factors + 1, dtype=np.float32),
        noise_precision=1.0,
        metadata=_random_metadata(movies, rng),
        trend=np.exp(normal(movies)),
        popularity_columns=1,
    )


def _random_metadata(movies: int, rng: np.random.Generator) -> MovieMetadata:
    """Return titles, and attributes in about the proportions of MovieLens."""
    genres = [f"genre {number}" for number in range(19)]
    drawn = rng.geometric(0.15, (movies, 3)) % 19
    many = rng.integers(1, 4, movies)
    return MovieMetadata(
        titles=tuple(f"Movie number {i}" for i in range(movies)),
        years=tuple((1950 + np.minimum(rng.gamma(6, 6, movies), 70)).astype(int).tolist()),
        genres=tuple("|".join(dict.fromkeys(genres[g] for g in row[:n])) for row, n in zip(drawn, many, strict=True)),
        languages=tuple(rng.choice(["en", "en", "en", "fr", "de", "hi"], movies).tolist()),
        countries=tuple(rng.choice(["us", "us", "fr", "gb|us", "de|fr", "in"], movies).tolist()),
        ages=tuple(rng.choice([-1, 0, 6, 12, 16, 17, 18], movies).tolist()),
        costs=tuple(np.round(rng.uniform(0.01, 1.0, movies), 2).tolist()),
    )


@cache
def scratch() -> Path:
    """Return a directory that exists until the process ends."""
    return Path(_scratch.name)


_scratch = tempfile.TemporaryDirectory(prefix="marquee-bench-")


@cache
def store(users: int, factors: int) -> FileStore:
    """Return a store with one released model of that size."""
    objects = FileStore(scratch() / f"objects-{users}-{factors}")
    version = write_artifact(objects, random_model(users, factors), trained_through=datetime(2026, 1, 1, tzinfo=UTC))
    promote(objects, version, author="benchmark")
    return objects


class Instance:
    """One function under functions-framework with one worker of eight threads, timed from its start."""

    def __init__(self, target: str, source: Path, env: Mapping[str, str]) -> None:
        self.port = free_port()
        argv = [str(Path(sys.executable).parent / "functions-framework"), "--source", str(source)]
        argv += ["--target", target, "--host", "127.0.0.1", "--port", str(self.port)]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MARQUEE_")}
        clean |= {"PYTHONPATH": str(ROOT / "shared"), "WORKERS": "1", "THREADS": "8", **env}
        # pip compiles what it installs, so bytecode is allowed even where the environment forbids it.
        clean |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(scratch() / "bytecode")}
        self._started = time.perf_counter()
        self.process = subprocess.Popen(
            argv, env=clean, cwd=scratch(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def first_answer_ms(self, path: str) -> float:
        """Return the ms from the process's start until ``path``, requested repeatedly, is answered with 200."""
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port)) as connection:
                    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
                    connection.sendall(request.encode())
                    answer = b"".join(iter(lambda: connection.recv(65_536), b""))
                if answer.split(b" ", 2)[1] != b"200":
                    raise RuntimeError(answer.decode(errors="replace"))
                return (time.perf_counter() - self._started) * 1000
            except ConnectionRefusedError:
                if self.process.poll() is not None:
                    raise RuntimeError(
                        f"the function exited with {self.process.returncode} before its first answer"
                    ) from None
                time.sleep(0.001)

    def processor_ms(self) -> float:
        """Return the processor time of the process and its worker in ms; other load affects it less than wall time."""
        parent = psutil.Process(self.process.pid)
        # clock_getcpuclockid(3)
        clocks = [((~process.pid) << 3) | 2 for process in (parent, *parent.children(recursive=True))]
        return sum(map(time.clock_gettime, clocks)) * 1000

    def resident_mb(self) -> float:
        """Return the proportional set size (PSS) of the process and its worker in MB of 10^6 bytes."""
        parent = psutil.Process(self.process.pid)
        return sum(p.memory_full_info().pss for p in (parent, *parent.children(recursive=True))) / 1e6

    def stop(self) -> None:
        """Terminate the process and wait for its end."""
        self.process.terminate()
        self.process.wait()


@contextmanager
def run_hello_world() -> Iterator[Instance]:
    """Run a function that answers a constant."""
    source = scratch() / "hello" / "main.py"
    source.parent.mkdir(exist_ok=True)
    source.write_text(HELLO)
    with _running(Instance("hello", source, {})) as instance:
        yield instance


@contextmanager
def run_recommend(objects: FileStore, **settings: str) -> Iterator[Instance]:
    """Run `recommend` without a database."""
    env = {"MARQUEE_OBJECTS_URL": f"file://{objects.root}"}
    env |= {f"MARQUEE_{name.upper()}": value for name, value in settings.items()}
    with _running(Instance("recommend", ROOT / "functions/recommend/main.py", env)) as instance:
        yield instance


@contextmanager
def run_function(name: str, **settings: str) -> Iterator[Instance]:
    """Run a function of functions/ with these settings."""
    env = {f"MARQUEE_{setting.upper()}": value for setting, value in settings.items()}
    with _running(Instance(name, ROOT / f"functions/{name}/main.py", env)) as instance:
        yield instance


@contextmanager
def _running(instance: Instance) -> Iterator[Instance]:
    try:
        yield instance
    finally:
        instance.stop()


def load_instance(
    instance: Instance, path: Callable[[int], str], *, connections: int, seconds: float, accept: str = "*/*"
) -> LoadResult:
    """Load an instance as :func:`load` does, and measure its processor time per request."""
    before = instance.processor_ms()
    result = load(instance.port, path, connections=connections, seconds=seconds, accept=accept)
    result.processor_us = (instance.processor_ms() - before) * 1000 / len(result.ms)
    return result
