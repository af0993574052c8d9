"""The agent learns the identity: act as the observation says, with every kind of action, in seconds."""

import dataclasses

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.envs import (
    IdentityEnv,
    IdentityEnvBox,
    IdentityEnvMultiBinary,
    IdentityEnvMultiDiscrete,
)
from stable_baselines3.common.evaluation import evaluate_policy

from jepa_rl.agent import AgentConfig, ExplorationConfig, JEPAAgent, ReplayConfig, TrainingConfig
from jepa_rl.planners import PlannerConfig
from jepa_rl.world_model import EncoderConfig, ModelConfig, RewardConfig, TerminationConfig

CONFIG = AgentConfig(
    n_envs=4,
    discount=0.9,
    model=ModelConfig(
        latent_dim=32,
        encoder=EncoderConfig(hidden=(64,)),
        reward=RewardConfig(input="transition", likelihood="bernoulli"),
        termination=TerminationConfig(weight=0),
    ),
    planner=PlannerConfig(horizon=1, samples=128, iterations=3, elites=16),
    replay=ReplayConfig(capacity=10_000),
    exploration=ExplorationConfig(warmup=400, epsilon_end=0.2, epsilon_steps=400),
    training=TrainingConfig(starts=200, updates_per_step=0.25, batch_size=64, transitions=1, learning_rate=3e-3),
)


def seeded(env, seed=3):
    """Stable-Baselines3's identity environments draw their states from the action space."""
    env.action_space.seed(seed)
    return env


@pytest.mark.parametrize(
    "make",
    [
        lambda: IdentityEnv(5, ep_length=20),
        lambda: IdentityEnvMultiDiscrete(3, ep_length=20),
        lambda: IdentityEnvMultiBinary(3, ep_length=20),
    ],
    ids=["discrete", "multi_discrete", "multi_binary"],
)
def test_identity_of_finite_actions_is_learned(make):
    agent = JEPAAgent(CONFIG, lambda: seeded(make()), seed=0)
    agent.learn(1_600)
    mean, _ = evaluate_policy(agent, seeded(make(), 9), n_eval_episodes=5, warn=False)
    assert mean >= 19  # of 20; a random action gets 4 or less


def test_identity_of_a_box_is_learned():
    def make():
        return seeded(IdentityEnvBox(low=-2.0, high=6.0, eps=1.0, ep_length=20))

    agent = JEPAAgent(CONFIG, make, seed=0)
    agent.learn(3_200)
    mean, _ = evaluate_policy(agent, make(), n_eval_episodes=5, warn=False)
    assert mean >= 16  # of 20; a random action gets 5 at most


def test_identity_with_discrete_actions_that_do_not_start_at_zero():
    space = spaces.Discrete(4, start=-7)
    agent = JEPAAgent(CONFIG, lambda: seeded(IdentityEnv(space=space, ep_length=20)), seed=0)
    agent.learn(1_200)
    observations = np.arange(-7, -3)
    assert agent.predict(observations, deterministic=True)[0].tolist() == observations.tolist()


def test_planning_sees_beyond_the_first_step():
    """A corridor: only the second of two right steps pays, the first left step pays a little at once."""
    agent = JEPAAgent(
        dataclasses.replace(CONFIG, planner=PlannerConfig(kind="exhaustive", horizon=2)), lambda: Corridor(), seed=0
    )
    agent.learn(1_600)
    assert agent.predict(np.array(0), deterministic=True)[0] == 1
    agent.set_planner(PlannerConfig(kind="exhaustive", horizon=1))
    assert agent.predict(np.array(0), deterministic=True)[0] == 0


class Corridor(IdentityEnv):
    """States 0, 1, 2; action 1 moves right, action 0 ends the episode. Ending in 0 pays 0.3, reaching 2 pays 1."""

    def __init__(self):
        super().__init__(2)
        self.observation_space = spaces.Discrete(3)

    def _choose_next_state(self):
        self.state = 0

    def step(self, action):
        if action == 0:
            return self.state, 0.3 if self.state == 0 else 0.0, True, False, {}
        self.state += 1
        return self.state, float(self.state == 2), self.state == 2, False, {}
