"""When deep linear JEPA and MAE learn each feature: the ODE of its weight, and the times at which it is learned.

Theory: "How JEPA Avoids Noisy Features" (arXiv:2407.03475). An encoder of L linear layers, W = W^L ... W^1, and a linear
predictor V minimise E||V W x - SG(W y)||^2 / 2 (JEPA) or E||V W x - y||^2 / 2 (MAE) by gradient flow from a small balanced
start, on features that are uncorrelated with each other. linear_flow.py has the networks themselves.

Time is the paper's throughout: depth L times the time of plain gradient flow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp
from scipy.special import hyp2f1

Objective = Literal["jepa", "mae"]
OBJECTIVES: tuple[Objective, ...] = ("jepa", "mae")
SMALL = 1e-3  # eps << p rho^L is read as eps <= SMALL p rho^L; how wrong the formulas are there is in docs/linear.md


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Features of the data, each in a network of a depth and an initial scale; arrays of one shape, see ``of``."""

    covariance: np.ndarray  # lambda = cov(y, x) > 0
    influence: np.ndarray  # rho = lambda / var(x) > 0, the regression coefficient of y on x
    depth: np.ndarray  # L >= 1, layers of the encoder
    scale: np.ndarray  # eps > 0, the encoder's initial weight of the feature; every layer has eps^(1/L)

    def __post_init__(self) -> None:
        for name in ("covariance", "influence", "scale", "depth"):
            values = getattr(self, name)
            if values.shape != self.covariance.shape:
                raise ValueError(f"{name} must have the covariance's shape {self.covariance.shape}, got {values.shape}")
            if not (np.isfinite(values) & (values > 0)).all():
                raise ValueError(f"{name} must be positive and finite, got {values}")
        if (self.depth != np.round(self.depth)).any():
            raise ValueError(f"depth must be whole numbers, got {self.depth}")

    @classmethod
    def of(cls, *, covariance: ArrayLike, influence: ArrayLike, depth: ArrayLike, scale: ArrayLike) -> Features:
        """Broadcast the four against each other: all combinations of what varies along axes of its own."""
        given = (np.asarray(value, dtype=float) for value in (covariance, influence, depth, scale))
        covariance, influence, depth, scale = np.broadcast_arrays(*given)
        return cls(covariance=covariance, influence=influence, depth=depth, scale=scale)


def require_objective(objective: str) -> None:
    """Raise ValueError for an objective that is none of ``OBJECTIVES``."""
    if objective not in OBJECTIVES:
        raise ValueError(f"objective must be one of {', '.join(OBJECTIVES)}, got {objective!r}")


def fixed_point(objective: Objective, features: Features) -> np.ndarray:
    """The weight that a feature ends at: rho^L for JEPA, rho^(L/(L+1)) for MAE."""
    return features.influence ** _exponent(objective, features)


def growth_rate(objective: Objective, features: Features, weight: np.ndarray) -> np.ndarray:
    """The ODE, as d log(w) / dt of every feature: arrays of the features' shape.

    JEPA: dw/dt = lambda w^(3-1/L) - (lambda/rho) w^3.    MAE: dw/dt = lambda w^(2-1/L) - (lambda/rho) w^3.
    """
    saturation = 1 - (weight / fixed_point(objective, features)) ** (1 / _exponent(objective, features))
    power = 2 if objective == "jepa" else 1
    return features.covariance * weight ** (power - 1 / features.depth) * saturation


def learning_curves(objective: Objective, features: Features, times: np.ndarray) -> np.ndarray:
    """Weights [*shape, T] at common, increasing times [T], by integrating the ODE forward from time 0."""

    def slope(_: float, log_weight: np.ndarray) -> np.ndarray:
        weight = np.exp(log_weight).reshape(features.scale.shape)
        return growth_rate(objective, features, weight).ravel()

    start = np.log(features.scale).ravel()
    solution = solve_ivp(slope, (0, times[-1]), start, method="DOP853", t_eval=times, rtol=1e-13, atol=1e-14)
    return np.exp(_checked(solution.y, "learning curves")).reshape(*features.scale.shape, len(times))


