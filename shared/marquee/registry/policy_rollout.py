"""Changes of the policy in the release: for all users, or as a canary beside the current one. Each is one write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from marquee.errors import ReleaseError
from marquee.registry.arm_assignment import Arm
from marquee.registry.experiment_steps import start_experiment
from marquee.registry.object_store.object_store import ObjectStore
from marquee.registry.policy import Policy, check_policy
from marquee.registry.release import find_serving_release, publish_release, require_release
from marquee.registry.rollout import CANARY, CONTROL, amend_release

if TYPE_CHECKING:
    from marquee.registry.release import Release


def set_policy(store: ObjectStore, policy: Policy, *, author: str, reason: str = "") -> Release:
    """Give every arm the policy; do nothing if that is already so.

    The release is published with a new number, which is the policy's. Raises :class:`ReleaseError` before the first
    release, for an invalid policy, and while an experiment compares policies.
    """
    policy = msgspec.structs.replace(policy, number=0)
    check_policy(policy)

    def change(before: Release | None) -> Release:
        before = require_release(before)
        contents = [msgspec.structs.replace(arm.policy, number=0) for arm in before.arms]
        if all(content == policy for content in contents):
            return before
        if any(content != contents[0] for content in contents):
            raise ReleaseError(
                f"release {before.number} compares policies ({before.experiment or 'split'}): end the experiment first"
            )
        return amend_release(
            before,
            author=author,
            reason=reason or "policy",
            arms=tuple(msgspec.structs.replace(arm, policy=policy) for arm in before.arms),
            previous=before.previous if before.experiment else before.number,
        )

    return publish_release(store, change)


def start_policy_canary(
    store: ObjectStore, policy: Policy, *, weight: float, name: str, author: str, reason: str = ""
) -> Release:
    """Give the policy to the fraction ``weight`` of the users, at most a half, and compare it with the current one.

    The experiment ``name`` has two arms of one version. Raises :class:`ReleaseError` as :func:`start_experiment`.
    """
    if not 0 < weight <= 0.5:
        raise ReleaseError(f"the weight of a canary must be above 0 and at most 0.5; got {weight}")
    policy = msgspec.structs.replace(policy, number=0)
    check_policy(policy)
    serving = require_release(find_serving_release(store))
    first = serving.arms[0]
    arms = (Arm(CONTROL, first.version, 0.5, first.policy), Arm(CANARY, first.version, 0.5, policy))
    return start_experiment(
        store, name, arms, enrolled=2 * weight, author=author, reason=reason or "policy", expected=serving
    )
