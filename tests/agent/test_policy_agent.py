"""An agent with a policy: noise on Box actions, proposals where there is something to propose with."""

import dataclasses

import numpy as np
import pytest
import torch

from jepa_rl.agent import ExplorationConfig, JEPAAgent
from jepa_rl.world_model import PolicyConfig


def taken_and_planned(agent, centre: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The actions that were taken after the warm-up, and those that the plans had for them; ``centre`` makes these 0."""
    taken, wanted = [], []
    step, decide = agent.collector.venv.step, agent.collector._decide

    def acting(action):
        taken.append(agent.action_adapter.from_env(action))
        return step(action)

    def deciding(*arguments):
        plan = decide(*arguments)
        plan = dataclasses.replace(plan, actions=torch.zeros_like(plan.actions)) if centre else plan
        wanted.append(plan.action.cpu().numpy())
        return plan

    agent.collector.venv.step, agent.collector._decide = acting, deciding
    agent.learn(120)
    return np.concatenate(taken[-len(wanted) :]), np.concatenate(wanted)


def silent(config, noise):
    """No random actions after the warm-up."""
    exploration = ExplorationConfig(warmup=20, epsilon_start=0, epsilon_end=0, noise=noise)
    return dataclasses.replace(config, exploration=exploration)


def test_noise_of_the_chosen_size_is_added_to_box_actions_and_stays_in_the_box(with_policy):
    taken, _ = taken_and_planned(JEPAAgent(silent(with_policy, 0.1), "Pendulum-v1", seed=0), centre=True)
    assert len(taken) == 100
    assert 0.08 < taken.std() < 0.12
    assert abs(taken.mean()) < 0.03

    taken, wanted = taken_and_planned(JEPAAgent(silent(with_policy, 0.1), "Pendulum-v1", seed=0))
    assert (np.abs(wanted) == 1).any()
    assert np.abs(taken).max() <= 1

    taken, wanted = taken_and_planned(JEPAAgent(silent(with_policy, 0.0), "Pendulum-v1", seed=0))
    np.testing.assert_allclose(taken, wanted, atol=1e-6)


def test_discrete_actions_take_no_noise(with_policy):
    taken, wanted = taken_and_planned(JEPAAgent(silent(with_policy, 5.0), "CartPole-v1", seed=0))
    assert np.array_equal(taken, wanted)


def test_noise_must_be_a_size():
    with pytest.raises(ValueError, match=r"exploration\.noise must be at least 0 action units, got -0\.1"):
        ExplorationConfig(noise=-0.1)
    with pytest.raises(ValueError, match=r"exploration\.noise must be a finite number, got inf"):
        ExplorationConfig(noise=float("inf"))


def test_proposals_without_anything_to_propose_with_are_refused(with_policy, small_config):
    model = dataclasses.replace(with_policy.model, policy=PolicyConfig())
    with pytest.raises(ValueError, match=r"model\.policy\.weight must be positive with planner\.proposals, got 0"):
        JEPAAgent(dataclasses.replace(with_policy, model=model), "Pendulum-v1", seed=0)
    JEPAAgent(dataclasses.replace(with_policy, model=model), "CartPole-v1", seed=0)  # values propose finite actions
    off = dataclasses.replace(small_config.model, value=dataclasses.replace(small_config.model.value, weight=0))
    with pytest.raises(ValueError, match=r"model\.value\.weight must be positive with planner\.proposals, got 0"):
        JEPAAgent(dataclasses.replace(with_policy, model=off), "CartPole-v1", seed=0)
