"""How fast JEPAAgent collects, by kind and number of environments."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv

from jepa_rl.agent import AgentConfig, JEPAAgent
from jepa_rl.scripts.collection_benchmark.sleeping import SleepingEnv

ENVS = 8
STEPS = 200  # environment steps of each way in each round


Factory = Callable[[], gym.Env[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class Way:
    """Environments to collect from."""

    name: str
    n_envs: int
    make: Callable[[list[Factory]], VecEnv]


ONE, DUMMY, SUBPROC = WAYS = (
    Way(name="1 environment", n_envs=1, make=DummyVecEnv),
    Way(name=f"{ENVS} in DummyVecEnv", n_envs=ENVS, make=DummyVecEnv),
    Way(name=f"{ENVS} in SubprocVecEnv", n_envs=ENVS, make=SubprocVecEnv),
)


def collecting() -> AgentConfig:
    """The default agent that plans every action and never updates: what is timed is collecting alone."""
    base = AgentConfig()
    exploration = dataclasses.replace(base.exploration, warmup=0, epsilon_start=0.0, epsilon_end=0.0)
    training = dataclasses.replace(base.training, starts=10**12)
    return dataclasses.replace(base, exploration=exploration, training=training)


def measure(config: AgentConfig, sleep: float, rounds: int, steps: int = STEPS) -> dict[str, Any]:
    """Time every way in turn, ``rounds`` times; ``sleep`` is the seconds of a step of one environment.

    ``steps_per_second`` has the median of each way and its rounds, ``ratios`` how many times as fast the last way is as
    the others, of the medians.
    """
    factory: Factory = functools.partial(SleepingEnv, sleep)
    agents = {way.name: JEPAAgent(config, way.make([factory] * way.n_envs), seed=0, device="cpu") for way in WAYS}
    try:
        for way in WAYS:  # processes start, buffers are made
            agents[way.name].learn(way.n_envs)
        rates: dict[str, list[float]] = {way.name: [] for way in WAYS}
        for _ in range(rounds):
            for name, agent in agents.items():
                rates[name].append(_rate(agent, steps))
    finally:
        for agent in agents.values():
            assert agent.env is not None
            agent.env.close()
    return summary(rates)


def _rate(agent: JEPAAgent, steps: int) -> float:
    """Environment steps a second."""
    before, began = agent.num_timesteps, time.perf_counter()
    agent.learn(steps, reset_num_timesteps=False)
    return (agent.num_timesteps - before) / (time.perf_counter() - began)


def summary(rates: dict[str, list[float]]) -> dict[str, Any]:
    """Medians over rounds, and ratios of medians."""
    medians = {name: statistics.median(found) for name, found in rates.items()}
    return {
        "steps_per_second": {name: {"median": medians[name], "rounds": found} for name, found in rates.items()},
        "ratios": {way.name: medians[SUBPROC.name] / medians[way.name] for way in (ONE, DUMMY)},
    }


def table(found: dict[str, Any], ways: Sequence[Way] = WAYS) -> str:
    """The figures, for a terminal."""
    lines = [f"{'environments':<20} {'steps a second':>14}  {SUBPROC.name} is"]
    for way in ways:
        ratio = found["ratios"].get(way.name)
        times = "" if ratio is None else f"{ratio:.2f} times as fast"
        lines.append(f"{way.name:<20} {found['steps_per_second'][way.name]['median']:>14,.0f}  {times}".rstrip())
    return "\n".join(lines)
