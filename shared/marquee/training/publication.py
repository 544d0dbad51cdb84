"""The last step: one write of the release document, unless something newer serves already."""

from __future__ import annotations

from marquee.artifacts.artifact import verify
from marquee.artifacts.object_store import ObjectStore
from marquee.artifacts.promotion import CONTROL
from marquee.artifacts.release import Arm, Release, new_release, publish
from marquee.errors import ReleaseError

_MOMENT = len("20261123T160000")


class NewerServes(ReleaseError):
    """Another retraining, of newer events, was faster."""


def release(store: ObjectStore, version: str, *, author: str, reason: str) -> Release:
    """Serve ``version`` to everybody, in one compare-and-swap.

    Of retrainings that run at once the one with the newest events wins, whichever ends last. Raises
    :class:`NewerServes`, and ``ArtifactRefused`` for an artifact that fails its checks or its smoke test.
    """
    verify(store, version)
    arms = (Arm(CONTROL, version, 1.0),)

    def change(before: Release | None) -> Release:
        if before is None:
            return new_release(arms, author=author, reason=reason)
        newest = max(arm.version[:_MOMENT] for arm in before.arms)
        if newest > version[:_MOMENT]:
            raise NewerServes(
                f"release {before.number} serves a model of events up to {newest}, newer than {version}; "
                f"`marquee release promote {version}` serves it all the same"
            )
        return (
            before if before.arms == arms else new_release(arms, author=author, reason=reason, after=before)
        )

    return publish(store, change)