def simulate(objective: Objective, features: Features, fraction: float, points: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Integrate the ODE until each weight is ``fraction`` of its fixed point: times and weights, both [*shape, points].

    The logarithm of the weight is the clock and time is integrated (Henon's trick), so that features which are learned at
    times many orders of magnitude apart share one call, and the last time is the hitting time without any search.
    Raises ValueError where a weight starts beyond its target.
    """
    target = _target(objective, features, fraction)
    span = np.log(target / features.scale)
    unit = 1 / growth_rate(objective, features, features.scale)  # of time: without it the tolerances would mean nothing

    def slope(progress: float, _: np.ndarray) -> np.ndarray:
        weight = features.scale * np.exp(progress * span)
        return (span / (unit * growth_rate(objective, features, weight))).ravel()

    progress = np.linspace(0, 1, points)
    start = np.zeros(features.scale.size)
    solution = solve_ivp(slope, (0, 1), start, method="DOP853", t_eval=progress, rtol=1e-11, atol=1e-13)
    times = _checked(solution.y, "times").reshape(*features.scale.shape, points)
    return unit[..., None] * times, features.scale[..., None] * np.exp(progress * span[..., None])


def hitting_time(objective: Objective, features: Features, fraction: float) -> np.ndarray:
    """Exact time at which the weight is ``fraction`` of its fixed point, in closed form (derived here, not the paper's).

    With s = w^(1/L), dt = L ds / (lambda s^2L (1 - s/rho)) for JEPA, which partial fractions integrate, and
    dt = L ds / (lambda s^L (1 - s^(L+1)/rho)) for MAE, a hypergeometric function.
    Raises ValueError where a weight starts beyond its target.
    """
    target = _target(objective, features, fraction)
    antiderivative = _jepa_antiderivative if objective == "jepa" else _mae_antiderivative
    elapsed = antiderivative(features, target) - antiderivative(features, features.scale)
    return features.depth / features.covariance * elapsed


def leading_time(objective: Objective, features: Features) -> np.ndarray:
    """The paper's critical time, whatever eps is; ``critical_time`` refuses where it does not hold.

    JEPA: (1/lambda) sum_{n=1}^{2L-1} L / (n rho^(2L-n-1) eps^(n/L)).    MAE, L > 1: (1/lambda) L/(L-1) eps^(-(L-1)/L).
    """
    require_objective(objective)
    depth, step = features.depth, features.scale ** (1 / features.depth)
    if objective == "mae":
        if (depth < 2).any():
            raise ValueError("MAE's critical time needs a depth of at least 2 (at 1 it is logarithmic in eps), got 1")
        return depth / (depth - 1) * step ** (1 - depth) / features.covariance
    orders, exponent = _orders(depth)
    terms = np.where(exponent >= 0, features.influence**-exponent * step**-orders / orders, 0)
    return depth * terms.sum(0) / features.covariance


def critical_time(objective: Objective, features: Features, fraction: float) -> np.ndarray:
    """The paper's time at which a feature is learned, to leading order in eps.

    What is left out is Theta(log eps) for JEPA and Theta(1) for MAE, and holds the dependence on ``fraction``.
    Raises ValueError unless eps <= SMALL fraction rho^L everywhere, and for MAE at depth 1.
    """
    _check_fraction(fraction)
    largest = SMALL * fraction * features.influence**features.depth
    if (features.scale > largest).any():
        worst = np.argmax(features.scale / largest)
        raise ValueError(
            f"the formula holds for eps << p rho^L only: eps must be at most {SMALL:g} p rho^L = "
            f"{largest.flat[worst]:.3g}, got {features.scale.flat[worst]:.3g}"
        )
    return leading_time(objective, features)


def crossover_scale(first: tuple[float, float], second: tuple[float, float], depth: int) -> float:
    """The eps below which JEPA learns ``first`` before ``second``, to leading order (derived here); each (lambda, rho).

    ``first`` has the larger lambda, ``second`` the larger rho. The difference of the two critical times is a polynomial in
    eps^(-1/L) whose coefficients change sign once, so by Descartes' rule it has one positive root.
    Raises ValueError where there is no crossover: at depth 1, and where the advantage in rho is too small for the depth.
    """
    (lambda1, rho1), (lambda2, rho2) = first, second
    if not 1 < lambda1 / lambda2 < (rho2 / rho1) ** (2 * depth - 2):
        raise ValueError(
            "a crossover needs 1 < lambda1/lambda2 < (rho2/rho1)^(2L-2), "
            f"got (lambda, rho) = {first} and {second}, L = {depth}"
        )
    order = np.arange(1, 2 * depth)
    exponent = 2 * depth - order - 1
    coefficient = (1 / (lambda1 * rho1**exponent) - 1 / (lambda2 * rho2**exponent)) / order
    roots = np.roots(coefficient[::-1])
    (inverse_step,) = roots[(np.abs(roots.imag) < 1e-9 * np.abs(roots)) & (roots.real > 0)].real
    return float(inverse_step**-depth)


def _exponent(objective: Objective, features: Features) -> np.ndarray:
    """Of rho in the fixed point."""
    require_objective(objective)
    return features.depth if objective == "jepa" else features.depth / (features.depth + 1)


def _orders(depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """n = 1 ... 2 max(L) - 1 along a new first axis, and 2L - n - 1, which is negative beyond a feature's own sum."""
    orders = np.arange(1, 2 * int(depth.max())).reshape(-1, *(1,) * depth.ndim)
    return orders, 2 * depth - orders - 1


def _jepa_antiderivative(features: Features, weight: np.ndarray) -> np.ndarray:
    s, rho = weight ** (1 / features.depth), features.influence
    orders, exponent = _orders(features.depth)
    powers = np.where(exponent >= 0, -(rho**-exponent) * s**-orders / orders, 0).sum(0)
    return powers + rho ** (1 - 2 * features.depth) * np.log(s / (rho - s))


def _mae_antiderivative(features: Features, weight: np.ndarray) -> np.ndarray:
    depth, s = features.depth, weight ** (1 / features.depth)
    filled = s ** (depth + 1) / features.influence
    power = (1 - depth) / (depth + 1)
    with np.errstate(divide="ignore", invalid="ignore"):  # depth 1 is the logarithm
        deep = s ** (1 - depth) / (1 - depth) * hyp2f1(1, power, power + 1, filled)
    return np.where(depth == 1, np.log(s) - np.log1p(-filled) / 2, deep)


def _target(objective: Objective, features: Features, fraction: float) -> np.ndarray:
    _check_fraction(fraction)
    target = fraction * fixed_point(objective, features)
    if (features.scale >= target).any():
        worst = np.argmax(features.scale / target)
        raise ValueError(
            f"scale must be below fraction x fixed point = {target.flat[worst]:.3g}, got {features.scale.flat[worst]:.3g}"
        )
    return target


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, both excluded, got {fraction}")


def _checked(values: np.ndarray, name: str) -> np.ndarray:
    if not np.isfinite(values).all():
        raise FloatingPointError(f"{name} of the ODE are not finite")
    return values
