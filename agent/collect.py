"""One step of all environments: choose actions, act, remember."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs

from jepa_rl.agent.config import ExplorationConfig
from jepa_rl.agent.labels import Labeller
from jepa_rl.agent.observations import ObservationAdapter
from jepa_rl.agent.random_streams import RandomStreams
from jepa_rl.agent.replay import SequenceReplay
from jepa_rl.agent.spaces import ActionAdapter

Decide = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Maps packed observations [n, ...], previous plans [n, H, ...] and warm bool[n] to the new plans [n, H, ...]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorStep:
    """What one step of n environments gave; where done, ``observation`` begins the next episode already."""

    observation: VecEnvObs  # as the environments gave it
    reward: np.ndarray  # [n]
    done: np.ndarray  # bool[n]
    info: list[dict[str, Any]]


class Collector:
    """Acts in a VecEnv and fills the replay; keeps what is needed to rebuild the open episodes.

    An exception out of ``step``, from the environments or because they returned something that is not finite, leaves the
    collector, the replay and the random streams as they were before the step.
    """

    def __init__(
        self,
        *,
        venv: VecEnv,
        replay: SequenceReplay,
        labeller: Labeller,
        observations: ObservationAdapter,
        actions: ActionAdapter,
        exploration: ExplorationConfig,
        streams: RandomStreams,
        decide: Decide,
        horizon: int,
    ) -> None:
        self.venv = venv
        self.replay = replay
        self._labeller = labeller
        self._observations = observations
        self._actions = actions
        self._exploration = exploration
        self._streams = streams
        self._decide = decide
        n_envs = venv.num_envs
        self.observation = np.zeros((n_envs, *observations.shape), observations.dtype)  # packed; what to act on next
        self.plan = np.zeros((n_envs, horizon, *actions.shape), actions.dtype)
        self.warm = np.zeros(n_envs, bool)
        self.held_action = np.zeros((n_envs, *actions.shape), actions.dtype)
        self.held_steps = 0
        self.episode = np.full(n_envs, -1, np.int64)  # number of the open episode, counted from the environment's seeding
        self.open_actions: list[list[np.ndarray]] = [[] for _ in range(n_envs)]

    @property
    def begun(self) -> bool:
        """Whether ``begin`` ever succeeded."""
        return bool((self.episode >= 0).all())

    def begin(self, observation: VecEnvObs) -> None:
        """Start from the n observations of a vector reset; an exception leaves everything as it was."""
        streams = self._streams.state()
        try:
            packed = self._observations.pack(observation)
            self.replay.begin(packed, self._labeller(packed, self._reset_infos()))
        except BaseException:
            self._streams.load_state(*streams)
            raise
        self.observation = packed
        self.warm[:] = False
        self.episode += 1
        self.open_actions = [[] for _ in self.open_actions]

    def step(self, timestep: int) -> VectorStep:
        """Act once in every environment, after ``timestep`` environment steps in total."""
        streams = self._streams.state()
        try:
            explore, held = self._choose_random(timestep)
            plan = self._choose_planned(~explore)
            action = np.where(explore.reshape(-1, *[1] * (held.ndim - 1)), held, plan[:, 0])
            env_action = self._actions.to_env(action)
            following, reward, done, infos = self.venv.step(env_action)
            result = VectorStep(observation=following, reward=reward, done=done, info=infos)
            packed = self._observations.pack(following)
            self._store(action, packed, result)
        except BaseException:
            self._streams.load_state(*streams)
            raise
        self.observation = packed
        self.plan, self.warm = plan, ~explore & ~done
        self.held_action, self.held_steps = held, self.held_steps + 1
        for env, taken in enumerate(env_action):
            if done[env]:
                self.open_actions[env].clear()
            else:
                self.open_actions[env].append(taken)
        self.episode += done
        return result

    def _choose_random(self, timestep: int) -> tuple[np.ndarray, np.ndarray]:
        """Which environments act at random, bool[n], and with which actions [n, ...]."""
        rng, n_envs = self._streams.exploration, self.venv.num_envs
        explore = rng.random(n_envs) < self._exploration.epsilon(timestep)
        held = self.held_action
        if self.held_steps % self._exploration.repeat == 0:
            held = self._actions.random(n_envs, rng)
        return explore, held

    def _choose_planned(self, planned: np.ndarray) -> np.ndarray:
        """Plans [n, H, ...], renewed where ``planned``."""
        if not planned.any():
            return self.plan
        plan = self.plan.copy()
        plan[planned] = self._decide(self.observation[planned], self.plan[planned], self.warm[planned])
        return plan

    def _store(self, action: np.ndarray, observation: np.ndarray, result: VectorStep) -> None:
        truncated = np.array([bool(info.get("TimeLimit.truncated")) for info in result.info]) & result.done
        successor = observation.copy()
        ended = np.flatnonzero(result.done)
        for env in ended:
            successor[env] = self._observations.pack(result.info[env]["terminal_observation"])
        # Where an episode ended, the step's info is that of its final observation, and the next one's came with the reset.
        next_labels = self._labeller(successor, result.info)
        reset_infos = self._reset_infos()
        begun = self._labeller(observation[ended], [reset_infos[env] for env in ended])
        self.replay.add(
            action=action,
            reward=result.reward,
            terminated=result.done & ~truncated,
            truncated=truncated,
            next_observation=successor,
            reset_observation=observation,
            label=np.array([info.get("auxiliary", np.nan) for info in result.info]),
            next_labels=next_labels,
            reset_labels=begun.spread(result.done),
        )

    def _reset_infos(self) -> list[dict[str, Any]]:
        # A wrapper around vector environments has a list of its own, which nobody fills.
        infos: list[dict[str, Any]] = self.venv.unwrapped.reset_infos
        return infos
