"""A memory for environments whose single observation hides the state: the last observations as one."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation


class History(FrameStackObservation):
    """The last ``length`` observations, oldest first, side by side along their last axis.

    That is the axis of a vector's components, of a grid's planes and of an image's channels; images with channels first
    are joined along the first. Before an episode's first observation there are zeros, or what is nearest to them within
    the bounds, so that nothing of the previous episode is seen.

    What tells observations apart by their bytes, as an agent's novelty and its memory of the episode do, meets a new one in
    nearly every step.

    Raises ValueError for a length below 1 and for observations that are no Box.
    """

    def __init__(self, env: gym.Env[Any, Any], length: int) -> None:
        space = env.observation_space
        if not isinstance(space, spaces.Box) or not space.shape:
            raise ValueError(f"a history needs observations in a Box of at least one dimension, got {space}")
        if length < 1:
            raise ValueError(f"history must be at least 1 observation, got {length}")
        # Before the stack records its own arguments: the first record is what ``spec`` makes again.
        gym.utils.RecordConstructorArgs.__init__(self, length=length)
        super().__init__(env, length, padding_type="zero")
        channels_first = len(space.shape) == 3 and space.shape[0] < min(space.shape[1:])
        self._axis = 0 if channels_first else len(space.shape) - 1
        low, high = (np.concatenate([bound] * length, axis=self._axis) for bound in (space.low, space.high))
        self.observation_space = spaces.Box(low, high, dtype=space.dtype.type)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """As the environment's, with the joined observation."""
        stacked, info = super().reset(seed=seed, options=options)
        return self._joined(stacked), info

    def step(self, action: Any) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]:
        """As the environment's, with the joined observation."""
        stacked, reward, terminated, truncated, info = super().step(action)
        return self._joined(stacked), reward, terminated, truncated, info

    def _joined(self, stacked: np.ndarray) -> np.ndarray:
        """Of [length, *shape]."""
        return np.concatenate(list(stacked), axis=self._axis)
