"""The last step: one write of the release document, unless something speaks against it."""

from __future__ import annotations

from marquee.errors import ReleaseError
from marquee.registry.arm_assignment import Arm
from marquee.registry.artifact import verify_artifact
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.release import Release, new_release, publish_release
from marquee.registry.rollout import CONTROL

_MOMENT = len("20261123T160000")


class NewerServes(ReleaseError):
    """Another retraining, of newer events, was faster."""


class ExperimentRuns(ReleaseError):
    """Several arms serve: whoever began the experiment ends it."""


class ServingChanged(ReleaseError):
    """What serves is not what the model was compared with."""


def release(
    store: ObjectStore, version: str, *, author: str, reason: str, instead_of: str | None = None
) -> Release:
    """Serve ``version`` to everybody, in one compare-and-swap.

    Of retrainings that run at once the one with the newest events wins, whichever ends last. Raises
    :class:`NewerServes`; :class:`ExperimentRuns` when several arms serve; :class:`ServingChanged` when what
    serves is another version than ``instead_of`` ("": nothing; None: never mind); and ``ArtifactRefused`` for
    an artifact that fails its checks or its smoke test.
    """
    verify_artifact(store, version)
    arms = (Arm(CONTROL, version, 1.0),)

    def change(before: Release | None) -> Release:
        refuse_experiment(before, version)
        refuse_older(before, version)
        serves = before.arms[0].version if before else ""
        if instead_of is not None and serves != instead_of:
            raise ServingChanged(f"{serves or 'nothing'} serves, and not {instead_of or 'nothing'}")
        if before is not None and before.arms == arms:
            return before
        return new_release(arms, author=author, reason=reason, after=before)

    return publish_release(store, change)


def refuse_older(before: Release | None, version: str) -> None:
    """Raise :class:`NewerServes` if a model of newer events serves."""
    newest = max((arm.version[:_MOMENT] for arm in before.arms), default="") if before else ""
    if before and newest > version[:_MOMENT]:
        raise NewerServes(
            f"release {before.number} serves a model of events up to {newest}, newer than {version}; "
            f"`marquee release promote {version}` serves it all the same"
        )


def refuse_experiment(before: Release | None, version: str) -> None:
    """Raise :class:`ExperimentRuns` if several arms serve: a new model in one of them would end the
    experiment without an answer.
    """
    if before and len(before.arms) > 1:
        arms = ", ".join(f"{arm.name} {arm.weight:.4g}" for arm in before.arms)
        raise ExperimentRuns(
            f"release {before.number} is an experiment ({arms}), which goes on; {version} is stored, and "
            f"`marquee release promote {version}` ends the experiment and serves it"
        )
