"""The world model as a Stable-Baselines3 environment: an algorithm can train on imagined episodes (Dyna)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from jepa_rl.agent.env_faults import successors
from jepa_rl.agent.jepa_agent import JEPAAgent
from jepa_rl.agent.snapshot import require_spaces


def latent_space(agent: JEPAAgent) -> spaces.Box:
    """The space of the agent's latents, float32 [latent_dim]."""
    return spaces.Box(-np.inf, np.inf, (agent.config.model.latent_dim,), np.float32)


class LatentEnv(VecEnv):
    """Imagined episodes: observations are latents, transitions and rewards the world model's.

    Episodes start at observations drawn from the agent's replay as its training draws them. A step terminates the episode
    with one minus the model's continuation probability: sampling keeps the expected return what the model says it is,
    where a threshold would make every probability above it a certainty. An episode that reaches the horizon is truncated,
    not terminated.

    Rewards are in environment units, or signs of rewards where the agent's ``replay.rewards`` is "sign".

    The model and the replay are the agent's own, as they are at each step. Latents of another encoder mean nothing, so
    reset after the agent has trained further; Stable-Baselines3's ``learn`` does unless told otherwise.

    Args:
        agent: an agent with transitions in its replay.
        n_envs: episodes that are imagined together.
        horizon: steps after which an episode is cut.
        seed: of the starts and terminations; ``seed()`` gives another one at the next reset, as every VecEnv does.

    Raises:
        TypeError: an algorithm that is no JEPAAgent.
        ValueError: an empty replay, an agent without a reward head, or a size below 1.
    """

    render_mode: str | None = None  # of the class, because VecEnv's constructor asks for it before it sets it

    def __init__(self, agent: JEPAAgent, n_envs: int, horizon: int, seed: int = 0) -> None:
        if n_envs < 1 or horizon < 1:
            raise ValueError(f"n_envs and horizon must be at least 1, got {n_envs} and {horizon}")
        if not isinstance(agent, JEPAAgent):
            raise TypeError(f"agent must be a JEPAAgent, whose world model imagines, got {type(agent).__name__}")
        if not agent.config.model.reward.weight:
            raise ValueError("agent must have a reward head (model.reward.weight above 0): without it nothing is paid")
        if agent.get_env() is None or not len(agent.replay):
            hint = ": load it with env" if agent.left_replay_behind else ""
            raise ValueError(f"agent must have transitions in its replay, to draw starts from; got one without{hint}")
        self.agent = agent
        self.horizon = horizon
        self._rng = np.random.default_rng(seed)
        self._steps = np.zeros(n_envs, np.int64)
        self._latent: np.ndarray | None = None  # [n_envs, latent_dim], where the episodes are; None before the first reset
        super().__init__(n_envs, latent_space(agent), agent.action_space)

    def reset(self) -> np.ndarray:
        """Begin all episodes anew; latents [n_envs, latent_dim]."""
        if self._seeds[0] is not None:
            self._rng = np.random.default_rng(self._seeds[0])
        self._reset_seeds()
        self._reset_options()
        self._steps[:] = 0
        self._latent = self._starts(self.num_envs)
        return self._latent.copy()

    def step_async(self, actions: np.ndarray) -> None:
        """Take actions of the agent's action space, [n_envs, *action_space.shape].

        Raises gymnasium.error.ResetNeeded before the first ``reset``.
        """
        if self._latent is None:
            raise gym.error.ResetNeeded("reset must come before the first step of imagined episodes: it draws their starts")
        self._action = self.agent.action_adapter.from_env(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Imagine the step.

        Raises FloatingPointError, naming the term, where the model's answer is not finite.
        """
        following, reward, continuation = self._imagine()
        self._steps += 1
        terminated = self._rng.random(self.num_envs) >= continuation
        done = terminated | (self._steps >= self.horizon)
        infos: list[dict[str, Any]] = [{} for _ in done]
        ended = np.flatnonzero(done)
        for env in ended:
            infos[env] = {"terminal_observation": following[env].copy(), "TimeLimit.truncated": not terminated[env]}
        if len(ended):
            following[ended] = self._starts(len(ended))
            self._steps[ended] = 0
        self._latent = following
        return following.copy(), reward, done, infos

    @torch.no_grad()
    def _imagine(self) -> list[np.ndarray]:
        latent, action = (torch.as_tensor(array, device=self.agent.device) for array in (self._latent, self._action))
        arrays = [part.float().cpu().numpy() for part in self.agent.model.step(latent, action)]
        for name, array in zip(("latent", "reward", "continuation probability"), arrays, strict=True):
            if not np.isfinite(array).all():
                raise FloatingPointError(f"an imagined {name} is not finite")
        return arrays

    @torch.no_grad()
    def _starts(self, number: int) -> np.ndarray:
        observation = self.agent.replay.sample(number, 1, self._rng).observation[:, 0]
        return self.agent.model.encode(observation.to(self.agent.device)).cpu().numpy()

    def close(self) -> None:
        """Nothing is held."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The attribute of this environment, once per index: the imagined environments are one object."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        raise AttributeError(f"imagined environments have no attributes of their own, so {attr_name} cannot be set")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        raise AttributeError(f"imagined environments have no methods of their own, so {method_name} cannot be called")

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        return [None] * self.num_envs


class LatentObservation(VecEnvWrapper):
    """Real environments seen through the agent's encoder: where a policy that was trained in a LatentEnv acts.

    Raises ValueError where the environments' spaces are not the agent's, TypeError for what is no VecEnv or no JEPAAgent.
    """

    def __init__(self, venv: VecEnv, agent: JEPAAgent) -> None:
        if not isinstance(venv, VecEnv):
            hint = "make_vec_env and jepa_rl.agent.vectorize make one"
            raise TypeError(f"venv must be a VecEnv ({hint}), got {venv!r}")
        if not isinstance(agent, JEPAAgent):
            raise TypeError(f"agent must be a JEPAAgent, whose encoder reads the observations, got {type(agent).__name__}")
        require_spaces(venv, agent.observation_space, agent.action_space)
        super().__init__(venv, observation_space=latent_space(agent))
        self.agent = agent

    def reset(self) -> np.ndarray:
        """Latents [n_envs, latent_dim]."""
        return self.agent.encode(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        """As the environments' own, with latents for observations, the final ones included."""
        observation, reward, done, infos = self.venv.step_wait()
        pack = self.agent.observation_adapter.pack
        packed = pack(observation)
        reached = successors(packed, done, infos, pack).observation
        for env in np.flatnonzero(done):
            infos[env] = {**infos[env], "terminal_observation": self.agent.encode(reached[[env]])[0]}
        return self.agent.encode(packed), reward, done, infos
