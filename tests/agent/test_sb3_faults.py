"""Environments that break the rules while the agent learns: what is wrong is said, and what was learned can be saved."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from jepa_rl.agent import ExplorationConfig, JEPAAgent
from jepa_rl.world_model import EncoderConfig


class Faulty(gym.Env):
    """Healthy for twelve steps; then ``fault`` decides what is wrong."""

    observation_space, action_space = spaces.Box(-1, 1, (3,)), spaces.Discrete(2)

    def __init__(self, fault: str) -> None:
        self.fault, self.steps = fault, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        broken = self.steps >= 12
        if broken and self.fault == "space":
            self.observation_space = spaces.Box(-1, 1, (4,))
        if broken and self.fault == "reset":
            return np.zeros(3, np.float32)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.steps += 1
        observation, reward, truncated = np.zeros(3, np.float32), 0.0, self.steps % 5 == 0
        if self.steps > 12:
            if self.fault == "four":
                return observation, reward, truncated, {}
            if self.fault == "info":
                return observation, reward, False, truncated, None
            observation = {"wide": np.zeros(5), "narrow": np.zeros(1), "inf": observation + np.inf}.get(
                self.fault, observation
            )
            reward = {"none": None, "vector": np.zeros(2), "infinite": -np.inf}.get(self.fault, reward)
        if self.fault == "terminal" and self.steps > 12 and truncated:
            observation = observation + np.nan
        return observation, reward, False, truncated, {}


FAULTS = {
    "four": (
        TypeError,
        r"Faulty\.step must return \(observation, reward, terminated, truncated, info\), got a tuple of 4: ",
    ),
    "info": (TypeError, r"Faulty\.step must return .*, got a tuple of 5: \(ndarray, float, bool, bool, NoneType\)"),
    "reset": (TypeError, r"Faulty\.reset must return \(observation, info\), got ndarray"),
    "space": (ValueError, r"Faulty\.observation_space must stay Box.*\(3,\).*, got Box.*\(4,\).* after a reset"),
    "wide": (ValueError, r"Faulty\.step must return an observation of shape \(3,\), got \(5,\)"),
    "narrow": (ValueError, r"Faulty\.step must return an observation of shape \(3,\), got \(1,\)"),
    "none": (TypeError, r"Faulty\.step must return a number as the reward, got None"),
    "vector": (TypeError, r"Faulty\.step must return a number as the reward, got array"),
    "inf": (FloatingPointError, "observation of environment 0 is not finite"),
    "infinite": (FloatingPointError, "reward of environment 0 is not finite"),
    "terminal": (FloatingPointError, "observation is not finite"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_and_the_agent_is_as_before_the_step(small_config, tmp_path, fault):
    kind, message = FAULTS[fault]
    agent = JEPAAgent(small_config, lambda: Faulty(fault), seed=0)
    with pytest.raises(kind, match=message):
        agent.learn(200)
    assert agent.num_timesteps == len(agent.replay) == (28 if fault in ("reset", "space", "terminal") else 24)
    agent.save(tmp_path / "agent")
    healthy = JEPAAgent.load(tmp_path / "agent", lambda: Faulty("none at all"))
    assert healthy.learn(20, reset_num_timesteps=False).num_timesteps == agent.num_timesteps + 20


ROOM = spaces.Dict({"place": spaces.Box(-1, 1, (2,)), "door": spaces.Discrete(3)})
IN_ROOM = {"place": np.zeros(2, np.float32), "door": 1}


class Turns(gym.Env):
    """Observes ``healthy`` for twelve steps, ``broken`` after."""

    action_space = spaces.Discrete(2)

    def __init__(self, space: spaces.Space, healthy: object, broken: object) -> None:
        self.observation_space, self.seen, self.steps = space, (healthy, broken), 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.seen[self.steps > 12], {}

    def step(self, action):
        self.steps += 1
        return self.seen[self.steps > 12], 0.0, False, self.steps % 5 == 0, {}


@pytest.mark.parametrize(
    ("space", "healthy", "broken", "message"),
    [
        (ROOM, IN_ROOM, {"place": np.zeros(2)}, r"Turns\.step: observation must have a part 'door' as in Dict"),
        (ROOM, IN_ROOM, np.zeros(3), r"Turns\.step: observation must have a part 'door' as in Dict"),
        (ROOM, IN_ROOM, IN_ROOM | {"place": np.zeros(3)}, r"an observation\['place'\] of shape \(2,\), got \(3,\)"),
        (ROOM, IN_ROOM, IN_ROOM | {"door": 3}, r"observation\['door'\] must lie in Discrete\(3\), got \[3, 1\]"),
        (spaces.Discrete(3, start=2), 2, 1, r"observation must lie in Discrete\(3, start=2\), got \[1, 2\]"),
        # It would be read as the first choice of the second dimension.
        (
            spaces.MultiDiscrete([2, 3]),
            np.array([1, 2]),
            np.array([2, 1]),
            r"must lie in MultiDiscrete.*, got \[\[2, 1\], ",
        ),
    ],
)
def test_what_lies_outside_of_its_space_is_named_and_not_remembered(small_config, space, healthy, broken, message):
    made = iter([broken, healthy])
    agent = JEPAAgent(small_config, lambda: Turns(space, healthy, next(made)), seed=0)
    with pytest.raises(ValueError, match=message):
        agent.learn(200)
    assert agent.num_timesteps == len(agent.replay) == 24


@pytest.mark.parametrize("kind", ["planner", "novelty"])
def test_symbols_that_the_encoder_lacks_are_named_and_not_remembered(small_config, kind):
    """Once stored, they would stop every update that they are drawn for."""
    encoder = EncoderConfig(kind="grid", hidden=(8,))
    config = dataclasses.replace(
        small_config,
        model=dataclasses.replace(small_config.model, encoder=encoder),
        exploration=ExplorationConfig(kind=kind, warmup=0),
    )
    space = spaces.Box(0, 255, (3, 3, 2), np.uint8)
    healthy, broken = np.full((3, 3, 2), 15, np.uint8), np.full((3, 3, 2), 16, np.uint8)
    made = iter([broken, healthy])
    agent = JEPAAgent(config, lambda: Turns(space, healthy, next(made)), seed=0)
    with pytest.raises(ValueError, match=r"symbols from 0 to \[15, 15\] in its planes.* got \[15, 15\] to \[16, 16\]"):
        agent.learn(200)
    assert agent.num_timesteps == len(agent.replay) == 24
    agent.train(5)


@pytest.mark.parametrize("terminated", [True, False])
def test_episodes_that_end_on_their_first_step_are_learned_from(small_config, terminated):
    class Ends(Faulty):
        def step(self, action):
            return np.zeros(3, np.float32), 1.0, terminated, not terminated, {}

    agent = JEPAAgent(small_config, lambda: Ends("none at all"), seed=0).learn(60)
    assert agent._n_updates == 20
    assert len(agent.replay) == agent._episode_num == 60
    batch = agent.replay.sample(20, 3, np.random.default_rng(0))
    assert batch.alive.tolist() == [[True, False, False]] * 20
    assert batch.terminated[:, 0].tolist() == [terminated] * 20
    assert batch.reward[:, 0].tolist() == [1.0] * 20


def test_faults_in_the_callers_own_vector_environment_keep_nothing_of_the_step(small_config):
    agent = JEPAAgent(small_config, DummyVecEnv([lambda: Faulty("inf"), lambda: Faulty("well")]), seed=0)
    with pytest.raises(FloatingPointError, match="observation of environment 0 is not finite"):
        agent.learn(200)
    assert agent.num_timesteps == len(agent.replay) == 24


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ((np.zeros(3, np.float32), 0.0, "no", False, {}), "must return True or False as terminated, got 'no'"),
        ((np.zeros(3, np.float32), 0.0, False, None, {}), "must return True or False as truncated, got None"),
        ((np.zeros(3, np.float32), "1.0", False, False, {}), "must return a number as the reward, got '1.0'"),
        ((np.zeros(3, np.float32), 1j, False, False, {}), "must return a number as the reward, got 1j"),
    ],
)
def test_rewards_and_ends_of_other_types_are_refused(small_config, returned, message):
    class Odd(Faulty):
        def step(self, action):
            return returned

    with pytest.raises(TypeError, match=rf"Odd\.step {message}"):
        JEPAAgent(small_config, lambda: Odd("none at all"), seed=0).learn(20)


def test_what_a_wrapper_of_gymnasiums_stumbles_over_is_noted(small_config):
    class Four(Faulty):
        def step(self, action):
            return np.zeros(3, np.float32), 0.0, False, {}

    agent = JEPAAgent(small_config, lambda: gym.wrappers.TimeLimit(Four("none at all"), 5), seed=0)
    with pytest.raises(ValueError, match="not enough values to unpack") as caught:
        agent.learn(20)
    noted = "in Four.step, which must return (observation, reward, terminated, truncated, info)"
    assert caught.value.__notes__ == [noted]


def test_a_text_where_an_episodes_figures_are_expected_is_not_saved(small_config, tmp_path):
    class Told(Faulty):
        def step(self, action):
            *result, info = super().step(action)
            return *result, info | {"episode": "the third"}

    agent = JEPAAgent(small_config, DummyVecEnv([lambda: Told("none at all")] * 2), seed=0).learn(20)
    agent.save(tmp_path / "a")
    assert not JEPAAgent.load(tmp_path / "a").ep_info_buffer


def test_after_a_step_that_was_not_stored_the_callers_own_environments_begin_new_episodes(small_config, clock_env):
    """Where they are by then nobody knows, so that what follows would be taken for one step."""
    agent = JEPAAgent(small_config, DummyVecEnv([lambda: clock_env(nan_at=11), lambda: clock_env(1)]), seed=0)
    with pytest.raises(FloatingPointError):
        agent.learn(100)
    agent.learn(60, reset_num_timesteps=False)
    batch = agent.replay.sample(256, 2, np.random.default_rng(0))
    episode, clock = batch.observation[..., 1], batch.observation[..., 2]
    assert (episode == episode[:, :1]).all()
    assert torch.equal(clock[:, 1], clock[:, 0] + 1)
