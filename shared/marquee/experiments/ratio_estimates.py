"""Estimates of ratios of sums over users, computed from sums that one ``GROUP BY`` returns.

The unit of randomization is the user, so it is also the unit of variance. A metric is a ratio of two sums over users,
``R = sum y / sum x``, such as movies begun per list. Its variance follows from the delta method: Deng, Knoblich and Lu,
*Applying the Delta Method in Metric Analytics*, KDD 2018. Every function works elementwise on leading axes, so that one
call can evaluate one look or thousands of simulated looks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

MIN_USERS = 50
"""Minimum number of users with x > 0 in each arm for an estimate."""
SUMS = ("n", "y", "x", "yy", "xy", "xx")
"""Order of the sums of one arm: users with x > 0, then the sums of y, x, y*y, x*y and x*x."""
COVARIATE_SUMS = ("c1", "c2", "c1c1", "c1c2", "c2c2", "yc1", "yc2", "xc1", "xc2")
"""Order of the sums that follow :data:`SUMS` for an adjustment: the covariates, their products, and those with y, x."""


class Estimate(NamedTuple):
    """A value with its variance, which is infinite while there is no information."""

    value: Floats
    variance: Floats

    @property
    def information(self) -> Floats:
        """Return the inverse of the variance, in which all sequences measure time."""
        usable = np.isfinite(self.variance) & (self.variance > 0)
        return np.where(usable, 1 / np.where(usable, self.variance, 1.0), 0.0)


def sum_users(y: ArrayLike, x: ArrayLike, c1: ArrayLike | None = None, c2: ArrayLike | None = None) -> Floats:
    """Return the sums over users, [6] or with covariates [15]; the arguments are [users] each.

    This is the reference implementation of the sums in SQL.
    """
    y, x = np.asarray(y, float), np.asarray(x, float)
    sums = [np.count_nonzero(x > 0), y.sum(), x.sum(), y @ y, x @ y, x @ x]
    if c1 is not None and c2 is not None:
        a, b = np.asarray(c1, float), np.asarray(c2, float)
        sums += [a.sum(), b.sum(), a @ a, a @ b, b @ b, y @ a, y @ b, x @ a, x @ b]
    return np.array(sums, float)


def ratio(sums: ArrayLike, min_users: int = MIN_USERS) -> Estimate:
    """Return ``sum y / sum x`` of sums [..., 6 or more]; the variance is infinite below ``min_users``.

    For a paired metric, y is the difference of two models on the same data.
    """
    n, y, x, yy, xy, xx = np.moveaxis(np.asarray(sums, float)[..., :6], -1, 0)
    value = _divide(y, x)
    squares = np.maximum(yy - 2 * value * xy + value**2 * xx, 0)
    variance = _divide(n, n - 1) * _divide(squares, x**2)
    return Estimate(value, np.where((n >= max(min_users, 2)) & (x > 0), variance, np.inf))


def difference(control: ArrayLike, treatment: ArrayLike, min_users: int = MIN_USERS) -> Estimate:
    """Return the ratio of the treatment minus that of control, of sums [..., 6 or more] each."""
    old, new = ratio(control, min_users), ratio(treatment, min_users)
    return Estimate(new.value - old.value, old.variance + new.variance)


def adjusted_difference(control: ArrayLike, treatment: ArrayLike, min_users: int = MIN_USERS) -> Estimate:
    """Return the difference adjusted by covariates from before the start (CUPED), of sums [..., 15] each.

    The covariates of a user are ``c1 = y0 - R0 x0`` and ``c2 = x0`` of the 14 days before the start; for users without
    earlier data, 0. The coefficients are the least-squares fit of the linearized metric, pooled within the arms: Deng,
    Xu, Kohavi and Walker, *Improving the Sensitivity of Online Controlled Experiments*, WSDM 2013, appendix B.
    """
    plain = difference(control, treatment, min_users)
    arms = [_Linearized.from_sums(np.asarray(sums, float)) for sums in (control, treatment)]
    products = arms[0].cc + arms[1].cc
    # A covariate without variance, such as that of a new site, has the coefficient 0.
    theta = (np.linalg.pinv(products, hermitian=True) @ (arms[0].cl + arms[1].cl)[..., None])[..., 0]
    shift = ((arms[1].mean - arms[0].mean) * theta).sum(-1)
    variance = sum(arm.residual_variance(theta) for arm in arms)
    return Estimate(plain.value - shift, np.where(np.isfinite(plain.variance), variance, np.inf))


def estimate_difference(control: ArrayLike, treatment: ArrayLike, min_users: int = MIN_USERS) -> Estimate:
    """Return the adjusted difference if both arms have the sums for it, else the plain one."""
    width = {np.asarray(sums).shape[-1] for sums in (control, treatment)}
    adjusted = width == {len(SUMS) + len(COVARIATE_SUMS)}
    return (adjusted_difference if adjusted else difference)(control, treatment, min_users)


class _Linearized(NamedTuple):
    """Moments of ``l = (y - R x) / mean x`` and of the covariates within one arm."""

    n: Floats
    ll: Floats
    mean: Floats  # [..., 2] of the covariates.
    cl: Floats  # [..., 2], centered products.
    cc: Floats  # [..., 2, 2], centered products.

    @classmethod
    def from_sums(cls, sums: Floats) -> _Linearized:
        n, y, x, yy, xy, xx, c1, c2, c11, c12, c22, yc1, yc2, xc1, xc2 = np.moveaxis(sums, -1, 0)
        value, scale = _divide(y, x), _divide(n, x)
        ll = np.maximum(yy - 2 * value * xy + value**2 * xx, 0) * scale**2
        c = np.stack([c1, c2], -1)
        mean = _divide(c, n[..., None])
        raw = np.stack([np.stack([c11, c12], -1), np.stack([c12, c22], -1)], -1)
        # The linearized metric has mean 0 within the arm, so that its products need no centering.
        cl = np.stack([yc1 - value * xc1, yc2 - value * xc2], -1) * scale[..., None]
        return cls(n, ll, mean, cl, raw - n[..., None, None] * mean[..., :, None] * mean[..., None, :])

    def residual_variance(self, theta: Floats) -> Floats:
        explained = 2 * (theta * self.cl).sum(-1) - np.einsum("...i,...ij,...j", theta, self.cc, theta)
        return _divide(np.maximum(self.ll - explained, 0), self.n * (self.n - 1))


def _divide(numerator: ArrayLike, denominator: ArrayLike) -> Floats:
    """Divide elementwise; the result is 0 where the denominator is 0."""
    divisor = np.asarray(denominator, float)
    return np.where(divisor != 0, np.asarray(numerator, float) / np.where(divisor != 0, divisor, 1.0), 0.0)
