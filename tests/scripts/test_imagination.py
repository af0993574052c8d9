"""Held-out recordings and what is computed from them, against hand-made models with known answers."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch

from jepa_rl.agent import AgentConfig, JEPAAgent
from jepa_rl.planners import PlannerConfig
from jepa_rl.scripts.reporting.imagination import RecordedEpisodes, imagined_rewards, one_step, open_loop_error, record


class Walk:
    """A latent that moves by its action; a step pays the latent that it reaches and goes on with probability 1/4."""

    def predict(self, latent, action):
        return latent + action[:, None]

    def step(self, latent, action):
        following = self.predict(latent, action)
        return following, following.sum(1), torch.full((len(latent),), 0.25)

    def value(self, latent):
        return torch.zeros(len(latent))


class Constant(Walk):
    """Always imagines the same latent."""

    def __init__(self, latent):
        self.latent = latent

    def predict(self, latent, action):
        return self.latent.expand_as(latent)


@pytest.fixture
def walks():
    """Thirty episodes of three actions, and their positions as latents [120, 2]."""
    rng = np.random.default_rng(3)
    action = rng.normal(size=(30, 4)).astype(np.float32)
    position = np.cumsum(np.concatenate([rng.normal(size=(30, 1)), action[:, :3]], axis=1), axis=1, dtype=np.float32)
    recording = RecordedEpisodes(
        observation=position.reshape(-1, 1),
        action=action.reshape(-1),
        reward=np.tile(np.array([1, 2, 3, 0], np.float32), 30),
        terminated=np.tile([False, False, True, False], 30),
        remaining=np.tile([3, 2, 1, 0], 30),
    )
    return recording, torch.from_numpy(np.repeat(position.reshape(-1, 1), 2, axis=1))


def test_an_exact_model_has_no_open_loop_error(walks):
    recording, latent = walks
    error = open_loop_error(Walk(), recording, latent, longest=9)
    assert error.horizon.tolist() == [1, 2, 3]
    assert error.windows.tolist() == [90, 60, 30]
    assert error.model == pytest.approx([0, 0, 0], abs=1e-10)


def test_staying_at_the_first_latent_is_scored_by_how_far_it_moved(walks):
    recording, latent = walks
    error = open_loop_error(Walk(), recording, latent, longest=2)
    rows = latent.numpy().astype(np.float64).reshape(30, 4, 2)
    variance = rows.reshape(-1, 2).var(0).sum()
    after_two = ((rows[:, 2:] - rows[:, :-2]) ** 2).sum(2).mean() / variance
    assert error.stay[1] == pytest.approx(after_two)


def test_predicting_the_mean_latent_scores_one():
    # Episodes of one transition, so that the latents that are reached have the mean and variance of all.
    value = np.tile(np.array([[-1, 1], [1, -1]], np.float32), (20, 1)).reshape(-1, 1)
    recording = RecordedEpisodes(
        observation=value,
        action=np.zeros(80, np.float32),
        reward=np.zeros(80, np.float32),
        terminated=np.zeros(80, bool),
        remaining=np.tile([1, 0], 40),
    )
    error = open_loop_error(Constant(torch.zeros(1)), recording, torch.from_numpy(value), longest=1)
    assert error.model.tolist() == [1.0]
    assert error.stay.tolist() == [4.0]


def test_collapsed_latents_and_too_little_data_are_refused(walks):
    recording, latent = walks
    with pytest.raises(ValueError, match="do not vary"):
        open_loop_error(Walk(), recording, torch.ones_like(latent), longest=3)
    few = RecordedEpisodes(**{name: getattr(recording, name)[:8] for name in RecordedEpisodes.__slots__})
    with pytest.raises(ValueError, match="fewer than 20"):
        open_loop_error(Walk(), few, latent[:8], longest=3)


def test_one_step_is_compared_with_the_transition_that_came(walks):
    recording, latent = walks
    found = one_step(Walk(), recording, latent)
    assert found.reward.tolist() == [1, 2, 3] * 30
    assert found.terminated.tolist() == [False, False, True] * 30
    reached = latent.reshape(30, 4, 2)[:, 1:].sum(2).flatten()
    assert found.imagined_reward == pytest.approx(reached.numpy(), abs=1e-5)
    assert set(found.imagined_termination) == {0.75}


def test_rewards_along_a_plan_count_while_the_episode_goes_on():
    rewards = imagined_rewards(Walk(), torch.tensor([1.0]), torch.tensor([2.0, -4.0, 0.5]))
    assert rewards.tolist() == [3.0, -1.0 / 4, -0.5 / 16]


@pytest.fixture(scope="module")
def cartpole_agent():
    planner = PlannerConfig(kind="cem", samples=8, elites=4, horizon=2)
    return JEPAAgent(AgentConfig(planner=planner), "CartPole-v1", seed=0)


@pytest.fixture(scope="module")
def recording(cartpole_agent):
    return record(cartpole_agent, lambda: gym.make("CartPole-v1"), transitions=400, seed=7)


def test_every_recorded_transition_is_one_of_the_environment(recording):
    env = gym.make("CartPole-v1").unwrapped
    env.reset(seed=0)
    assert len(recording.acted) >= 400
    assert set(recording.action) == {0, 1}
    for row in recording.acted:
        env.state = recording.observation[row].astype(np.float64)
        env.steps_beyond_terminated = None
        reached, reward, terminated, _, _ = env.step(int(recording.action[row]))
        assert recording.observation[row + 1] == pytest.approx(reached, abs=1e-5)
        assert (recording.reward[row], recording.terminated[row]) == (reward, terminated)


def test_remaining_counts_down_to_the_end_of_each_episode(recording):
    last = recording.remaining == 0
    assert (np.diff(recording.remaining)[~last[:-1]] == -1).all()
    assert last[-1]
    # Only an episode's last transition can terminate it.
    assert (recording.remaining[recording.terminated] == 1).all()
    assert recording.terminated.any()


def test_recording_depends_on_its_seed_alone_and_leaves_the_agents_streams(cartpole_agent, recording):
    before = cartpole_agent.streams.prediction.get_state(), cartpole_agent.streams.planning.get_state()
    again = record(cartpole_agent, lambda: gym.make("CartPole-v1"), transitions=400, seed=7)
    other = record(cartpole_agent, lambda: gym.make("CartPole-v1"), transitions=400, seed=8)
    assert np.array_equal(recording.observation, again.observation)
    assert not np.array_equal(recording.observation[:50], other.observation[:50])
    assert torch.equal(before[0], cartpole_agent.streams.prediction.get_state())
    assert torch.equal(before[1], cartpole_agent.streams.planning.get_state())


def test_random_share_decides_who_acts(cartpole_agent, monkeypatch):
    searched = []
    plan = type(cartpole_agent.planner).plan

    def counting_plan(self, model, latent, **options):
        searched.append(len(latent))
        return plan(self, model, latent, **options)

    monkeypatch.setattr(type(cartpole_agent.planner), "plan", counting_plan)
    record(cartpole_agent, lambda: gym.make("CartPole-v1"), transitions=160, seed=0, random_share=1.0)
    assert not searched
    record(cartpole_agent, lambda: gym.make("CartPole-v1"), transitions=160, seed=0, random_share=0.0)
    assert searched == [16] * 10


def test_rewards_are_recorded_as_the_agent_learned_them(cartpole_agent, monkeypatch):
    def make():
        return gym.wrappers.TransformReward(gym.make("CartPole-v1"), lambda reward: 0.25 * reward)

    for rewards, paid in (("plain", 0.25), ("sign", 1.0)):
        replay = dataclasses.replace(cartpole_agent.config.replay, rewards=rewards)
        monkeypatch.setattr(cartpole_agent, "config", dataclasses.replace(cartpole_agent.config, replay=replay))
        found = record(cartpole_agent, make, transitions=60, seed=0)
        assert set(found.reward[found.acted].tolist()) == {paid}
