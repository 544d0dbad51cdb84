"""A model made again from what its manifest names, and compared with it file by file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from marquee.data import deterministic_io, dvc_remote
from marquee.errors import ObjectNotFound, ReleaseError, SettingsError, TrainingDataError
from marquee.models.trainer_port import Progress, no_progress
from marquee.registry.artifact import write_artifact
from marquee.registry.lineage import list_version_differences
from marquee.registry.manifest import Manifest, read_manifest
from marquee.registry.object_store.connect import connect
from marquee.registry.object_store.object_store import ObjectStore
from marquee.training import provenance
from marquee.training.params import Params
from marquee.training.pipeline import pipeline_run, steps
from marquee.training.publish import whole_model


@dataclass(frozen=True, slots=True)
class Reproduction:
    """``files``: name of each file of the artifact -> whether it came out the same, bit for bit.

    ``environment``: what is another here than it was then, and may be why.
    """

    version: str
    made: str
    files: dict[str, bool]
    environment: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether it is the same model: content hash and every file."""
        return self.made == self.version and all(self.files.values())


def environment_differences(manifest: Manifest, commit: str = "") -> list[str]:
    """In what the program, its libraries and its working tree differ from what was recorded."""
    origin, here = manifest.provenance, commit or provenance.git_commit()
    found = list_version_differences(origin.libraries, provenance.libraries())
    if not origin.commit or not here:
        found.append(f"commit {origin.commit or 'unknown'} is recorded, {here or 'unknown'} is here")
    elif origin.commit != here:
        found.append(f"commit {origin.commit} is recorded, {here} is here")
    if origin.commit.endswith("-dirty"):
        found.append(
            f"the working tree had changes that {origin.commit.removesuffix('-dirty')} does not hold"
        )
    elif here.endswith("-dirty"):
        found.append("the working tree here has changes that no commit holds")
    return found


def reproduce(
    store: ObjectStore,
    kept: ObjectStore,
    version: str,
    directory: Path,
    *,
    commit: str = "",
    progress: Progress = no_progress,
) -> Reproduction:
    """Fetch the snapshot of ``version`` from the DVC remote ``kept`` into ``directory``, run the steps that
    make the model, and compare. Nothing in ``store`` changes.

    Raises :class:`ReleaseError` if there is no such artifact, :class:`TrainingDataError` if its snapshot is
    not in the remote or damaged, :class:`SettingsError` if this program has other parameters.
    """
    manifest = _manifest(store, version)
    params = _params(manifest)
    run = pipeline_run.PipelineRun(directory, params, params.snapshot.to_request(), progress=progress)
    _fetch(kept, manifest, run)
    for step in ("check", "features", "train"):
        steps.STEPS[step].run(run)
    made_in = connect((directory / "data/objects").resolve().as_uri())
    made = write_artifact(
        made_in, whole_model(run), trained_through=pipeline_run.read_checks(run).profile.newest
    )
    rebuilt = read_manifest(made_in, made)
    files = {name: rebuilt.files.get(name) == entry for name, entry in manifest.files.items()}
    return Reproduction(version, made, files, tuple(environment_differences(manifest, commit)))


def _manifest(store: ObjectStore, version: str) -> Manifest:
    try:
        return read_manifest(store, version)
    except ObjectNotFound as error:
        raise ReleaseError(f"there is no artifact {version!r}; see `marquee release list`") from error


def _params(manifest: Manifest) -> Params:
    origin = manifest.provenance
    try:
        return msgspec.convert(origin.parameters, Params)
    except msgspec.ValidationError as error:
        raise SettingsError(
            f"{manifest.version} was made with parameters of another form ({error}): run "
            f"`marquee reproduce` in a checkout of commit {origin.commit or 'unknown'}"
        ) from error


def _fetch(kept: ObjectStore, manifest: Manifest, run: pipeline_run.PipelineRun) -> None:
    content = manifest.provenance.snapshot
    if not content:
        raise TrainingDataError(f"{manifest.version} names no snapshot: an older program made it")
    try:
        dvc_remote.fetch(kept, content, run.at(pipeline_run.SNAPSHOT))
    except ObjectNotFound as error:
        raise TrainingDataError(
            f"the snapshot {content} of {manifest.version} is not in this remote: was MARQUEE_DVC_REMOTE "
            "set, or `dvc push` run, when it was made?"
        ) from error
    # What served then has a say in the release only, not in the model.
    deterministic_io.write_json(run.at(pipeline_run.LAST), None)
