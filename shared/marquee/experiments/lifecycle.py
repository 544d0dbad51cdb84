"""Start of an experiment: storage of the declaration, and publication of the first release.

``experiments/<name>.json`` is written before the first release, and does not change once a release names it. A start
that is killed between the two leaves a declaration that no release names; the next start with this name replaces it.
"""

from __future__ import annotations

import msgspec

from marquee.errors import ObjectNotFound, PreconditionFailed, ReleaseError
from marquee.experiments.declaration import Declaration, InvalidDeclaration, decode_declaration
from marquee.experiments.harm_metrics import METRICS
from marquee.registry.arm_assignment import Arm, inherit_policies
from marquee.registry.experiment_steps import start_experiment
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release, find_last_release, iter_releases

PREFIX = "experiments/"
_MAX_RUNS_OF_A_NAME = 100
_MAX_NAME = 40


def start(
    store: ObjectStore,
    declaration: Declaration,
    *,
    version: str = "",
    author: str,
    reason: str = "",
    expected: Release | None = None,
) -> Release:
    """Store the declaration and publish its first release, with the first share of the ladder.

    ``version`` is the new version of a canary. A canary's experiment is named after this version, so that names are
    unique. With ``expected``, raises ``ReleaseChanged`` if another release serves.
    Raises :class:`ReleaseError` if the experiment cannot start, :class:`InvalidDeclaration` if an arm has no version.
    """
    serving = find_last_release(store)
    if serving is None:
        raise ReleaseError("there is no release to start an experiment from: promote a version first")
    if len(serving.arms) > 1:
        raise ReleaseError(
            f"release {serving.number} runs an experiment, {serving.experiment or 'a split'}: end it first"
        )
    versions = _resolve_versions(declaration, serving.arms[0].version, version)
    named = msgspec.structs.replace(declaration, arms=versions)
    if named.kind == "aa":
        named = _without_paired(named)
    if named.kind == "canary":
        named = msgspec.structs.replace(named, name=_name_canary(declaration.name, version))
    stored = _store(store, named)
    arms = tuple(Arm(name, arm_version, 1 / len(versions)) for name, arm_version in versions.items())
    return start_experiment(
        store,
        stored.name,
        inherit_policies(arms, serving.arms),
        enrolled=stored.ladder[0] * len(versions),
        author=author,
        reason=reason or f"{stored.kind} {stored.name}",
        evidence=f"declaration {stored.digest()}",
        expected=expected,
    )


def read_declaration(store: ObjectStore, name: str) -> Declaration | None:
    """Return the stored declaration of experiment ``name``; None if a person runs it without one.

    Raises :class:`InvalidDeclaration` if the document is damaged.
    """
    try:
        return decode_declaration(store.get(f"{PREFIX}{name}.json").data)
    except ObjectNotFound:
        return None


def _resolve_versions(declaration: Declaration, serving: str, version: str) -> dict[str, str]:
    """Return the version of each arm; replace "" by ``serving``, or by ``version`` for a canary's new arm."""
    if declaration.kind == "interleaving":
        raise InvalidDeclaration(f"{declaration.name}: `recommend` serves no interleaved lists yet")
    if declaration.kind == "canary" and not version:
        raise InvalidDeclaration(f"{declaration.name}: a canary needs the version to release; name it after the file")
    if declaration.kind != "canary" and version:
        raise InvalidDeclaration(f"{declaration.name}: the versions of a {declaration.kind} stand in its arms")
    resolved = {name: text or serving for name, text in declaration.arms.items()}
    if version:
        resolved[declaration.treatments[0]] = version
    if recipes := [text for text in resolved.values() if text.endswith((".yaml", ".yml"))]:
        raise InvalidDeclaration(
            f"{declaration.name}: arms name versions of artifacts, which `marquee retrain --no-release --params FILE` "
            f"makes from a recipe; got {', '.join(recipes)}"
        )
    same = len(set(resolved.values())) == 1
    if same != (declaration.kind == "aa"):
        raise InvalidDeclaration(
            f"{declaration.name}: the arms of an A/A test have one version, and those of a {declaration.kind} differ; "
            f"got {', '.join(f'{name} {text}' for name, text in resolved.items())}"
        )
    return resolved


def _without_paired(declaration: Declaration) -> Declaration:
    """Return the declaration of an A/A test without paired guardrails, which are always 0 for equal models."""
    kept = {name: rail for name, rail in declaration.guardrails.items() if METRICS[name].kind != "paired"}
    if not kept:
        raise InvalidDeclaration(f"{declaration.name}: an A/A test needs a guardrail that is not paired, as answered")
    return msgspec.structs.replace(declaration, guardrails=kept)


def _name_canary(stem: str, version: str) -> str:
    text = "".join(c if c.isascii() and c.isalnum() else "-" for c in version.lower())
    return f"{stem}-{text}"[: _MAX_NAME - 4].rstrip("-")


def _store(store: ObjectStore, declaration: Declaration) -> Declaration:
    """Store the declaration under its name, or for a canary the next free name; return it with that name."""
    for run in range(1, _MAX_RUNS_OF_A_NAME):
        named = declaration
        if run > 1:
            named = msgspec.structs.replace(declaration, name=f"{declaration.name}-{run}")
        try:
            store.put_new(f"{PREFIX}{named.name}.json", named.encode())
            return named
        except PreconditionFailed:
            if not _has_run(store, named.name):  # A start that was killed or refused.
                return _replace(store, named)
        if declaration.kind != "canary":
            break
    raise ReleaseError(
        f"experiment {declaration.name} exists already, and a declaration does not change: copy the file under another "
        "name"
    )


def _replace(store: ObjectStore, declaration: Declaration) -> Declaration:
    """Replace a declaration that no release names."""
    document = store.get(f"{PREFIX}{declaration.name}.json")
    if document.data != declaration.encode():
        store.replace(f"{PREFIX}{declaration.name}.json", declaration.encode(), document.version)
    return declaration


def _has_run(store: ObjectStore, name: str) -> bool:
    return any(release.experiment == name for release in iter_releases(store))
