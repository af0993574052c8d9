"""The last observations as one: order, padding at episode starts, and what it shows where a view hides the state."""

from collections import defaultdict

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from jepa_rl.agent.observation_spaces import observation_spec
from jepa_rl.envs.history import History
from jepa_rl.envs.make import make_env

LEFT, FORWARD = 0, 2


class Clock(gym.Env):
    """Shows 1, 2, 3 ... of an episode of three steps, in every value of an array of any shape."""

    action_space = spaces.Discrete(1)

    def __init__(self, *shape: int) -> None:
        self.observation_space = spaces.Box(0, 9, shape, np.uint8)

    def _show(self) -> np.ndarray:
        return np.full(self.observation_space.shape, self.time, np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 1
        return self._show(), {}

    def step(self, action):
        self.time += 1
        return self._show(), 0.0, self.time == 4, False, {}


def test_the_newest_observation_comes_last_and_nothing_of_the_last_episode_is_seen():
    env = History(Clock(1), 3)
    seen = [env.reset()[0].tolist(), *(env.step(0)[0].tolist() for _ in range(3)), env.reset()[0].tolist()]
    assert seen == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [0, 0, 1]]


@pytest.mark.parametrize(
    ("shape", "joined", "newest"),
    [
        ((5,), (10,), np.s_[5:]),
        ((7, 7, 4), (7, 7, 8), np.s_[..., 4:]),
        ((3, 20, 24), (6, 20, 24), np.s_[3:]),
        ((20, 24, 3), (20, 24, 6), np.s_[..., 3:]),
    ],
)
def test_components_planes_and_channels_are_joined(shape, joined, newest):
    env = History(Clock(*shape), 2)
    first, _ = env.reset()
    assert first.shape == env.observation_space.shape == joined
    assert (first[newest] == 1).all() and first.sum() == np.prod(shape)


def test_the_bounds_of_every_plane_stay_its_own():
    env = make_env("MiniGrid-Empty-5x5-v0", {"history": 3})
    check_env(env, skip_render_check=True)
    assert observation_spec(env.observation_space, "grid").counts == (11, 6, 3, 4) * 3


@pytest.mark.parametrize("env_id", ["CartPole-v1", "MiniGrid-MemoryS7-v0"])
def test_its_spec_makes_the_same_environment(env_id):
    env = make_env(env_id, {"history": 3})
    again = env.spec.make()
    assert again.observation_space == env.observation_space
    assert np.array_equal(again.reset(seed=2)[0], env.reset(seed=2)[0])
    assert np.array_equal(again.step(0)[0], env.step(0)[0])


def cues_at_the_fork(**options: int) -> dict[bytes, set[str]]:
    """Which cues the agent may have seen, by what it observes at the fork of MiniGrid's memory task."""
    env = make_env("MiniGrid-MemoryS7-v0", options)
    found = defaultdict(set)
    for seed in range(16):
        env.reset(seed=seed)
        start = int(env.unwrapped.agent_pos[0])
        # Back to the room with the cue, then through the corridor.
        for action in [LEFT, LEFT, *[FORWARD] * (start - 1), LEFT, LEFT, *[FORWARD] * 4]:
            observation, *_ = env.step(action)
        found[observation.tobytes()].add(env.unwrapped.grid.get(1, 2).type)
    return found


def test_a_history_holds_the_cue_that_the_view_at_the_fork_hides():
    assert {"ball", "key"} in cues_at_the_fork().values()
    told = cues_at_the_fork(history=8).values()
    assert {"ball"} in told and {"key"} in told and {"ball", "key"} not in told


@pytest.mark.parametrize(
    ("env", "length", "message"),
    [
        ("CartPole-v1", 0, "history must be at least 1 observation, got 0"),
        ("FrozenLake-v1", 2, "a history needs observations in a Box of at least one dimension, got Discrete"),
    ],
)
def test_what_cannot_be_joined_is_refused(env, length, message):
    with pytest.raises(ValueError, match=message):
        make_env(env, {"history": length})
