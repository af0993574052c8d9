"""Vector environments whose open episodes can be rebuilt from a seed and the actions taken since."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array
from stable_baselines3.common.env_util import unwrap_wrapper
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs

from jepa_rl.agent.env_faults import CheckedReturns, require_equal_spaces

EnvLike = str | gym.Env[Any, Any] | Callable[[], gym.Env[Any, Any]] | VecEnv
_WITH_WRAPPERS = "MiniGrid's, and what else needs wrappers: env=functools.partial(jepa_rl.envs.make_env, ID)"
_MINIGRID = ("MiniGrid-", "BabyAI-")  # ids that are known once minigrid is imported, which make_env does
_WITH_MAKE_ENV = "make it with jepa_rl.envs.make_env: env=functools.partial(jepa_rl.envs.make_env, {!r})"
Check = Callable[[gym.Env[Any, Any] | VecEnv], None]


class SeededEpisodes(gym.Wrapper[Any, Any, Any, Any]):
    """Seeds every episode from (base seed, episode number) instead of letting one random stream run through all.

    Any episode can then be replayed alone, whatever happened in the ones before it; that is what makes a resumed run
    continue in the middle of an episode. The base seed is the last one given to ``reset``.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._base_seed = int(np.random.SeedSequence().generate_state(1)[0])
        self._next_episode = 0
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._base_seed, self._next_episode = seed, 0
        episode_seed = np.random.SeedSequence((self._base_seed, self._next_episode)).generate_state(1)[0]
        self._next_episode += 1
        self._steps = 0
        given = {} if options is None else {"options": options}  # which not every environment takes
        return self.env.reset(seed=int(episode_seed), **given)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self._steps += 1
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            # A VecEnv resets before anybody reads it, and an environment may show everything in one array of its own.
            observation = copy.deepcopy(observation)
        return observation, reward, terminated, truncated, info

    def position(self) -> tuple[int, int]:
        """The number of the open episode, -1 before the first, and the steps taken in it."""
        return self._next_episode - 1, self._steps

    def rebuild_episode(self, base_seed: int, episode: int, actions: Sequence[Any]) -> Any:
        """Start episode number ``episode`` of ``base_seed`` anew, take ``actions`` and return the observation reached.

        None where the episode ends on the way: it is another one than it was.
        """
        self._base_seed, self._next_episode = base_seed, episode
        observation, _ = self.reset()
        for action in actions:
            observation, _, terminated, truncated, _ = self.step(action)
            if terminated or truncated:
                return None
        return observation


class StructuredVecEnv(DummyVecEnv):
    """Steps environments with Dict or Tuple observations, also nested ones and texts, for which DummyVecEnv has no buffers.

    A batch of observations has the structure of one, with a leading axis in every array, and tuples of texts.
    """

    def __init__(self, envs: Sequence[gym.Env[Any, Any]]) -> None:
        self.envs = list(envs)
        if len({id(env.unwrapped) for env in envs}) != len(envs):
            raise ValueError(f"the function that makes environments gave the same one twice; {len(envs)} are needed")
        # DummyVecEnv's own constructor would make its buffers, and refuse what they cannot hold.
        VecEnv.__init__(self, len(envs), envs[0].observation_space, envs[0].action_space)
        self.metadata = envs[0].metadata
        self.buf_rews = np.zeros(len(envs), np.float32)
        self.buf_dones = np.zeros(len(envs), bool)
        self.buf_infos: list[dict[str, Any]] = [{} for _ in envs]
        self._observations: list[Any] = [None] * len(envs)

    def _save_obs(self, env_idx: int, obs: Any) -> None:
        self._observations[env_idx] = obs

    def _obs_from_buf(self) -> VecEnvObs:
        buffers: Any = create_empty_array(self.observation_space, self.num_envs)
        batch: VecEnvObs = concatenate(self.observation_space, self._observations, buffers)
        return batch


def vectorize(factory: Callable[[], gym.Env[Any, Any]], n_envs: int) -> VecEnv:
    """``n_envs`` environments in this process, each with a Monitor and with rebuildable episodes."""
    envs = [_monitored(factory) for _ in range(n_envs)]
    require_equal_spaces(envs)
    if isinstance(envs[0].observation_space, spaces.Dict | spaces.Tuple):
        return StructuredVecEnv(envs)
    return DummyVecEnv([functools.partial(lambda env: env, env) for env in envs])


def _monitored(factory: Callable[[], gym.Env[Any, Any]]) -> gym.Env[Any, Any]:
    env = factory()
    # Ours is around the checks; what another one inside them was told to keep of the last info is kept.
    theirs = unwrap_wrapper(env, Monitor)
    keywords = theirs.info_keywords if isinstance(theirs, Monitor) else ()
    # SeededEpisodes is outermost, so that rebuilding an episode passes through the Monitor's accounts as well.
    return SeededEpisodes(Monitor(CheckedReturns(env), info_keywords=keywords))


def as_vec_env(env: EnvLike, n_envs: int, check: Check = lambda env: None) -> VecEnv:
    """The environments to collect from; see JEPAAgent. ``check`` sees them first, for its errors are clearer."""
    if isinstance(env, VecEnv):
        check(env)
        require_equal_spaces(env)
        return env
    if isinstance(env, str):
        return vectorize(functools.partial(_checked, functools.partial(_registered, env), check), n_envs)
    if isinstance(env, gym.Env):
        return vectorize(functools.partial(_checked, lambda: env, check), 1)
    if callable(env):
        return vectorize(functools.partial(_checked, env, check), n_envs)
    raise TypeError(f"env must be a Gymnasium environment, its id, a function that makes one, or a VecEnv, got {env!r}")


def _registered(env_id: str) -> gym.Env[Any, Any]:
    try:
        return gym.make(env_id)
    except gym.error.UnregisteredEnv as error:
        error.add_note(_WITH_MAKE_ENV.format(env_id) if env_id.startswith(_MINIGRID) else _WITH_WRAPPERS)
        raise


def _checked(factory: Callable[[], gym.Env[Any, Any]], check: Check) -> gym.Env[Any, Any]:
    env = factory()
    if not isinstance(env, gym.Env):
        raise TypeError(f"a function given as env must make a Gymnasium environment, got {env!r}")
    check(env)
    return env
