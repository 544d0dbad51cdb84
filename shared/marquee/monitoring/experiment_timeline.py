"""Timeline of an experiment: the steps of its enrolled share, from the releases alone.

The arm of a user and the time of the enrolment follow from the salt and the steps. Nothing about them is stored that
could be wrong.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from marquee.experiments.look import ReleaseState
from marquee.registry.arm_assignment import Arm, assign_arm, enrolment_point
from marquee.registry.release import Release
from marquee.registry.release_history import ReleaseHistory


@dataclass(frozen=True)
class Timeline:
    """The releases of one experiment, with the times at which they began to serve; at least one."""

    steps: Sequence[tuple[datetime, Release]]

    @classmethod
    def of_running(cls, history: ReleaseHistory) -> Timeline | None:
        """Return the timeline of the experiment that serves; None if none does."""
        serving = history.newest
        if serving is None or not serving.experiment:
            return None
        return cls(history.list_steps(serving.experiment))

    @property
    def name(self) -> str:
        """Return the name of the experiment."""
        return self.release.experiment

    @property
    def release(self) -> Release:
        """Return its newest release."""
        return self.steps[-1][1]

    @property
    def started(self) -> datetime:
        """Return the time of its first release."""
        return self.steps[0][0]

    @property
    def numbers(self) -> list[int]:
        """Return the numbers of its releases."""
        return [release.number for _, release in self.steps]

    @property
    def control(self) -> Arm:
        """Return the arm that the others are compared with."""
        return self.release.arms[0]

    @property
    def treatments(self) -> tuple[Arm, ...]:
        """Return the arms beside control."""
        return self.release.arms[1:]

    def describe_state(self) -> ReleaseState:
        """Return the state that a decision depends on. The share has lasted since the enrolled share last grew."""
        since = next(start for start, release in self.steps if release.enrolled == self.release.enrolled)
        return ReleaseState(
            number=self.release.number,
            experiment=self.name,
            share=self.release.enrolled / len(self.release.arms),
            since=since,
            started=self.started,
            held=self.release.on_hold,
        )

    def release_at(self, time: datetime) -> Release:
        """Return the release that served at ``time``; the first one before the start."""
        served = [release for start, release in self.steps if start <= time]
        return served[-1] if served else self.steps[0][1]

    def enrol(self, user_id: str) -> tuple[str, datetime] | None:
        """Return the user's arm and the start of the step that enrolled the user; None if none has."""
        point = enrolment_point(self.release.salt, user_id)
        step = bisect_right([release.enrolled for _, release in self.steps], point)
        if step == len(self.steps):
            return None
        return assign_arm(self.release.arms, self.release.salt, user_id).name, self.steps[step][0]
