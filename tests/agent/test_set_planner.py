"""Another planner for an agent that is there: refused where it cannot serve, and kept from there on."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.envs import FakeImageEnv

from jepa_rl.agent import AgentConfig, JEPAAgent
from jepa_rl.planners import PlannerConfig
from jepa_rl.world_model import ModelConfig, ValueConfig

SHORT = PlannerConfig(kind="cem", horizon=1, samples=8, iterations=1, elites=2)


def valued(weight: float, planner: PlannerConfig) -> AgentConfig:
    return AgentConfig(model=ModelConfig(value=ValueConfig(weight=weight)), planner=planner)


@pytest.mark.parametrize(
    "planner", [PlannerConfig(kind="exhaustive", horizon=1, trace=0.5), PlannerConfig(kind="value", horizon=1)]
)
def test_plans_that_ask_for_action_values_need_a_value_of_every_action_from_the_start(planner):
    with pytest.raises(ValueError, match=r"need Q: model\.value\.weight must be positive, got 0"):
        JEPAAgent(valued(0.0, planner), "CartPole-v1", seed=0)
    JEPAAgent(valued(1.0, planner), "CartPole-v1", seed=0)
    many = FakeImageEnv(discrete=True)
    many.action_space = spaces.MultiDiscrete([10, 10])
    with pytest.raises(ValueError, match=r"of the 100 joint actions of MultiDiscrete.* only 64 candidates have one"):
        JEPAAgent(valued(1.0, planner), many, seed=0)
    many.action_space = spaces.MultiDiscrete([8, 8])
    JEPAAgent(valued(1.0, planner), many, seed=0)


def test_a_trace_says_nothing_to_planners_that_do_not_judge_at_every_depth():
    JEPAAgent(valued(0.0, PlannerConfig(kind="auto", trace=0.5)), "Pendulum-v1", seed=0)


def test_a_planner_that_is_refused_leaves_the_old_one(small_config):
    agent = JEPAAgent(small_config, "Pendulum-v1", seed=0)
    with pytest.raises(ValueError, match="needs finitely many actions"):
        agent.set_planner(PlannerConfig(kind="value", horizon=1))
    assert agent.planner_config == small_config.planner


@pytest.mark.parametrize("planner", ["cem", {"kind": "cem"}])
def test_what_is_no_planner_configuration_is_refused(small_config, planner):
    with pytest.raises(TypeError, match="config must be a PlannerConfig, got"):
        JEPAAgent(small_config, "CartPole-v1", seed=0).set_planner(planner)


def test_numbers_of_numpy_are_saved(small_config, tmp_path):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0)
    agent.set_planner(PlannerConfig(kind="cem", horizon=np.int64(2), temperature=np.float32(0.5)))
    agent.save(tmp_path / "a")
    assert JEPAAgent.load(tmp_path / "a").planner_config == agent.planner_config


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_an_agent_learns_and_predicts_on_with_plans_of_another_length(small_config, env_id):
    agent = JEPAAgent(small_config, env_id, seed=0).learn(60)
    observation = agent.get_env().reset()
    _, state = agent.predict(observation)
    agent.set_planner(SHORT)
    agent.learn(60, reset_num_timesteps=False)
    assert agent.collector.plan.shape[:2] == (2, 1)
    # What was planned with the old one is no warm start for the new one.
    agent.streams.prediction.manual_seed(1)
    action, _ = agent.predict(observation, state=state, episode_start=np.zeros(2, bool))
    agent.streams.prediction.manual_seed(1)
    assert np.array_equal(action, agent.predict(observation)[0])


def test_the_planner_that_was_set_is_saved_and_a_run_goes_on_with_it_exactly(small_config, tmp_path):
    config = dataclasses.replace(small_config, exploration=dataclasses.replace(small_config.exploration, warmup=0))
    whole = JEPAAgent(config, "CartPole-v1", seed=0).learn(60)
    whole.set_planner(SHORT)
    whole.learn(20, reset_num_timesteps=False)
    whole.save(tmp_path / "a")
    resumed = JEPAAgent.load(tmp_path / "a", "CartPole-v1")
    assert (resumed.planner_config, resumed.config) == (SHORT, config)
    for agent in (whole, resumed):
        agent.learn(40, reset_num_timesteps=False)
    for first, second in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(first, second)
    assert np.array_equal(whole.collector.plan, resumed.collector.plan)
    assert JEPAAgent.load(tmp_path / "a").planner_config == SHORT


def test_a_copy_explores_with_its_own_model_and_memories(small_config):
    exploration = dataclasses.replace(small_config.exploration, kind="novelty", warmup=0)
    agent = JEPAAgent(dataclasses.replace(small_config, exploration=exploration), "CartPole-v1", seed=0).learn(40)
    other = copy.deepcopy(agent)
    alone = JEPAAgent(dataclasses.replace(small_config, exploration=exploration), "CartPole-v1", seed=0).learn(40)
    agent.learn(40, reset_num_timesteps=False)
    for each in (other, alone):
        each.learn(40, reset_num_timesteps=False)
    for first, second in zip(other.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.equal(first, second)
