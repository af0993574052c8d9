"""Windows of single episodes out of Stable-Baselines3's replay buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import VecNormalize

from jepa_rl.agent.config import Rewards
from jepa_rl.agent.sb3 import ObservationReader
from jepa_rl.agent.spaces import ActionAdapter
from jepa_rl.world_model import Batch


class ReplayBufferWindows:
    """Windows of single episodes from Stable-Baselines3's replay buffer, drawn uniformly.

    A window ends where an episode does, at the newest transition, and where the environment was reset in the middle of an
    episode, which the buffer shows only by an observation that does not follow. Observations are labelled with the
    reward that arriving there paid; ``rewards`` "sign" keeps the sign of each.

    Raises ValueError for a buffer that does not keep the final observations of episodes.
    """

    def __init__(
        self,
        buffer: ReplayBuffer,
        observations: ObservationReader,
        actions: ActionAdapter,
        *,
        rewards: Rewards = "plain",
        normalize: VecNormalize | None = None,
    ) -> None:
        if buffer.optimize_memory_usage:
            raise ValueError(
                "optimize_memory_usage must be off: with it the replay buffer loses the final observations of episodes"
            )
        self._buffer = buffer
        self._reader = observations
        self._actions = actions
        self._rewards = rewards
        self._normalize = normalize

    def __len__(self) -> int:
        """Return the number of transitions that windows can start with."""
        return self._buffer.size() * self._buffer.n_envs

    def sample(self, batch_size: int, transitions: int, rng: np.random.Generator) -> Batch:
        """As ``SequenceReplay.sample``."""
        buffer = self._buffer
        env = rng.integers(buffer.n_envs, size=(batch_size, 1))
        start = rng.integers(buffer.size(), size=(batch_size, 1))
        follows = self._follows(env, start + np.arange(transitions))
        labelled = np.concatenate([follows[:, :1], np.ones_like(follows)], axis=1)
        follows[:, 0] = True
        alive = np.logical_and.accumulate(follows, axis=1)
        row = self._row(start + alive.cumsum(axis=1) - 1)
        before = np.concatenate([self._row(start - 1), row], axis=1)
        action = self._agent_actions(buffer.actions[row, env])
        action[~alive] = 0
        ended = (buffer.dones[row, env] > 0) & (buffer.timeouts[row, env] == 0)
        fields = {
            "observation": self._observations(env, row),
            "action": action,
            "reward": self._kept(buffer.rewards[row, env]) * alive,
            "terminated": ended & alive,
            "alive": alive,
            "label": self._kept(buffer.rewards[before, env]) * labelled,
            "labelled": labelled,
            # Unknown: a buffer of transitions does not keep how its episodes ended.
            "outcome": np.full(alive.shape, -np.inf, np.float32),
        }
        tensors: dict[str, Any] = {name: torch.from_numpy(field) for name, field in fields.items()}
        return Batch(**tensors)

    def _kept(self, reward: np.ndarray) -> np.ndarray:
        return np.sign(reward) if self._rewards == "sign" else reward

    def _row(self, age: np.ndarray) -> np.ndarray:
        oldest = self._buffer.pos if self._buffer.full else 0
        return (oldest + age) % self._buffer.buffer_size

    def _follows(self, env: np.ndarray, age: np.ndarray) -> np.ndarray:
        """Whether each transition, numbered from the oldest, goes on from the one before it."""
        buffer, row, before = self._buffer, self._row(age), self._row(age - 1)
        same = _each(
            lambda now, successor: (now[row, env] == successor[before, env]).reshape(*age.shape, -1).all(-1),
            buffer.observations,
            buffer.next_observations,
        )
        same = np.logical_and.reduce(list(same.values())) if isinstance(same, dict) else same
        stored = (age >= 1) & (age < buffer.size())
        follows: np.ndarray = stored & (buffer.dones[before, env] == 0) & same
        return follows

    def _observations(self, env: np.ndarray, row: np.ndarray) -> np.ndarray:
        buffer = self._buffer
        observation = _each(
            lambda now, successor: np.concatenate([now[row[:, :1], env], successor[row, env]], axis=1).reshape(
                -1, *now.shape[2:]
            ),
            buffer.observations,
            buffer.next_observations,
        )
        if self._normalize is not None:
            observation = self._normalize.normalize_obs(observation)
        packed = self._reader.pack(_without_added_axes(buffer.observation_space, observation))
        return packed.reshape(len(row), -1, *packed.shape[1:])

    def _agent_actions(self, taken: np.ndarray) -> np.ndarray:
        if not self._actions.counts:
            return taken.astype(np.float32)  # Stable-Baselines3 stores them scaled to [-1, 1]
        return self._actions.from_env(taken.reshape(-1, taken.shape[2])).reshape(*taken.shape[:2], *self._actions.shape)


def _without_added_axes(space: spaces.Space[Any], observation: Any) -> Any:
    """The buffers keep an axis of length 1 with Discrete observations [N, 1]."""
    if isinstance(space, spaces.Dict):
        return {key: _without_added_axes(part, observation[key]) for key, part in space.items()}
    return observation[:, 0] if isinstance(space, spaces.Discrete) else observation


def _each(function: Callable[..., Any], *observations: Any) -> Any:
    """Apply a function to arrays, or to each part of dicts of them."""
    if not isinstance(observations[0], dict):
        return function(*observations)
    return {key: function(*(observation[key] for observation in observations)) for key in observations[0]}
