"""Where the environments of a run stand, and how to come back there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

Array = npt.NDArray[Any]


class OpenEpisodes:
    """The number of each environment's open episode, and the actions that were taken in it.

    Environments that are SeededEpisodes can be brought back to where they stood: seed, number and actions say it all. Of
    others nothing is known but whether a step of theirs was not stored.

    Args:
        venv: of n environments.
        pack: makes packed observations of what environments give.
    """

    def __init__(self, venv: VecEnv, pack: Callable[[Any], Array]) -> None:
        self._pack = pack
        self.connect(venv)
        self.number = np.full(venv.num_envs, -1, np.int64)  # counted from the environment's seeding; -1 before the first
        self.actions: list[list[Array]] = [[] for _ in range(venv.num_envs)]  # as the environments took them
        self.astray = False  # whether the environments went on by a step that was not stored

    def connect(self, venv: VecEnv) -> None:
        """These environments it is from now on."""
        self._venv = venv
        self._numbered = _has(venv, "rebuild_episode")  # they are SeededEpisodes
        # A wrapper around all environments has a memory of its own, which repeating one environment's actions lacks.
        self.rebuildable = self._numbered and not isinstance(venv, VecEnvWrapper)

    @property
    def begun(self) -> bool:
        """Whether episodes were begun since the environments were last seeded."""
        return bool((self.number >= 0).all())

    def begin(self) -> None:
        """Every environment was reset."""
        self.number += 1
        self._forget_actions()
        self.astray = False

    def step(self, action: Array, done: Array) -> None:
        """The actions [n, ...] were taken and stored; where ``done``, the next episode is open already."""
        for env, taken in enumerate(action):
            if done[env]:
                self.actions[env].clear()
            elif self._numbered:
                self.actions[env].append(taken)
        self.number += done
        self.astray = False

    def forget(self) -> None:
        """The environments were seeded: their next reset opens episode 0."""
        self.number[:] = -1
        self._forget_actions()

    def close(self, seed: int) -> None:
        """Put the environments, seeded from ``seed`` on, where their open episodes began: a reset opens the next ones."""
        self._forget_actions()
        for env in range(len(self.number)):
            self._repeat(env, seed)
        self._venv._reset_seeds()

    def come_back(self, seed: int, observation: Array) -> bool:
        """Bring environments that somebody else used meanwhile back to where the last step left them.

        Those that are no SeededEpisodes are taken to be there, but after a step that could not be stored. False where a
        reset must begin new episodes.

        Args:
            seed: that they were seeded from.
            observation: packed [n, ...], the last ones.
        """
        if not self._numbered:
            return not self.astray
        positions = [tuple(position) for position in self._venv.env_method("position")]
        if positions == [(number, len(taken)) for number, taken in zip(self.number, self.actions, strict=True)]:
            return True
        if self.number.max() < 0:  # seeded, and not reset yet
            if self.rebuildable:
                self._venv.seed(seed)
            return False
        if self.rebuildable and not self.rebuild(seed, observation):
            return True
        self.number[:] = [number for number, _ in self._venv.env_method("position")]
        return False

    def rebuild(self, seed: int, observation: Array) -> list[int]:
        """Repeat the open episodes; which environments did not come to their last packed observation [n, ...] again."""
        reached = [self._repeat(env, seed) for env in range(len(self.number))]
        # They stand in the open episodes now: where no seed waits for it, the next reset opens the ones after.
        self._venv._reset_seeds()
        return [
            env
            for env, (now, last) in enumerate(zip(reached, observation, strict=True))
            if now is None or not np.array_equal(self._pack(now), last)
        ]

    def _repeat(self, env: int, seed: int) -> Any:
        """The observation that repeating an environment's open episode leads to; None where it ends before."""
        arguments = seed + env, int(self.number[env]), self.actions[env]
        (reached,) = self._venv.env_method("rebuild_episode", *arguments, indices=[env])
        return reached

    def _forget_actions(self) -> None:
        self.actions = [[] for _ in self.actions]


def _has(venv: VecEnv, name: str) -> bool:
    """Whether the environments have an attribute; a VecEnv that is no set of environments may not say."""
    try:
        return venv.has_attr(name)
    except NotImplementedError:
        return False
