"""What is run: tasks with their budgets and thresholds, algorithms, and the cells of the grid."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import gymnasium as gym
from gymnasium import spaces

from jepa_rl.agent import AgentConfig
from jepa_rl.envs.make import make_env
from jepa_rl.scripts.benchmark_results import ComparedTask
from jepa_rl.scripts.control_benchmark.baselines import baseline_settings
from jepa_rl.scripts.grid import Cell

Algorithm = Literal["jepa", "sac", "ppo", "dqn"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)

EPISODES = 10  # held-out ones per evaluation
SEEDS = 5
QUICK_SEEDS = 1


@dataclass(frozen=True)
class Task(ComparedTask):
    """An environment with its budgets; default step limit and rewards."""

    threshold: float | None  # mean return that counts as solved; None where there is no such number
    continuous: bool  # whether its actions are those of a Box
    needs: str = ""  # package that is imported, where Gymnasium alone does not do; an extra of ours brings it

    @property
    def name(self) -> str:
        """The id without its namespace and version."""
        return re.sub(r"-v\d+$", "", self.env_id.rpartition("/")[2])

    @property
    def installed(self) -> bool:
        """Whether its package is there."""
        return not self.needs or importlib.util.find_spec(self.needs) is not None

    @property
    def installation(self) -> str:
        """What brings its package."""
        return f"pip install 'jepa-rl[{self.needs.lower()}]'"

    def admits(self, algorithm: str) -> bool:
        """SAC is for Box actions, DQN for finite ones."""
        return {"sac": self.continuous, "dqn": not self.continuous}.get(algorithm, True)


# Ours end soon after the steps in which it is meant to learn a task; those of the baselines, whose steps cost less, later.
TASKS = (
    Task("Pendulum-v1", 20_000, 500, -200.0, True, ours=(8_000, 500)),
    Task("CartPole-v1", 60_000, 1_000, 475.0, False, ours=(12_000, 1_000)),
    Task("MountainCarContinuous-v0", 50_000, 1_000, 90.0, True, ours=(8_000, 1_000)),
    Task("Acrobot-v1", 100_000, 1_000, -100.0, False, ours=(12_000, 1_000)),
    Task("LunarLander-v3", 100_000, 5_000, 200.0, False, "Box2D"),
    Task("LunarLanderContinuous-v3", 100_000, 5_000, 200.0, True, "Box2D"),
    Task("InvertedPendulum-v5", 20_000, 1_000, 950.0, True, "mujoco"),
    Task("Hopper-v5", 100_000, 5_000, None, True, "mujoco"),
    Task("HalfCheetah-v5", 100_000, 5_000, None, True, "mujoco"),
)
QUICK = Task("Pendulum-v1", 5_000, 1_000, -200.0, True)
DEFAULT_BUDGET = 50_000, 2_500


def task(name: str) -> Task:
    """The task of an id, or of one in ``TASKS`` without its version; another id gets the default budget and no threshold.

    Raises ValueError for an id that is not registered, and for actions that are neither Discrete nor those of a Box;
    ModuleNotFoundError where its package is missing.
    """
    for known in TASKS:
        if name in (known.env_id, known.name):
            if not known.installed:
                raise ModuleNotFoundError(f"{known.env_id} needs {known.needs}: {known.installation}")
            return known
    env = make_env(name)
    space = env.action_space
    env.close()
    if not isinstance(space, spaces.Box | spaces.Discrete):
        raise ValueError(f"{name}: the action space must be Discrete or a Box, got {space}")
    threshold = gym.spec(name).reward_threshold
    return Task(name, *DEFAULT_BUDGET, threshold, isinstance(space, spaces.Box))


def cells(
    tasks: Sequence[Task],
    algorithms: Sequence[Algorithm],
    seeds: int,
    *,
    preset: str,
    agent: AgentConfig | None,
    episodes: int,
) -> list[Cell]:
    """One cell per task, algorithm that it admits, and seed; the first seed of everything comes first.

    Only "jepa" needs ``agent``.
    """
    return [
        {
            "name": f"{chosen.name}-{algorithm}",
            "seed": seed,
            "env_id": chosen.env_id,
            "algo": algorithm,
            "env_steps": chosen.budget(algorithm).env_steps,
            "eval_every": chosen.budget(algorithm).eval_every,
            "threshold": chosen.threshold,
            "continuous": chosen.continuous,
            "episodes": episodes,
            "settings": (
                {"preset": preset, "agent": dataclasses.asdict(agent)}
                if algorithm == "jepa" and agent is not None
                else baseline_settings(algorithm, chosen.env_id)
            ),
        }
        for seed in range(seeds)
        for chosen in tasks
        for algorithm in algorithms
        if chosen.admits(algorithm)
    ]
