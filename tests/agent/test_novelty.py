"""Counting what was tried, seeking what was not, and going on exactly after a stop."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch

from jepa_rl.agent import AgentConfig, ExplorationConfig, JEPAAgent, ReplayConfig, TrainingConfig
from jepa_rl.agent.novelty import VisitCounts
from jepa_rl.envs.make import make_env
from jepa_rl.planners import PlannerConfig
from jepa_rl.world_model import Batch, EncoderConfig, ModelConfig, NoveltyConfig

CONFIG = AgentConfig(
    n_envs=2,
    model=ModelConfig(
        latent_dim=16,
        encoder=EncoderConfig(kind="grid", mixing="bag", hidden=(16,)),
        novelty=NoveltyConfig(weight=1.0, hidden=16),
    ),
    planner=PlannerConfig(horizon=1),
    replay=ReplayConfig(capacity=2_000),
    exploration=ExplorationConfig(kind="novelty", warmup=0, epsilon_start=0.5, epsilon_steps=200),
    training=TrainingConfig(starts=20, batch_size=8, transitions=2, updates_per_step=0.2),
)


def empty_room() -> gym.Env:
    return make_env("MiniGrid-Empty-5x5-v0")


def views(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint8)[:, None, None] * np.ones((3, 3), np.uint8)


def test_counts_are_per_observation_and_action():
    visits = VisitCounts(3)
    visits.add(views(1, 2, 1), np.array([0, 2, 0]))
    assert visits.of(views(1, 2, 9)).tolist() == [[2, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert len(visits) == 2


def test_counts_grow_beyond_their_first_room():
    visits = VisitCounts(2)
    many = np.arange(3_000, dtype=np.int64)[:, None]
    visits.add(many, many[:, 0] % 2)
    assert len(visits) == 3_000
    assert visits.of(many[-2:]).tolist() == [[1, 0], [0, 1]]


def test_counts_go_on_after_a_stop():
    visits, restored = VisitCounts(2), VisitCounts(2)
    visits.add(views(1, 2), np.array([0, 1]))
    restored.load_state(visits.state())
    for each in (visits, restored):
        each.add(views(2, 3), np.array([1, 0]))
    assert restored.of(views(1, 2, 3)).tolist() == visits.of(views(1, 2, 3)).tolist() == [[1, 0], [0, 2], [1, 0]]
    with pytest.raises(ValueError, match="visit counts must have shape"):
        restored.load_state(visits.state() | {"count": np.zeros((3, 5), np.int32)})


def test_the_bonus_of_a_batch_is_that_of_the_action_taken_and_untried_looks_at_every_action():
    visits = VisitCounts(2)
    visits.add(views(1, 1, 1, 1, 1, 2), np.array([0, 0, 0, 0, 1, 1]))
    window = torch.from_numpy(np.stack([views(1, 2)]))
    ones = torch.ones(1, 1, dtype=torch.bool)
    batch = Batch(
        observation=window,
        action=torch.zeros(1, 1, dtype=torch.int64),
        reward=torch.zeros(1, 1),
        terminated=~ones,
        alive=ones,
        label=torch.zeros(1, 2),
        labelled=torch.zeros(1, 2, dtype=torch.bool),
    )
    annotated = visits.annotate(batch)
    assert annotated.bonus.tolist() == [[0.5]]
    assert annotated.untried.tolist() == [[False, True]]


def test_novelty_seeking_tries_every_action_before_it_repeats_one():
    agent = JEPAAgent(dataclasses.replace(CONFIG, n_envs=1), empty_room, seed=0, device="cpu")
    agent.learn(150)
    count = agent.collector.visits.of(agent.replay.state()["observation"][:140])
    # Until a reward comes every episode seeks; no action is repeated where another was never tried.
    assert agent.collector.first_reward < 0 or agent.collector.first_reward > 20
    untried = (count == 0).any(axis=1)
    assert (count[untried].max(axis=1) <= 1).mean() > 0.9  # ties between rows seen in both kinds of episode aside


def test_the_share_of_seeking_episodes_is_counted_from_the_first_reward():
    agent = JEPAAgent(CONFIG, empty_room, seed=0, device="cpu")
    assert agent.collector.explored_share(5_000) == 1.0
    agent.collector.first_reward = 1_000
    assert agent.collector.explored_share(1_000) == 0.5
    assert agent.collector.explored_share(1_100) == pytest.approx(0.3)
    assert agent.collector.explored_share(9_000) == pytest.approx(0.1)


def test_a_resumed_search_for_novelty_equals_one_that_never_stopped(tmp_path):
    straight = JEPAAgent(CONFIG, empty_room, seed=3, device="cpu").learn(240)
    stopped = JEPAAgent(CONFIG, empty_room, seed=3, device="cpu").learn(120)
    stopped.save(tmp_path / "half")
    resumed = JEPAAgent.load(tmp_path / "half", empty_room, device="cpu").learn(120, reset_num_timesteps=False)
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    for name, value in straight.collector.visits.state().items():
        assert np.array_equal(value, resumed.collector.visits.state()[name])
    assert straight.collector.first_reward == resumed.collector.first_reward


def test_novelty_needs_its_head_and_discrete_actions():
    with pytest.raises(ValueError, match=r"model\.novelty\.weight must be positive"):
        AgentConfig(exploration=ExplorationConfig(kind="novelty"))
    model = ModelConfig(novelty=NoveltyConfig(weight=1.0))
    with pytest.raises(ValueError, match="needs a Discrete action space"):
        JEPAAgent(AgentConfig(model=model), "Pendulum-v1", seed=0)
