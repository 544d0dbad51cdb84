"""Tests of secondary metrics: their sequences agree with their e-values, and few are selected without an effect."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.experiments.looks import CANARY, TRIAL, change, make_look, make_sums

from marquee.experiments.ratio_estimates import Estimate
from marquee.experiments.secondary_metrics import DIFFERS, UNDECIDED, assess_secondary
from marquee.experiments.sequences import log_e_difference, two_sided_radius


def test_assess_secondary_selects_a_real_difference_and_leaves_out_guardrails() -> None:
    """Of a canary, minutes are secondary; its guardrails and paired metrics are not."""
    found = {one.metric: one for one in assess_secondary(CANARY, make_look(minutes=28.0))}
    assert set(found) == {"minutes"}
    minutes = found["minutes"]
    assert minutes.verdict == DIFFERS
    assert minutes.high is not None
    assert minutes.high < 0
    assert minutes.values == pytest.approx((30.0, 28.0))
    assert assess_secondary(CANARY, make_look())[0].verdict == UNDECIDED
    assert assess_secondary(TRIAL, make_look(TRIAL)) == []


def test_assess_secondary_few_users_has_no_interval() -> None:
    """An arm of 40 users says nothing yet, and a metric of one arm is left out."""
    look = make_look(users=40, minutes=3.0)
    (minutes,) = assess_secondary(CANARY, look)
    assert (minutes.low, minutes.high, minutes.e, minutes.verdict) == (None, None, 1.0, UNDECIDED)
    assert assess_secondary(CANARY, change(look, sums={"asks": {"control": make_sums(1, 1, 80, 1)}})) == []


def test_log_e_difference_reaches_one_over_alpha_at_the_border_of_the_sequence() -> None:
    """The sequence and the e-value say the same."""
    information = np.array([1.0, 30.0, 1e5])
    at_border = Estimate(two_sided_radius(information, 0.3), 1 / information)
    assert log_e_difference(at_border, 0.3) == pytest.approx(np.full(3, math.log(20)))
    below = Estimate(-at_border.value * 1.1, at_border.variance)
    assert (log_e_difference(below, 0.3) > math.log(20)).all()
