"""Small agents and environments that show their own time."""

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import strategies as st

from jepa_rl.agent import AgentConfig, ExplorationConfig, ReplayConfig, TrainingConfig
from jepa_rl.planners import PlannerConfig
from jepa_rl.world_model import EncoderConfig, ModelConfig, PolicyConfig, RewardConfig, TerminationConfig, ValueConfig

FLOATS = ["float16", "float32", "float64"]
NUMBERS = [*FLOATS, "bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))]


class ClockEnv(gym.Env):
    """Observation: (environment's name, episode, step). Odd episodes terminate, even ones hit the time limit.

    Reward: 10 * episode + step reached, so that every number in the replay says where it comes from.
    """

    observation_space = spaces.Box(-1e6, 1e6, (3,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self, name: int = 0, length: int = 3, fail_at: int | None = None, nan_at: int | None = None) -> None:
        self.name, self.length, self.fail_at, self.nan_at = name, length, fail_at, nan_at
        self.episode, self.total = -1, 0

    def _observation(self) -> np.ndarray:
        return np.array([self.name, self.episode, self.clock], np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.episode, self.clock = self.episode + 1, 0
        return self._observation(), {}

    def step(self, action):
        if self.total == self.fail_at:
            raise RuntimeError("the simulator lost its connection")
        self.clock, self.total = self.clock + 1, self.total + 1
        reward = float("nan") if self.total == self.nan_at else 10.0 * self.episode + self.clock
        ended = self.clock == self.length
        terminated = ended and self.episode % 2 == 1
        return self._observation(), reward, terminated, ended and not terminated, {"is_success": terminated}


@pytest.fixture
def clock_env():
    return ClockEnv


@pytest.fixture
def small_config() -> AgentConfig:
    """Every part switched on, small enough for a test."""
    return AgentConfig(
        n_envs=2,
        discount=0.9,
        model=ModelConfig(
            latent_dim=16,
            encoder=EncoderConfig(hidden=(32,)),
            reward=RewardConfig(weight=1.0, hidden=32),
            value=ValueConfig(weight=0.5, hidden=32),
            termination=TerminationConfig(weight=0.5, hidden=32),
            ema_rate=0.05,
        ),
        planner=PlannerConfig(horizon=2, samples=16, iterations=2, elites=4),
        replay=ReplayConfig(capacity=400, prioritised_fraction=0.25),
        exploration=ExplorationConfig(warmup=20, epsilon_end=0.2, epsilon_steps=100),
        training=TrainingConfig(starts=20, updates_per_step=0.5, batch_size=8, transitions=3),
    )


@pytest.fixture
def with_policy(small_config) -> AgentConfig:
    """The same with two value heads and a policy, whose proposals the planner takes and noise is added to."""
    value = dataclasses.replace(small_config.model.value, critics=2)
    model = dataclasses.replace(small_config.model, value=value, policy=PolicyConfig(weight=1.0, hidden=32))
    return dataclasses.replace(
        small_config,
        model=model,
        planner=dataclasses.replace(small_config.planner, proposals=4),
        exploration=dataclasses.replace(small_config.exploration, epsilon_end=0.0, epsilon_steps=1, noise=0.3),
    )


@pytest.fixture
def with_planner(small_config):
    def change(kind: str) -> AgentConfig:
        return dataclasses.replace(small_config, planner=dataclasses.replace(small_config.planner, kind=kind))

    return change


def _boxes() -> st.SearchStrategy[spaces.Box]:
    shape = st.lists(st.integers(1, 4), max_size=2).map(tuple)
    bounded = st.builds(lambda s, d: spaces.Box(0, 1 if d == "bool" else 100, s, d), shape, st.sampled_from(NUMBERS))
    unbounded = st.builds(lambda s, d: spaces.Box(-np.inf, np.inf, s, d), shape, st.sampled_from(FLOATS))
    side = st.integers(16, 20)
    images = st.builds(lambda h, w, c: spaces.Box(0, 255, (h, w, c), np.uint8), side, side, st.integers(1, 4))
    planes = st.builds(lambda h, w, d: spaces.Box(-1, 1, (3, h, w), d), side, side, st.sampled_from(FLOATS))
    return bounded | unbounded | images | planes


def _observation_leaves() -> st.SearchStrategy[spaces.Space]:
    small = st.integers(1, 5)
    many = st.lists(small, min_size=1, max_size=3)
    integer = st.sampled_from([np.int32, np.int64])
    discrete = st.builds(lambda n, s, d: spaces.Discrete(n, start=s, dtype=d), small, st.integers(-9, 9), integer)
    multi = st.builds(lambda n, d: spaces.MultiDiscrete(n, start=[-3] * len(n), dtype=d), many, integer)
    return _boxes() | discrete | multi | st.builds(spaces.MultiBinary, small | many)


@pytest.fixture(scope="session")
def observation_spaces() -> st.SearchStrategy[spaces.Space]:
    """Random spaces of every kind that is supported, nested ones too."""
    text = st.builds(
        lambda n, c: spaces.Text(n, min_length=0, charset=c), st.integers(1, 9), st.sampled_from(["ab ", "xé漢"])
    )
    leaf = _observation_leaves()
    part = st.deferred(lambda: leaf | text | structures)
    structures = st.dictionaries(st.sampled_from("abcd"), part, min_size=1, max_size=3).map(spaces.Dict) | st.lists(
        part, min_size=1, max_size=3
    ).map(spaces.Tuple)
    return leaf | structures
