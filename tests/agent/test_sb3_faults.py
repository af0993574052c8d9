"""Environments that break the rules while the agent learns: what is wrong is said, and what was learned can be saved."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from jepa_rl.agent import JEPAAgent


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


def test_faults_in_the_callers_own_vector_environment_keep_nothing_of_the_step(small_config):
    agent = JEPAAgent(small_config, DummyVecEnv([lambda: Faulty("inf"), lambda: Faulty("well")]), seed=0)
    with pytest.raises(FloatingPointError, match="observation of environment 0 is not finite"):
        agent.learn(200)
    assert agent.num_timesteps == len(agent.replay) == 24
