"""Held-out episodes, driven through ``predict``: success, return, and, in MiniGrid, who walks in circles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from minigrid.minigrid_env import MiniGridEnv
from stable_baselines3.common.type_aliases import PolicyPredictor
from stable_baselines3.common.vec_env import VecEnv

from jepa_rl.agent import SeededEpisodes
from jepa_rl.envs.tabular import Simulator
from jepa_rl.scripts.evaluate import heldout_envs, play

LANES = 10  # environments that are asked about together


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a policy achieves on the held-out episodes."""

    success: float  # share of episodes that end with a positive reward: no lava, no collision, no time limit
    mean_return: float  # MiniGrid's own reward, undiscounted
    looped: float  # share of episodes that reached the time limit without a new state in the second half of it


class Episodes(Protocol):
    """A fixed set of held-out episodes."""

    def run(self, policy: PolicyPredictor, *, deterministic: bool, repeatable: bool = False) -> Outcome:
        """What the policy achieves on them; PyTorch's global generator is as it was afterwards."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ended:
    success: bool
    total_reward: float
    looped: bool


class _Lane:
    """An environment with the episode that is open in it."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        self._env = SeededEpisodes(env)
        bare = env.unwrapped
        assert isinstance(bare, MiniGridEnv)
        self._bare = bare

    def begin(self, base_seed: int, episode: int) -> None:
        self.observation = self._env.rebuild_episode(base_seed, episode, ())
        self._simulator = Simulator(self._bare)
        state = self._simulator.state()
        self._states, self._situations = {state}, {(state, b"")}
        self.steps = self._last_new = 0
        self._total_reward = 0.0

    def step(self, action: Any, memory: bytes, cut: bool) -> _Ended | None:
        """Act; how the episode ended, at a certain repetition too if ``cut``, or None.

        ``memory`` is what the policy takes along into its next decision.
        """
        self.observation, reward, terminated, truncated, info = self._env.step(action)
        self.steps += 1
        self._total_reward += float(reward)
        cycles = self._visit(memory) and cut and self._simulator.state_is_all() and not self._total_reward
        if not (terminated or truncated or cycles):
            return None
        looped = not terminated and self._last_new <= self._bare.max_steps / 2
        return _Ended(success=bool(info["success"]), total_reward=self._total_reward, looped=looped)

    def _visit(self, memory: bytes) -> bool:
        """Whether this state was visited before with the policy in the same state of mind."""
        state = self._simulator.state()
        if state not in self._states:
            self._states.add(state)
            self._last_new = self.steps
        situation = state, memory
        known = situation in self._situations
        self._situations.add(situation)
        return known


class HeldOutEpisodes:
    """A fixed set of episodes, each seeded from ``base_seed`` and its number: the same ones in every run.

    Raises ValueError for fewer than one episode.
    """

    def __init__(self, factory: Callable[[], gym.Env[Any, Any]], episodes: int, base_seed: int) -> None:
        if episodes < 1:
            raise ValueError(f"episodes must be at least 1, got {episodes}")
        self._episodes = episodes
        self._base_seed = base_seed
        self._lanes = [_Lane(factory()) for _ in range(min(LANES, episodes))]

    def run(self, policy: PolicyPredictor, *, deterministic: bool, repeatable: bool = False) -> Outcome:
        """Run every episode to its end; PyTorch's global generator is seeded alike each time and left as it was.

        ``repeatable`` says that the greedy policy, asked twice with the same observation and state, decides twice alike.
        A greedy episode in which it meets the same state of the environment and of itself again goes round for ever; it is
        cut there and counted as what it would be at the time limit. An environment that draws random numbers in ``step``
        is never cut.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._base_seed)
            ended = self._run(policy, deterministic, deterministic and repeatable)
        return Outcome(
            success=float(np.mean([each.success for each in ended])),
            mean_return=float(np.mean([each.total_reward for each in ended])),
            looped=float(np.mean([each.looped for each in ended])),
        )

    def _run(self, policy: PolicyPredictor, deterministic: bool, cut: bool) -> list[_Ended]:
        ended: list[_Ended] = []
        waiting = iter(range(self._episodes))
        lanes = list(self._lanes)
        for lane, episode in zip(lanes, waiting, strict=False):
            lane.begin(self._base_seed, episode)
        state: tuple[np.ndarray, ...] | None = None
        while lanes:
            actions, state = policy.predict(
                np.stack([lane.observation for lane in lanes]),
                state=state,
                episode_start=np.array([lane.steps == 0 for lane in lanes]),
                deterministic=deterministic,
            )
            kept = []
            for index, lane in enumerate(lanes):
                memory = b"".join(part[index].tobytes() for part in state) if cut and state is not None else b""
                outcome = lane.step(actions[index], memory, cut)
                if outcome is not None:
                    ended.append(outcome)
                    following = next(waiting, None)
                    if following is None:
                        continue
                    lane.begin(self._base_seed, following)
                kept.append(index)
            lanes = [lanes[index] for index in kept]
            state = None if state is None else tuple(part[kept] for part in state)
        return ended


class PlainEpisodes:
    """Held-out episodes of an environment that is no MiniGrid: the same ones each time, nobody looks for loops.

    ``wrap`` stands between the environments and the policy.
    """

    def __init__(
        self,
        factory: Callable[[], gym.Env[Any, Any]],
        episodes: int,
        seed: int,
        wrap: Callable[[VecEnv], VecEnv] = lambda venv: venv,
    ) -> None:
        self._factory = factory
        self._episodes = episodes
        self._seed = seed
        self._wrap = wrap

    def run(self, policy: PolicyPredictor, *, deterministic: bool, repeatable: bool = False) -> Outcome:
        """Run every episode to its end; PyTorch's global generator is seeded alike each time and left as it was.

        Raises ValueError for an environment that does not say what success is.
        """
        venv = heldout_envs(self._factory, self._episodes, self._seed)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self._seed)
                successes, returns, _ = play(policy, self._wrap(venv), self._episodes, deterministic=deterministic)
        finally:
            venv.close()
        if len(successes) < len(returns):
            raise ValueError('the environment must say in info["is_success"] whether an episode ended in success')
        return Outcome(success=float(np.mean(successes)), mean_return=float(np.mean(returns)), looped=0.0)
