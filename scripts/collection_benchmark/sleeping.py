"""An environment whose steps take time without a processor: what waits for a simulator, a robot, a network."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

EPISODE = 100  # steps


class SleepingEnv(gym.Env[np.ndarray, np.int64]):
    """Every step sleeps for ``seconds``; a walk on a line, paid by where it is."""

    def __init__(self, seconds: float) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (4,), np.float32)
        self.action_space = spaces.Discrete(2)
        self._seconds = seconds

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin in the middle, without sleeping."""
        super().reset(seed=seed)
        self._place, self._steps = 0, 0
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Sleep, then go left or right."""
        time.sleep(self._seconds)
        self._place += 2 * int(action) - 1
        self._steps += 1
        return self._observation(), float(np.tanh(self._place)), False, self._steps >= EPISODE, {}

    def _observation(self) -> np.ndarray:
        return np.array([self._place, self._steps, 0, 1], np.float32) / EPISODE
