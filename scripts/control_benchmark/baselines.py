"""Stable-Baselines3's SAC, PPO and DQN with the settings that RL Baselines3 Zoo has tuned for each task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from jepa_rl.agent import vectorize

# What a setting does not name is Stable-Baselines3's default.
_LANDER_PPO: dict[str, Any] = {
    **{"n_envs": 16, "n_steps": 1024, "batch_size": 64, "n_epochs": 4},
    **{"gamma": 0.999, "gae_lambda": 0.98, "ent_coef": 0.01},
}
_MUJOCO_POLICY: dict[str, Any] = {"log_std_init": -2, "ortho_init": False, "activation": "ReLU", "net_arch": [256, 256]}
_STEADY_DQN: dict[str, Any] = {
    **{"learning_rate": 6.3e-4, "batch_size": 128, "buffer_size": 50_000, "learning_starts": 0},
    **{"target_update_interval": 250, "train_freq": 4, "gradient_steps": -1},
    **{"epsilon_steps": 12_000, "exploration_final_eps": 0.1, "net_arch": [256, 256]},
}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "sac": {
        "Pendulum-v1": {"learning_rate": 1e-3},
        "MountainCarContinuous-v0": {
            **{"learning_rate": 3e-4, "buffer_size": 50_000, "batch_size": 512, "ent_coef": 0.1},
            **{"train_freq": 32, "gradient_steps": 32, "gamma": 0.9999, "tau": 0.01, "learning_starts": 0},
            **{"use_sde": True, "log_std_init": -3.67, "net_arch": [64, 64]},
        },
        "LunarLanderContinuous-v3": {
            **{"linear": ["learning_rate"], "learning_rate": 7.3e-4, "tau": 0.01},
            **{"learning_starts": 10_000, "net_arch": [400, 300]},
        },
        "Hopper-v5": {"learning_starts": 10_000},
        "HalfCheetah-v5": {"learning_starts": 10_000},
    },
    "ppo": {
        "Pendulum-v1": {
            **{"n_envs": 4, "n_steps": 1024, "n_epochs": 10, "gamma": 0.9, "gae_lambda": 0.95},
            **{"learning_rate": 1e-3, "use_sde": True, "sde_sample_freq": 4},
        },
        "CartPole-v1": {
            **{"n_envs": 8, "n_steps": 32, "batch_size": 256, "n_epochs": 20, "gamma": 0.98, "gae_lambda": 0.8},
            **{"linear": ["learning_rate", "clip_range"], "learning_rate": 1e-3, "clip_range": 0.2},
        },
        "MountainCarContinuous-v0": {
            **{"normalize": True, "n_envs": 1, "n_steps": 8, "batch_size": 256, "n_epochs": 10, "gamma": 0.9999},
            **{"gae_lambda": 0.9, "learning_rate": 7.77e-5, "ent_coef": 0.00429, "clip_range": 0.1},
            **{"max_grad_norm": 5, "vf_coef": 0.19, "use_sde": True, "log_std_init": -3.29, "ortho_init": False},
        },
        "Acrobot-v1": {
            **{"normalize": True, "n_envs": 16, "n_steps": 256, "n_epochs": 4, "gamma": 0.99, "gae_lambda": 0.94},
        },
        "LunarLander-v3": _LANDER_PPO,
        "LunarLanderContinuous-v3": _LANDER_PPO,
        "InvertedPendulum-v5": {
            **{"normalize": True, "n_envs": 1, "n_steps": 32, "batch_size": 64, "n_epochs": 5, "gamma": 0.999},
            **{"gae_lambda": 0.9, "learning_rate": 2.22425e-4, "ent_coef": 1.37976e-7, "clip_range": 0.4},
            **{"max_grad_norm": 0.3, "vf_coef": 0.19816},
        },
        "Hopper-v5": {
            **{"normalize": True, "n_envs": 1, "n_steps": 512, "batch_size": 32, "n_epochs": 5, "gamma": 0.999},
            **{"gae_lambda": 0.99, "learning_rate": 9.80828e-5, "ent_coef": 0.00229519, "clip_range": 0.2},
            **{"max_grad_norm": 0.7, "vf_coef": 0.835671, **_MUJOCO_POLICY},
        },
        "HalfCheetah-v5": {
            **{"normalize": True, "n_envs": 1, "n_steps": 512, "batch_size": 64, "n_epochs": 20, "gamma": 0.98},
            **{"gae_lambda": 0.92, "learning_rate": 2.0633e-5, "ent_coef": 0.000401762, "clip_range": 0.1},
            **{"max_grad_norm": 0.8, "vf_coef": 0.58096, **_MUJOCO_POLICY},
        },
    },
    "dqn": {
        "CartPole-v1": {
            **{"learning_rate": 2.3e-3, "batch_size": 64, "buffer_size": 100_000, "learning_starts": 1_000},
            **{"target_update_interval": 10, "train_freq": 256, "gradient_steps": 128},
            **{"epsilon_steps": 8_000, "exploration_final_eps": 0.04, "net_arch": [256, 256]},
        },
        "Acrobot-v1": _STEADY_DQN,
        "LunarLander-v3": _STEADY_DQN,
    },
}
OF_POLICY = ("log_std_init", "ortho_init", "net_arch", "activation")
CLASSES = {"sac": SAC, "ppo": PPO, "dqn": DQN}


def baseline_settings(algorithm: str, env_id: str) -> dict[str, Any]:
    """The Zoo's settings of a task; Stable-Baselines3's defaults, {}, where it has none."""
    return dict(SETTINGS[algorithm].get(env_id, {}))


class Normalised:
    """A policy that was trained on normalised observations, asked about those that the environment gives."""

    def __init__(self, model: BaseAlgorithm, statistics: VecNormalize) -> None:
        self.model = model
        self.statistics = statistics

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """As the model's, with the statistics of training so far."""
        return self.model.predict(self.statistics.normalize_obs(observation), state, episode_start, deterministic)


def make_baseline(
    algorithm: str, factory: Callable[[], gym.Env[Any, Any]], settings: dict[str, Any], seed: int, env_steps: int
) -> tuple[BaseAlgorithm, BaseAlgorithm | Normalised]:
    """An untrained model with ``settings`` of the form in SETTINGS, and what to evaluate."""
    given = dict(settings)
    policy = {name: given.pop(name) for name in OF_POLICY if name in given}
    if "activation" in policy:
        policy["activation_fn"] = getattr(nn, policy.pop("activation"))
    for name in given.pop("linear", ()):
        given[name] = LinearSchedule(given[name], 0.0, 1.0)
    if "epsilon_steps" in given:
        given["exploration_fraction"] = min(given.pop("epsilon_steps") / env_steps, 1.0)
    normalized = given.pop("normalize", False)
    venv = vectorize(factory, given.pop("n_envs", 1))
    if normalized:
        venv = VecNormalize(venv, gamma=given.get("gamma", 0.99))
    model = CLASSES[algorithm]("MlpPolicy", venv, policy_kwargs=policy or None, seed=seed, device="cpu", **given)
    return model, Normalised(model, venv) if isinstance(venv, VecNormalize) else model
