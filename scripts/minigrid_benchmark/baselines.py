"""Stable-Baselines3's PPO and n-step DQN on the symbolic view, with one setting for all tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from jepa_rl.agent import vectorize

PPO_SETTINGS: dict[str, Any] = {
    "n_envs": 8,
    "n_steps": 128,
    "batch_size": 256,
    "n_epochs": 4,
    "learning_rate": 5e-4,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "ent_coef": 0.01,
    "features": 128,
    "net_arch": [64, 64],  # Stable-Baselines3's default; one layer does worse: docs/results/minigrid_ppo_one_layer
}
DQN_SETTINGS: dict[str, Any] = {
    "n_envs": 1,
    "n_steps": 5,
    "batch_size": 64,
    "learning_rate": 2.5e-4,
    "gamma": 0.99,
    "buffer_size": 100_000,
    "learning_starts": 1_000,
    "train_freq": 4,
    "target_update_interval": 500,  # environment steps
    "epsilon_end": 0.05,
    "epsilon_steps": 12_000,  # from 1, on every task
    "net_arch": [256, 256],
}


class OneHotView(BaseFeaturesExtractor):
    """The symbolic view uint8[V, V, 4] as one-hot vectors, flat: 20 per cell and 4 for the direction, 984 at V = 7.

    It is the information that ``SymbolicView`` gives, and no more.
    """

    plane: Tensor
    value: Tensor
    direction: Tensor

    def __init__(self, observation_space: spaces.Box) -> None:
        *self.view, planes = observation_space.shape
        if planes != 4:
            raise ValueError(f"expected the symbolic view [V, V, 4], got {observation_space}")
        sizes = observation_space.high[0, 0].astype(int) + 1
        self.per_cell, self.directions = int(sizes[:3].sum()), int(sizes[3])
        super().__init__(observation_space, self.view[0] * self.view[1] * self.per_cell + self.directions)
        # Which of the cell's entries stands for which plane and which of its values.
        self.register_buffer("plane", torch.repeat_interleave(torch.arange(3), torch.as_tensor(sizes[:3])))
        self.register_buffer("value", torch.cat([torch.arange(size) for size in sizes[:3]]))
        self.register_buffer("direction", torch.arange(self.directions))

    def cells(self, observation: Tensor) -> Tensor:
        """float[N, V, V, 20], from observations [N, V, V, 4] of any dtype."""
        return (observation[..., self.plane] == self.value).float()

    def facing(self, observation: Tensor) -> Tensor:
        """float[N, 4]."""
        return (observation[:, 0, 0, 3, None] == self.direction).float()

    def forward(self, observation: Tensor) -> Tensor:
        return torch.cat([self.cells(observation).flatten(1), self.facing(observation)], dim=1)


class OneHotCNN(OneHotView):
    """Three 2x2 convolutions over the one-hot cells, as in MiniGrid's documentation; the direction joins after them."""

    def __init__(self, observation_space: spaces.Box, features: int) -> None:
        super().__init__(observation_space)
        self._features_dim = features
        self.convolutions = nn.Sequential(
            *(nn.Conv2d(self.per_cell, 16, 2), nn.ReLU()),
            *(nn.Conv2d(16, 32, 2), nn.ReLU()),
            *(nn.Conv2d(32, 64, 2), nn.ReLU(), nn.Flatten()),
        )
        flat = 64 * (self.view[0] - 3) * (self.view[1] - 3)
        self.head = nn.Sequential(nn.Linear(flat + self.directions, features), nn.ReLU())

    def forward(self, observation: Tensor) -> Tensor:
        seen = self.convolutions(self.cells(observation).permute(0, 3, 1, 2))
        return self.head(torch.cat([seen, self.facing(observation)], dim=1))


class EpsilonGreedy:
    """A DQN as it acts with a fixed share of random actions, drawn for each environment on its own.

    Stable-Baselines3's ``predict`` draws once for a whole batch, and from the generator that collecting uses.
    """

    def __init__(self, model: DQN, epsilon: float, rng: np.random.Generator) -> None:
        self.model = model
        self.epsilon = epsilon
        self.rng = rng

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """Actions [N] for observations [N, ...]."""
        action, _ = self.model.predict(observation, deterministic=True)
        if not deterministic:
            assert isinstance(self.model.action_space, spaces.Discrete)
            explore = self.rng.random(len(action)) < self.epsilon
            action = np.where(explore, self.rng.integers(self.model.action_space.n, size=len(action)), action)
        return action, None


def make_ppo(factory: Callable[[], gym.Env[Any, Any]], settings: dict[str, Any], seed: int, env_steps: int) -> PPO:
    """PPO with the CNN over one-hot cells; ``settings`` as in PPO_SETTINGS."""
    given = dict(settings)
    policy = {
        "features_extractor_class": OneHotCNN,
        "features_extractor_kwargs": {"features": given.pop("features")},
        "net_arch": given.pop("net_arch"),
    }
    envs = vectorize(factory, given.pop("n_envs"))
    return PPO("MlpPolicy", envs, policy_kwargs=policy, seed=seed, device="cpu", **given)


def make_dqn(factory: Callable[[], gym.Env[Any, Any]], settings: dict[str, Any], seed: int, env_steps: int) -> DQN:
    """DQN with n-step returns and an MLP on the flat one-hot view; ``settings`` as in DQN_SETTINGS."""
    given = dict(settings)
    policy = {"features_extractor_class": OneHotView, "net_arch": given.pop("net_arch")}
    envs = vectorize(factory, given.pop("n_envs"))
    return DQN(
        "MlpPolicy",
        envs,
        policy_kwargs=policy,
        seed=seed,
        device="cpu",
        exploration_final_eps=given.pop("epsilon_end"),
        exploration_fraction=given.pop("epsilon_steps") / env_steps,
        **given,
    )


@dataclass(frozen=True)
class Baseline:
    """How a baseline is made, and with which settings."""

    make: Callable[[Callable[[], gym.Env[Any, Any]], dict[str, Any], int, int], BaseAlgorithm]
    settings: dict[str, Any]


BASELINES = {"ppo": Baseline(make_ppo, PPO_SETTINGS), "dqn": Baseline(make_dqn, DQN_SETTINGS)}
