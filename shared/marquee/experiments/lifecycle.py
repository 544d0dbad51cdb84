"""Start of an experiment: storage of the declaration, and publication of the first release.

``experiments/<name>.json`` is written before the first release, and does not change once a release names it. A start
that is killed between the two leaves a declaration that no release names; the next start with this name replaces it.
"""

from __future__ import annotations

import msgspec

from marquee.errors import ObjectNotFound, PreconditionFailed, ReleaseError
from marquee.experiments.declaration import Declaration, decode_declaration
from marquee.experiments.declared_arms import InvalidDeclaration
from marquee.experiments.harm_metrics import METRICS
from marquee.registry.arm_assignment import Arm, inherit_policies
from marquee.registry.experiment_steps import start_experiment
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.policy import Policy
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
    arms = _make_arms(declaration, versions, serving.arms)
    _check_contents(declaration, arms)
    named = msgspec.structs.replace(declaration, arms=versions)
    if versions[named.control] in [versions[arm] for arm in named.treatments] and not named.recipes:
        named = _without_paired(named)
    if named.kind == "canary" and version:
        named = msgspec.structs.replace(named, name=_name_canary(declaration.name, version))
    stored = _store(store, named)
    return start_experiment(
        store,
        stored.name,
        arms,
        enrolled=stored.ladder[0] * len(versions),
        author=author,
        reason=reason or f"{stored.kind} {stored.name}",
        evidence=f"declaration {stored.digest()}",
        interleaved=stored.kind == "interleaving",
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


def find_recipes(store: ObjectStore) -> tuple[Release, Declaration] | None:
    """Return the running experiment of recipes with its declaration; None if none runs."""
    serving = find_last_release(store)
    declaration = read_declaration(store, serving.experiment) if serving and serving.experiment else None
    return (serving, declaration) if serving and declaration and declaration.recipes else None


def _resolve_versions(declaration: Declaration, serving: str, version: str) -> dict[str, str]:
    """Return the version of each arm; replace "" by ``serving``, or by ``version`` for a canary's new arm."""
    if declaration.kind == "canary" and not version and not declaration.policies:
        raise InvalidDeclaration(f"{declaration.name}: a canary needs the version to release; name it after the file")
    if declaration.kind != "canary" and version:
        raise InvalidDeclaration(f"{declaration.name}: the versions of a {declaration.kind} stand in its arms")
    resolved = {name: text or serving for name, text in declaration.arms.items()}
    if version:
        resolved[declaration.treatments[0]] = version
    if files := [text for text in resolved.values() if text.endswith((".yaml", ".yml", ".json"))]:
        raise InvalidDeclaration(
            f"{declaration.name}: an arm is a version of an artifact, or a mapping such as "
            f"{{version: VERSION, policy: FILE, recipe: FILE}}; got {', '.join(files)}"
        )
    return resolved


def _make_arms(declaration: Declaration, versions: dict[str, str], serving: tuple[Arm, ...]) -> tuple[Arm, ...]:
    """Return the arms with equal weights, each with its policy, or with the serving one."""
    plain = tuple(Arm(name, version, 1 / len(versions)) for name, version in versions.items())
    return tuple(
        msgspec.structs.replace(arm, policy=_choose_policy(declaration.policies.get(arm.name), arm.policy))
        for arm in inherit_policies(plain, serving)
    )


def _choose_policy(declared: Policy | None, serving: Policy) -> Policy:
    """Return the declared policy; the serving one, which has a number, if they are equal."""
    if declared is None or declared == msgspec.structs.replace(serving, number=0):
        return serving
    return declared


def _check_contents(declaration: Declaration, arms: tuple[Arm, ...]) -> None:
    """Raise :class:`InvalidDeclaration` unless the arms of an A/A test are equal, and those of other kinds differ."""
    recipes = [declaration.recipes.get(arm.name, {}) for arm in arms]
    contents = [(arm.version, arm.policy, recipe) for arm, recipe in zip(arms, recipes, strict=True)]
    if all(content == contents[0] for content in contents) != (declaration.kind == "aa"):
        raise InvalidDeclaration(
            f"{declaration.name}: the arms of an A/A test are equal, and those of a {declaration.kind} differ in "
            f"version, policy or recipe; got {', '.join(f'{arm.name} {arm.version}' for arm in arms)}"
        )


def _without_paired(declaration: Declaration) -> Declaration:
    """Return the declaration without paired guardrails, which are always 0 for an arm of control's version."""
    kept = {name: rail for name, rail in declaration.guardrails.items() if METRICS[name].kind != "paired"}
    if not kept:
        raise InvalidDeclaration(
            f"{declaration.name}: arms of one version need a guardrail that is not paired, such as answered"
        )
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
