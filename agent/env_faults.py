"""Environments that break Gymnasium's interface, differ from one another or die: named where it happens."""

from __future__ import annotations

import multiprocessing.connection
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import SubprocVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

_STEP = "(observation, reward, terminated, truncated, info)"
SECONDS_TO_DIE = 5.0  # of a process whose pipe is closed already


class CheckedReturns(gym.Wrapper[Any, Any, Any, Any]):
    """Refuses what is no answer of a Gymnasium environment, before a buffer of fixed size reshapes or breaks on it.

    Raises:
        TypeError: ``reset`` or ``step`` returned no tuple of two or five parts.
        ValueError: an observation of another shape than the space's, or a space that changed since the agent was made.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._name = type(env.unwrapped).__name__
        self._spaces = {name: getattr(env, name) for name in ("observation_space", "action_space")}
        space = env.observation_space
        self._shape = space.shape if isinstance(space, spaces.Box) else None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        returned: Any = self.env.reset(seed=seed, options=options)
        if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], dict)):
            raise TypeError(f"{self._name}.reset must return (observation, info), got {_outline(returned)}")
        for name, before in self._spaces.items():
            now = getattr(self.env, name)
            if now is not before and now != before:
                raise ValueError(f"{self._name}.{name} must stay {before}, got {now} after a reset")
        self._check_shape("reset", returned[0])
        return returned

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        returned: Any = self.env.step(action)
        if not (isinstance(returned, tuple) and len(returned) == 5 and isinstance(returned[4], dict)):
            raise TypeError(f"{self._name}.step must return {_STEP}, got {_outline(returned)}")
        if np.ndim(returned[1]) or returned[1] is None:
            raise TypeError(f"{self._name}.step must return a number as the reward, got {returned[1]!r}")
        self._check_shape("step", returned[0])
        return returned

    def _check_shape(self, method: str, observation: Any) -> None:
        if self._shape is not None and np.shape(observation) != self._shape:
            raise ValueError(
                f"{self._name}.{method} must return an observation of shape {self._shape}, got {np.shape(observation)}"
            )


def require_equal_spaces(envs: Sequence[gym.Env[Any, Any]] | VecEnv) -> None:
    """Raise ValueError where environments that are to step together differ in a space, naming the first that does."""
    for name in ("observation_space", "action_space"):
        try:
            found = envs.get_attr(name) if isinstance(envs, VecEnv) else [getattr(env, name) for env in envs]
        except (AttributeError, NotImplementedError):
            return  # a VecEnv that is no set of environments speaks for itself
        for number, space in enumerate(found):
            if space != found[0]:
                raise ValueError(f"environments must have the same {name}, got {found[0]} of 0 and {space} of {number}")


def step_all(venv: VecEnv, action: np.ndarray) -> VecEnvStepReturn:
    """Step environments; where one of their processes died, stop the others.

    Raises RuntimeError for a process that ended, and whatever an environment of this process raises.
    """
    try:
        return venv.step(action)
    except (EOFError, OSError) as error:
        workers = venv.unwrapped
        if not isinstance(workers, SubprocVecEnv):
            raise
        ended = _stop(workers)
        if not ended:
            raise
        raise RuntimeError(
            f"{' and '.join(ended)}; an exception in an environment is printed above. The other processes were stopped. "
            "The agent is as it was before this step: save it, and load it with new environments"
        ) from error


def _stop(workers: SubprocVecEnv) -> list[str]:
    """End all processes, if any ended by itself; say which did and how."""
    closed = multiprocessing.connection.wait([process.sentinel for process in workers.processes], SECONDS_TO_DIE)
    for process in workers.processes:
        if process.sentinel in closed:
            process.join()  # its pipes close a little before it is gone
    ended = [
        f"the process of environment {number} ended with exit code {process.exitcode}"
        for number, process in enumerate(workers.processes)
        if not process.is_alive()
    ]
    if ended:
        for process in workers.processes:
            process.terminate()
            process.join()
        for remote in workers.remotes:
            remote.close()
        workers.closed = True  # so that close() does not wait for answers that never come
    return ended


def _outline(returned: Any) -> str:
    if not isinstance(returned, tuple):
        return type(returned).__name__
    return f"a tuple of {len(returned)}: ({', '.join(type(part).__name__ for part in returned)})"
