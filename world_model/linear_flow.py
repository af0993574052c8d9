"""Deep linear JEPA and MAE networks: the full matrix gradient flow, minibatch descent, and linear data to learn from.

Theory: arXiv:2407.03475; linear.py has the one-dimensional ODEs to which an aligned start reduces the flow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.integrate import solve_ivp
from scipy.stats import ortho_group

from jepa_rl.world_model.linear import Objective, require_objective


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A linear encoder W = W^L ... W^1 and predictor V on d features; leading axes are times or independent copies."""

    factors: np.ndarray  # [..., L, d, d], factors[..., 0, :, :] = W^1 is applied first
    predictor: np.ndarray  # [..., d, d]

    def __post_init__(self) -> None:
        *copies, depth, rows, columns = self.factors.shape
        if rows != columns or depth < 1 or self.predictor.shape != (*copies, rows, columns):
            raise ValueError(
                f"factors must be [..., L, d, d], predictor [..., d, d], got {self.factors.shape}, {self.predictor.shape}"
            )

    @property
    def encoder(self) -> np.ndarray:
        """W, [..., d, d]."""
        return _products(self.factors)[-1]

    @property
    def weights(self) -> np.ndarray:
        """How strongly each feature is encoded, apart from the others, [..., d]: aligned, the weight of its ODE.

        The length of the part of W e_i that is orthogonal to every other W e_j. Raises LinAlgError if W is singular.
        """
        return 1 / np.linalg.norm(np.linalg.inv(self.encoder), axis=-1)


def aligned_network(
    objective: Objective, dimension: int, depth: int, scale: float, generator: np.random.Generator
) -> Network:
    """The paper's start: layers eps^(1/L) times random orthogonal matrices, a predictor that keeps the features apart.

    The predictor is eps^(1/L) times the identity for JEPA, and times the inverse of the encoder's rotation for MAE.
    """
    require_objective(objective)
    if dimension < 2 or depth < 1 or scale <= 0:
        raise ValueError(f"dimension >= 2, depth >= 1 and scale > 0 expected, got {dimension}, {depth}, {scale}")
    rotations = ortho_group.rvs(dimension, size=depth, random_state=generator).reshape(depth, dimension, dimension)
    predictor = np.eye(dimension) if objective == "jepa" else _products(rotations)[-1].T
    step = scale ** (1 / depth)
    return Network(factors=step * rotations, predictor=step * predictor)


def gradient(objective: Objective, network: Network, xx: np.ndarray, yx: np.ndarray) -> Network:
    """Of the loss on data with second moments xx = E[x x'] and yx = E[y x'], [..., d, d].

    JEPA's target W y is a constant to it. The moments are all that either loss sees of the data, population or minibatch.
    """
    require_objective(objective)
    factors, predictor = network.factors, network.predictor
    below = _products(factors)  # below[l] = W^l ... W^1
    encoder = below[-1]
    prediction = predictor @ encoder @ xx
    error = prediction - (encoder @ yx if objective == "jepa" else yx)  # E[(prediction - target) x']
    above = np.swapaxes(predictor, -1, -2)  # (V W^L ... W^(l+1))'
    layers = []
    for layer in reversed(range(factors.shape[-3])):
        layers.append(above @ error @ np.swapaxes(below[layer], -1, -2))
        above = np.swapaxes(factors[..., layer, :, :], -1, -2) @ above
    return Network(factors=np.stack(layers[::-1], axis=-3), predictor=error @ np.swapaxes(encoder, -1, -2))


def gradient_flow(
    objective: Objective,
    network: Network,
    xx: np.ndarray,
    yx: np.ndarray,
    times: np.ndarray,
    *,
    tolerance: float = 1e-13,
) -> Network:
    """Networks along plain gradient flow, stacked over ``times`` [T], which increase from 0.

    Time is the flow's own, linear.py's divided by L. The integrator's absolute tolerance is a hundredth of its relative
    ``tolerance``.
    """
    shape = network.factors.shape
    cut = network.factors.size

    def unpacked(flat: np.ndarray) -> Network:
        return Network(factors=flat[:cut].reshape(shape), predictor=flat[cut:].reshape(network.predictor.shape))

    def slope(_: float, flat: np.ndarray) -> np.ndarray:
        return -_flat(gradient(objective, unpacked(flat), xx, yx))

    start, absolute = _flat(network), tolerance / 100
    solution = solve_ivp(slope, (0, times[-1]), start, method="DOP853", t_eval=times, rtol=tolerance, atol=absolute)
    if not (solution.success and np.isfinite(solution.y).all()):
        raise FloatingPointError(f"the gradient flow could not be followed: {solution.message}")
    return _stacked([unpacked(flat) for flat in solution.y.T])


