"""Reproduction of a model from its manifest, compared with the original file by file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from marquee.data import deterministic_io, dvc_remote
from marquee.errors import ObjectNotFound, ReleaseError, SettingsError, TrainingDataError
from marquee.models.trainer_port import ProgressCallback, no_progress
from marquee.registry.artifact import write_artifact
from marquee.registry.lineage import list_version_differences
from marquee.registry.manifest import Manifest, read_manifest
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training import provenance
from marquee.training.params import Params
from marquee.training.pipeline import steps
from marquee.training.pipeline.check_step import read_checks
from marquee.training.pipeline.pipeline_run import SERVING_PROFILE, SNAPSHOT, TUNING_REPORT, PipelineRun
from marquee.training.pipeline.publish_step import load_full_model


@dataclass(frozen=True, slots=True)
class Reproduction:
    """Result of a reproduction.

    ``files``: for each file of the artifact, whether it is identical bit for bit. ``environment``:
    differences between the recorded environment and this one, a sentence each.
    """

    version: str
    rebuilt_version: str
    files: dict[str, bool]
    environment: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """True if the content hash and every file are the same."""
        return self.rebuilt_version == self.version and all(self.files.values())


def environment_differences(manifest: Manifest, commit: str = "") -> list[str]:
    """Return the differences between the recorded commit and libraries and those here, a sentence each."""
    origin, here = manifest.provenance, commit or provenance.git_commit()
    sentences = list_version_differences(origin.libraries, provenance.library_versions())
    if not origin.commit or not here:
        sentences.append(f"commit {origin.commit or 'unknown'} is recorded, {here or 'unknown'} is here")
    elif origin.commit != here:
        sentences.append(f"commit {origin.commit} is recorded, {here} is here")
    if origin.commit.endswith("-dirty"):
        sentences.append(
            f"the recorded working tree had changes that are not in {origin.commit.removesuffix('-dirty')}"
        )
    elif here.endswith("-dirty"):
        sentences.append("the working tree here has uncommitted changes")
    return sentences


def reproduce(
    store: ObjectStore,
    remote: ObjectStore,
    version: str,
    directory: Path,
    *,
    commit: str = "",
    progress: ProgressCallback = no_progress,
) -> Reproduction:
    """Train the model of the artifact ``version`` again in ``directory`` and compare it with the original.

    The snapshot comes from the DVC remote ``remote``. Nothing is written to ``store``.

    Raises :class:`ReleaseError` if there is no such artifact, :class:`TrainingDataError` if its snapshot is
    damaged or not in the remote, :class:`SettingsError` if this program has other parameters.
    """
    manifest = _read_manifest(store, version)
    params = _read_params(manifest)
    run = PipelineRun(directory, params, params.snapshot.to_request(), progress)
    _fetch_snapshot(remote, manifest, run)
    for step in ("check", "features", "train"):
        steps.STEPS[step].run(run)
    rebuilt_store = connect((directory / "data/objects").resolve().as_uri())
    rebuilt_version = write_artifact(
        rebuilt_store, load_full_model(run), trained_through=read_checks(run).profile.newest
    )
    rebuilt = read_manifest(rebuilt_store, rebuilt_version)
    files = {name: rebuilt.files.get(name) == entry for name, entry in manifest.files.items()}
    return Reproduction(version, rebuilt_version, files, tuple(environment_differences(manifest, commit)))


def _read_manifest(store: ObjectStore, version: str) -> Manifest:
    try:
        return read_manifest(store, version)
    except ObjectNotFound as error:
        raise ReleaseError(f"there is no artifact {version!r}; see `marquee release list`") from error


def _read_params(manifest: Manifest) -> Params:
    origin = manifest.provenance
    try:
        return msgspec.convert(origin.parameters, Params)
    except msgspec.ValidationError as error:
        raise SettingsError(
            f"{manifest.version} was trained by a program with other parameters ({error}): run "
            f"`marquee reproduce` in a checkout of commit {origin.commit or 'unknown'}"
        ) from error


def _fetch_snapshot(remote: ObjectStore, manifest: Manifest, run: PipelineRun) -> None:
    content = manifest.provenance.snapshot
    if not content:
        raise TrainingDataError(
            f"the manifest of {manifest.version} names no snapshot, so the model cannot be reproduced"
        )
    try:
        dvc_remote.fetch(remote, content, run.path(SNAPSHOT))
    except ObjectNotFound as error:
        raise TrainingDataError(
            f"the snapshot {content} of {manifest.version} is not in this remote: was MARQUEE_DVC_REMOTE "
            "set, or `dvc push` run, when the model was trained?"
        ) from error
    # The profile of the serving model affects the release, not the model. Its chosen parameters do: they were the
    # start of the search, so the search is not run again, and its result is taken from the manifest.
    deterministic_io.write_json(run.path(SERVING_PROFILE), None)
    deterministic_io.write_json(run.path(TUNING_REPORT), manifest.provenance.tuning)
