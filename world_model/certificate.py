"""How far apart a trained model must keep observations that are not bisimilar, against how far apart it keeps them.

Quantitative form of the no-collapse theorem of arXiv:2509.12249 (our derivation): the distance that ``distance_bound``
gives follows from the model's errors and Lipschitz constants. Encoder E, dynamics T, auxiliary head P, label p.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from jepa_rl.world_model.bisimulation import separation_depth
from jepa_rl.world_model.lipschitz import lipschitz_estimate, plain
from jepa_rl.world_model.merging import MergedObservations, Pairs

LABEL_TOLERANCE = 1e-4  # labels pass through float32 as well
LABEL_ROUNDING = 4 * float(np.finfo(np.float64).eps)  # of a label: 0.1 + 0.2 and 0.3 are one value, written in two ways


def separation_gap(transition: ArrayLike, label: ArrayLike, depth: ArrayLike) -> np.ndarray:
    """The gap D of each pair, float64[S, S]: how far apart a common sequence of depth(i, j) actions can bring the labels.

    ``transition`` is int[S, A], ``label`` [S] or [S, m] (compared in the Euclidean norm), ``depth`` int[S, S] that of
    ``separation_depth``. 0 where the depth is -1. Raises ValueError for shapes and indices that do not fit, and for labels
    that differ by no more than float64 rounds: ``depth``, which compares exactly, tells them apart, and no bound could.
    """
    transition, depth, label = np.asarray(transition), np.asarray(depth), np.asarray(label, np.float64)
    states = len(label)
    label = label.reshape(states, -1)
    if transition.ndim != 2 or len(transition) != states or transition.dtype.kind not in "iu":
        raise ValueError(f"transition must be int[S={states}, A], got {transition.dtype}{list(transition.shape)}")
    if not 0 <= transition.min() <= transition.max() < states:
        raise ValueError(f"transition must lie in 0..{states - 1}, got {transition.min()}..{transition.max()}")
    if depth.shape != (states, states) or depth.dtype.kind != "i":
        raise ValueError(f"depth must be int[{states}, {states}] like label, got {depth.dtype}{list(depth.shape)}")
    gap = np.zeros((states, states))
    first, second = np.nonzero(depth == 0)
    gap[first, second] = np.linalg.norm(label[first] - label[second], axis=1)
    size = np.linalg.norm(label, axis=1)
    alike = np.flatnonzero(gap[first, second] <= LABEL_ROUNDING * np.maximum(size[first], size[second]))
    if len(alike):
        i, j = int(first[alike[0]]), int(second[alike[0]])
        raise ValueError(
            f"labels must be equal or differ by more than float64 rounds, got {label[i].tolist()} of state {i} and "
            f"{label[j].tolist()} of state {j}, which depth tells apart: round the labels first"
        )
    for n in range(1, depth.max() + 1):
        first, second = np.nonzero(depth == n)
        for successor in transition.T:
            led = successor[first], successor[second]
            # No successors separate earlier than n - 1; those that do later show no gap yet.
            gap[first, second] = np.maximum(gap[first, second], np.where(depth[led] == n - 1, gap[led], 0.0))
    return gap


def distance_bound(
    gap: float | np.ndarray,
    label_error: float | np.ndarray,
    dynamics_error: float | np.ndarray,
    lipschitz_label: float | np.ndarray,
    lipschitz_dynamics: float | np.ndarray,
    depth: int | np.ndarray,
) -> np.ndarray:
    """The least distance between the latents of two observations whose labels differ by ``gap`` after ``depth`` actions:

        [(gap - 2 e_p) / K_P - 2 e_T (K_T^n - 1) / (K_T - 1)] / K_T^n,   with 2 e_T n in the middle where K_T = 1,

    if |P(E(o)) - p(o)| <= e_p, ||T(E(o), a) - E(f(o, a))|| <= e_T, Lip(P) = K_P and Lip(T(., a)) = K_T for all o, a.
    Broadcasts; an array of dimension 0 for numbers. A bound of at most 0 is vacuous.

    Raises ValueError for errors or depths below 0 and constants of at most 0, FloatingPointError for a result that is not
    finite.
    """
    at_least_0 = {"gap": gap, "label_error": label_error, "dynamics_error": dynamics_error, "depth": depth}
    above_0 = {"lipschitz_label": lipschitz_label, "lipschitz_dynamics": lipschitz_dynamics}
    for name, value in (at_least_0 | above_0).items():
        if not np.all(np.asarray(value) > 0 if name in above_0 else np.asarray(value) >= 0):
            raise ValueError(f"{name} must be {'above' if name in above_0 else 'at least'} 0, got {np.min(value)}")
    constant = np.asarray(lipschitz_dynamics, np.float64)
    # (K^n - 1) / (K - 1) / K^n = (1 - K^-n) / (K - 1): no power of a large constant overflows, and none cancels near 1.
    exponent = -np.asarray(depth) * np.log(constant)
    excess = np.where(constant == 1, 1.0, constant - 1)
    with np.errstate(over="ignore", invalid="ignore"):  # answered by the error below
        steps = np.where(constant == 1, depth, -np.expm1(exponent) / excess)
        bound = (np.asarray(gap) - 2 * np.asarray(label_error)) / lipschitz_label * np.exp(exponent)
        bound = np.asarray(bound - 2 * np.asarray(dynamics_error) * steps)
    if not np.isfinite(bound).all():
        raise FloatingPointError("the distance bound is not finite")
    return bound


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorSummary:
    """Errors over the held-out observations, in the units of what is predicted."""

    maximum: float
    mean: float
    quantile_99: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthRow:
    """Pairs of occurring states that separate after ``depth`` common actions: what they must keep, and what they keep.

    Bounds hold for the smallest gap of these pairs; None where P or T is constant, for then no finite bound exists.
    """

    depth: int
    state_pairs: int
    gap: float  # smallest of the pairs
    bound_largest_errors: float | None
    bound_mean_errors: float | None
    observation_min: float  # distances between observations of such pairs
    observation_quantile_01: float
    observation_mean: float
    centroid_min: float  # distances between such states' mean latents
    centroid_mean: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """Bounds and measurements for one trained model; ``dataclasses.asdict`` makes it plain JSON.

    An estimate, not a proof: the Lipschitz constants are lower bounds of the true ones, the errors those of a sample.
    """

    observations: int
    label_error: ErrorSummary
    dynamics_error: ErrorSummary
    dynamics_error_relative: float | None  # mean error / mean_distance; None where that is 0 or None
    lipschitz_label: float
    lipschitz_dynamics: float
    mean_distance: float | None  # between observations of states that are not equivalent; None if there are none
    depths: tuple[DepthRow, ...]
    separable_state_pairs: int  # occurring, not equivalent
    merged_states: tuple[tuple[int, int], ...]
    merged_observation_share: float  # of the pairs of observations of states that are not equivalent
    closest_merged: tuple[MergedObservations, ...]


def certify(
    *,
    latent: Tensor | ArrayLike,
    state: ArrayLike,
    action: Tensor | ArrayLike,
    next_latent: Tensor | ArrayLike,
    label: ArrayLike,
    transition: ArrayLike,
    state_label: ArrayLike,
    predict: Callable[[Tensor, Tensor], Tensor],
    read: Callable[[Tensor], Tensor],
    merge_fraction: float = 0.1,
    listed: int = 20,
    seed: int = 0,
) -> Certificate:
    """Compare ``distance_bound`` with the latents of N held-out observations. Memory is O(N^2).

    ``latent`` [N, D] encodes observations of the exact states int[N]; ``action`` [N, ...] was taken there and led to what
    ``next_latent`` encodes. ``label`` is their p, [N] or [N, m]; ``transition`` int[S, A] and ``state_label``, [S] or
    [S, m], are the exact table. ``predict`` is T, latents and actions to latents; ``read`` is P, latents to [N] or [N, m].
    Both must be differentiable and treat rows independently. ``seed`` draws the sample of the Lipschitz estimates. Lists,
    arrays and tensors will do for all data.

    Which states count as merged is said in ``merging.Pairs``; of the merged observations the closest ``listed`` are named.

    Raises ValueError for shapes and ranges that do not fit, a ``label`` other than the table's, and functions without a
    gradient; FloatingPointError for latents, predictions, readings and Jacobians that are not finite.
    """
    if listed < 0:
        raise ValueError(f"listed must be at least 0, got {listed}")
    latent, action, next_latent = (torch.as_tensor(given) for given in (latent, action, next_latent))
    state, label, transition, state_label = (np.asarray(given) for given in (state, label, transition, state_label))
    depth = separation_depth(transition, state_label)
    _check_data(latent, state, action, next_latent, label, state_label)
    with torch.no_grad():
        errors = (
            _errors("read", read(latent), torch.as_tensor(label)),
            _errors("predict", predict(latent, action), next_latent),
        )
    pairs = Pairs(plain(latent), state, depth)
    lipschitz = lipschitz_estimate(read, latent, None, seed), lipschitz_estimate(predict, latent, action, seed)
    gap = separation_gap(transition, state_label, depth)
    apart = pairs.depth >= 0
    scale = pairs.scale
    threshold = pairs.threshold(merge_fraction)
    merged = np.flatnonzero(apart & (pairs.distance <= threshold))
    return Certificate(
        observations=len(latent),
        label_error=errors[0],
        dynamics_error=errors[1],
        dynamics_error_relative=errors[1].mean / scale if scale else None,
        lipschitz_label=lipschitz[0],
        lipschitz_dynamics=lipschitz[1],
        mean_distance=scale,
        depths=tuple(
            _depth_row(int(n), pairs, gap, errors, lipschitz) for n in np.unique(pairs.state_depth[pairs.state_depth >= 0])
        ),
        separable_state_pairs=int((pairs.state_depth >= 0).sum()),
        merged_states=pairs.merged_states(threshold),
        merged_observation_share=len(merged) / max(int(apart.sum()), 1),
        closest_merged=pairs.closest(merged, listed),
    )


def _depth_row(
    depth: int,
    pairs: Pairs,
    gap: np.ndarray,
    errors: tuple[ErrorSummary, ErrorSummary],
    lipschitz: tuple[float, float],
) -> DepthRow:
    at_depth = pairs.state_depth == depth
    smallest = float(gap[tuple(pairs.states[at_depth].T)].min())
    bounds: list[float | None] = [None, None]
    if min(lipschitz) > 0:
        largest, mean = (errors[0].maximum, errors[1].maximum), (errors[0].mean, errors[1].mean)
        bounds = [float(distance_bound(smallest, e_p, e_t, *lipschitz, depth)) for e_p, e_t in (largest, mean)]
    observed, centroids = pairs.distance[pairs.depth == depth], pairs.state_distance[at_depth]
    return DepthRow(
        depth=depth,
        state_pairs=int(at_depth.sum()),
        gap=smallest,
        bound_largest_errors=bounds[0],
        bound_mean_errors=bounds[1],
        observation_min=float(observed.min()),
        observation_quantile_01=float(np.quantile(observed, 0.01)),
        observation_mean=float(observed.mean()),
        centroid_min=float(centroids.min()),
        centroid_mean=float(centroids.mean()),
    )


def _errors(name: str, predicted: Tensor, actual: Tensor) -> ErrorSummary:
    """Euclidean distances of the rows [N] or [N, m]."""
    if predicted.numel() != actual.numel() or len(predicted) != len(actual):
        raise ValueError(f"{name} must return {list(actual.shape)}, got {list(predicted.shape)}")
    error = np.linalg.norm(plain(predicted) - plain(actual), axis=1)
    if not np.isfinite(error).all():
        raise FloatingPointError(f"{name} returned values that are not finite")
    return ErrorSummary(maximum=float(error.max()), mean=float(error.mean()), quantile_99=float(np.quantile(error, 0.99)))


def _check_data(
    latent: Tensor, state: np.ndarray, action: Tensor, next_latent: Tensor, label: np.ndarray, state_label: np.ndarray
) -> None:
    rows = len(latent)
    if latent.ndim != 2 or rows < 2 or next_latent.shape != latent.shape:
        raise ValueError(f"latents must be [N > 1, D], twice, got {list(latent.shape)} and {list(next_latent.shape)}")
    for name, length in {"state": len(state), "action": len(action), "label": len(label)}.items():
        if length != rows:
            raise ValueError(f"{name} must have {rows} rows like latent, got {length}")
    if state.ndim != 1 or state.dtype.kind not in "iu" or not 0 <= state.min() <= state.max() < len(state_label):
        raise ValueError(f"state must be int[N] in 0..{len(state_label) - 1}, got {state.dtype}{list(state.shape)}")
    if not (torch.isfinite(latent).all() and torch.isfinite(next_latent).all()):
        raise FloatingPointError("latents are not finite")
    label, expected = np.asarray(label, np.float64), np.asarray(state_label, np.float64)[state]
    if label.shape != expected.shape:
        raise ValueError(f"label must be state_label[state], {list(expected.shape)}, got {list(label.shape)}")
    same = np.isclose(label, expected, rtol=LABEL_TOLERANCE, atol=LABEL_TOLERANCE).reshape(rows, -1).all(1)
    if not same.all():
        row = int(same.argmin())
        raise ValueError(
            f"label must be state_label[state], {expected[row].tolist()} in row {row} of state {state[row]}, got "
            f"{label[row].tolist()}"
        )