def descend(
    objective: Objective,
    network: Network,
    batches: Iterator[tuple[np.ndarray, np.ndarray]],
    *,
    rate: float,
    steps: int,
    every: int,
) -> Network:
    """Minibatch gradient descent; networks stacked over steps 0, every, 2 every ... up to ``steps``.

    ``batches`` yields x and y, [*copies, B, d]: every copy learns from data of its own. Raises FloatingPointError on
    divergence.
    """
    if rate <= 0 or steps < 1 or every < 1:
        raise ValueError(f"rate, steps and every must be positive, got {rate}, {steps}, {every}")
    path = [network]
    with np.errstate(over="ignore", invalid="ignore"):  # checked below
        for step in range(1, steps + 1):
            x, y = next(batches)
            *copies, batch, _ = x.shape
            if tuple(copies) != network.predictor.shape[:-2]:
                raise ValueError(f"batches of {network.predictor.shape[:-2]} copies expected, got {tuple(copies)}")
            xx, yx = (np.swapaxes(side, -1, -2) @ x / batch for side in (x, y))
            slope = gradient(objective, network, xx, yx)
            network = Network(
                factors=network.factors - rate * slope.factors, predictor=network.predictor - rate * slope.predictor
            )
            if step % every == 0:
                if not np.isfinite(network.factors).all():
                    raise FloatingPointError(f"gradient descent diverged within {step} steps of rate {rate:g}")
                path.append(network)
    return _stacked(path)


def crossing_times(times: np.ndarray, weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """When each weight [T, ..., d] first reaches its target [d], interpolated between ``times`` [T]; inf if never.

    Raises ValueError for fewer than two times.
    """
    if len(times) < 2 or len(weights) != len(times):
        raise ValueError(f"at least 2 times and weights at each of them expected, got {len(times)} and {len(weights)}")
    beyond = weights >= targets
    after = np.maximum(beyond.argmax(0), 1)[None]
    low, high = (np.log(np.take_along_axis(weights, index, 0)[0]) for index in (after - 1, after))
    share = (np.log(targets) - low) / np.where(high > low, high - low, 1)
    found = times[after[0] - 1] + share * (times[after[0]] - times[after[0] - 1])
    return np.where(beyond[0], times[0], np.where(beyond.any(0), found, np.inf))


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearProcess:
    """Two noisy views of the same Gaussian signal, with a given lambda and rho of each feature (derived here).

    static: x = z + n, y = z + n', as two maskings of one image; lambda = var z.
    dynamic: x_t = z_t + n_t, y_t = x_(t+1), z_(t+1) = alpha z_t + noise; lambda = alpha var z.
    Either way rho = lambda / (var z + var n).
    """

    kind: Literal["static", "dynamic"]
    covariance: np.ndarray  # lambda, [d]
    influence: np.ndarray  # rho, [d]
    persistence: float = 1.0  # alpha; 1 for static

    def __post_init__(self) -> None:
        if (self.kind == "static") != (self.persistence == 1) or not 0 < self.persistence <= 1:
            raise ValueError(f"persistence must be 1 if static, in (0, 1) if dynamic, got {self.persistence}, {self.kind}")
        for name in ("covariance", "influence"):
            values = getattr(self, name)
            if values.shape != self.covariance.shape or not (np.isfinite(values) & (values > 0)).all():
                raise ValueError(f"{name} must be [d], positive and finite, got {values}")
        if (self.noise_variance < 0).any():
            raise ValueError(f"influence must be at most the persistence {self.persistence}, got {self.influence}")

    @property
    def signal_variance(self) -> np.ndarray:
        """Of z, [d]."""
        return self.covariance / self.persistence

    @property
    def noise_variance(self) -> np.ndarray:
        """Of n, [d]."""
        return self.covariance / self.influence - self.signal_variance

    def batches(self, copies: int, batch: int, generator: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Endless minibatches x, y, [copies, batch, d].

        Static batches are independent. Dynamic ones are ``batch`` parallel sequences that go on from one batch to the next.
        """
        shape = (copies, batch, len(self.covariance))
        noise, signal = np.sqrt(self.noise_variance), np.sqrt(self.signal_variance)
        innovation = signal * np.sqrt(1 - self.persistence**2)
        z = signal * generator.standard_normal(shape)
        x = z + noise * generator.standard_normal(shape)
        while True:
            z = self.persistence * z + innovation * generator.standard_normal(shape)
            y = z + noise * generator.standard_normal(shape)
            yield x, y
            if self.kind == "static":
                z = signal * generator.standard_normal(shape)
                x = z + noise * generator.standard_normal(shape)
            else:
                x = y


def _products(factors: np.ndarray) -> list[np.ndarray]:
    """1, W^1, W^2 W^1, ..., W^L ... W^1."""
    products = [np.broadcast_to(np.eye(factors.shape[-1]), factors[..., 0, :, :].shape)]
    for layer in range(factors.shape[-3]):
        products.append(factors[..., layer, :, :] @ products[-1])
    return products


def _flat(network: Network) -> np.ndarray:
    return np.concatenate([network.factors.ravel(), network.predictor.ravel()])


def _stacked(path: list[Network]) -> Network:
    factors = np.stack([network.factors for network in path])
    return Network(factors=factors, predictor=np.stack([network.predictor for network in path]))
