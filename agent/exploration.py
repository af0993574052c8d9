"""What an agent does of its own accord while it collects, instead of what its planner says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from jepa_rl.agent.config import ExplorationConfig
from jepa_rl.agent.spaces import ActionAdapter

Array = npt.NDArray[Any]


class Explorer(ABC):
    """Explores in n environments that step together."""

    @abstractmethod
    def share(self, timestep: int) -> float:
        """The share of actions that explore after ``timestep`` environment steps."""

    @abstractmethod
    def choose(self, timestep: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Which environments explore next, bool[n], and with which actions, [n, ...]; elsewhere these say nothing.

        Only ``rng`` moves on, so that a step that fails can be taken back.
        """

    @abstractmethod
    def begin(self, rng: np.random.Generator) -> None:
        """Every environment begins an episode."""

    @abstractmethod
    def note(self, chosen: Array, reward: Array, done: Array, rng: np.random.Generator) -> None:
        """The step was taken: where it explored, with the actions ``chosen`` [n, ...]."""

    @abstractmethod
    def state(self) -> dict[str, Array]:
        """Return what `load_state` needs to go on exactly."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Array]) -> None:
        """Take over a `state`; ValueError where its shapes do not fit."""


def noisy(action: Array, std: float, rng: np.random.Generator) -> Array:
    """Box actions [n, A] with Gaussian noise, within [-1, 1]; as they are, and nothing drawn, where ``std`` is 0."""
    if not std:
        return action
    return np.clip(action + rng.normal(scale=std, size=action.shape), -1, 1).astype(action.dtype)


class RandomActions(Explorer):
    """Uniform actions, in a share of the steps that falls as the configuration says."""

    def __init__(self, config: ExplorationConfig, actions: ActionAdapter, n_envs: int) -> None:
        self._config = config
        self._actions = actions
        self.held_action = np.zeros((n_envs, *actions.shape), actions.dtype)  # repeated for ``config.repeat`` steps
        self._held_steps = 0

    def share(self, timestep: int) -> float:
        return self._config.epsilon(timestep)

    def choose(self, timestep: int, rng: np.random.Generator) -> tuple[Array, Array]:
        n_envs = len(self.held_action)
        explores = rng.random(n_envs) < self.share(timestep)
        if self._held_steps % self._config.repeat:
            return explores, self.held_action
        return explores, self._actions.random(n_envs, rng)

    def begin(self, rng: np.random.Generator) -> None:
        pass  # what is held is held on, also from one episode into the next

    def note(self, chosen: Array, reward: Array, done: Array, rng: np.random.Generator) -> None:
        self.held_action = chosen
        self._held_steps += 1

    def state(self) -> dict[str, Array]:
        return {"held_action": self.held_action, "held_steps": np.array(self._held_steps)}

    def load_state(self, state: Mapping[str, Array]) -> None:
        if state["held_action"].shape != self.held_action.shape:
            expected, got = self.held_action.shape, state["held_action"].shape
            raise ValueError(f"the held action must have shape {expected}, got {got}")
        self.held_action = state["held_action"]
        self._held_steps = int(state["held_steps"])
