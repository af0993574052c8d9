"""Which states the latents keep apart and which they merge, pair by pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import pdist

from jepa_rl.world_model.lipschitz import ROUNDING


@dataclass(frozen=True, kw_only=True, slots=True)
class MergedObservations:
    """Two observations of states that are not equivalent, closer than they should be."""

    first: int  # row of the data
    second: int
    first_state: int
    second_state: int
    distance: float


class Pairs:
    """All pairs of N observations, and all pairs of the states that occur among them, in the order of pdist.

    Only states that ``depth`` separates (it is at least 0) can count as merged. Two of them do if their centroids are no
    further apart than either

    1. ``threshold``, a share of the mean distance between observations of such states, or
    2. their mean radius, the mean distance of an observation to its state's centroid: where all distances are tiny, noise
       must not pass for separation.

    Two observations count as merged by the first alone. A full collapse merges all pairs. The threshold is relative because
    the scale of a latent means nothing; that a tenth of the mean is near is a convention.

    Args:
        latent: [N, D].
        state: int[N], the state of each observation.
        depth: int[S, S], as ``separation_depth`` gives it.

    Raises ValueError for shapes and states that do not fit, FloatingPointError for latents that are not finite.
    """

    def __init__(self, latent: np.ndarray, state: np.ndarray, depth: np.ndarray) -> None:
        _check_pairs(latent, state, depth)
        self.state = state
        self.first, self.second = np.triu_indices(len(latent), 1)
        self.distance = pdist(latent)
        self._rounding = ROUNDING * float(np.linalg.norm(latent, axis=1).max())
        self.depth = depth[state[self.first], state[self.second]]
        occurring, member = np.unique(state, return_inverse=True)
        centre = np.stack([latent[member == k].mean(0) for k in range(len(occurring))])
        radius = np.bincount(member, np.linalg.norm(latent - centre[member], axis=1)) / np.bincount(member)
        one, other = np.triu_indices(len(occurring), 1)
        self.states = np.column_stack([occurring[one], occurring[other]])
        self.state_depth = depth[tuple(self.states.T)]
        self.state_distance = np.linalg.norm(centre[one] - centre[other], axis=1)
        self.mean_radius = (radius[one] + radius[other]) / 2

    @property
    def scale(self) -> float | None:
        """The mean distance between observations of states that are not equivalent; None where there are none."""
        apart = self.depth >= 0
        return float(self.distance[apart].mean()) if apart.any() else None

    def threshold(self, fraction: float) -> float:
        """The distance up to which two of them count as merged; ValueError for a ``fraction`` that is not in (0, 1)."""
        if not 0 < fraction < 1:
            raise ValueError(f"merge_fraction must be in (0, 1), got {fraction}")
        return max(fraction * (self.scale or 0.0), self._rounding)

    def merged_states(self, threshold: float) -> tuple[tuple[int, int], ...]:
        """Pairs of states that the table separates and the latents do not."""
        near = self.state_distance <= np.maximum(threshold, self.mean_radius)
        return tuple((int(i), int(j)) for i, j in self.states[near & (self.state_depth >= 0)])

    def closest(self, chosen: np.ndarray, count: int) -> tuple[MergedObservations, ...]:
        """The ``count`` closest of the chosen pairs of observations."""
        return tuple(
            MergedObservations(
                first=int(self.first[k]),
                second=int(self.second[k]),
                first_state=int(self.state[self.first[k]]),
                second_state=int(self.state[self.second[k]]),
                distance=float(self.distance[k]),
            )
            for k in chosen[np.argsort(self.distance[chosen], kind="stable")[:count]]
        )


def _check_pairs(latent: np.ndarray, state: np.ndarray, depth: np.ndarray) -> None:
    if latent.ndim != 2 or len(latent) < 2 or state.shape != (len(latent),):
        raise ValueError(f"latent [N > 1, D] and state [N] expected, got {list(latent.shape)} and {list(state.shape)}")
    if depth.ndim != 2 or depth.shape[0] != depth.shape[1]:
        raise ValueError(f"depth must be int[S, S], got {list(depth.shape)}")
    if not 0 <= state.min() <= state.max() < len(depth):
        raise ValueError(f"state must lie in 0..{len(depth) - 1}, got {state.min()}..{state.max()}")
    # No comparison with NaN is true: what collapsed by diverging would pass for "nothing merged".
    if not np.isfinite(latent).all():
        raise FloatingPointError("latents whose distances are asked for are not finite")
