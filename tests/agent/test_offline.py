"""Training on transitions that the agent did not collect."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch

from jepa_rl.agent import JEPAAgent
from jepa_rl.world_model import RewardConfig


def episode(seed: int):
    """Of CartPole with random actions: observations, actions, rewards, and whether it terminated."""
    env, rng = gym.make("CartPole-v1"), np.random.default_rng(seed)
    observations, actions, rewards, ended = [env.reset(seed=seed)[0]], [], [], False
    while not ended:
        actions.append(int(rng.integers(2)))
        observation, reward, terminated, truncated, _ = env.step(actions[-1])
        observations.append(observation)
        rewards.append(reward)
        ended = terminated or truncated
    return observations, actions, rewards, terminated


@pytest.fixture
def agent(small_config):
    agent = JEPAAgent(dataclasses.replace(small_config, n_envs=1), "CartPole-v1", seed=0)
    for seed in range(4):
        observations, actions, rewards, terminated = episode(seed)
        agent.add_episode(observations, actions, rewards, terminated=terminated)
    return agent


def transitions(agent):
    """Every transition of the replay as a tuple of numbers."""
    windows = agent.replay.sample(4_000, 1, np.random.default_rng(0))
    columns = [windows.observation[:, 0], windows.observation[:, 1], windows.action, windows.reward, windows.terminated]
    return {tuple(row) for row in torch.cat([c.reshape(4_000, -1).double() for c in columns], 1).tolist()}


def test_what_is_added_is_what_is_drawn(agent):
    given = set()
    for seed in range(4):
        observations, actions, rewards, terminated = episode(seed)
        for t, action in enumerate(actions):
            last = t == len(actions) - 1
            given.add(
                (*map(float, observations[t]), *map(float, observations[t + 1]), action, rewards[t], last and terminated)
            )
    assert transitions(agent) == given


def test_gradient_steps_need_no_step_of_the_environment(agent):
    before = [parameter.clone() for parameter in agent.model.parameters()]
    agent.train(3)
    assert agent._n_updates == 3
    assert agent.num_timesteps == 0
    assert any(not torch.equal(old, new) for old, new in zip(before, agent.model.parameters(), strict=True))


def test_learning_goes_on_in_episodes_of_its_own(agent):
    agent.learn(30)
    agent.add_episode([[0.0] * 4, [1.0] * 4, [2.0] * 4], [1, 0], [5.0, 6.0], terminated=False)
    agent.learn(30, reset_num_timesteps=False)
    from_elsewhere = {row for row in transitions(agent) if row[-2] in (5.0, 6.0)}
    assert from_elsewhere == {
        (*[0.0] * 4, *[1.0] * 4, 1.0, 5.0, 0.0),
        (*[1.0] * 4, *[2.0] * 4, 0.0, 6.0, 0.0),
    }
    # Nothing else touches what came from elsewhere: no transition joins two episodes.
    assert all(
        row[:4] not in ((1.0,) * 4, (2.0,) * 4) and row[4:8] != (0.0,) * 4 for row in transitions(agent) - from_elsewhere
    )


def test_an_episode_that_a_callback_adds_is_joined_to_none(small_config, clock_env):
    agent = JEPAAgent(dataclasses.replace(small_config, n_envs=1), lambda: clock_env(length=8), seed=0)

    def add(seen, _):
        if seen["self"].num_timesteps == 10:
            agent.add_episode([[5.0] * 3, [6.0] * 3], [0], [1.0], terminated=True)
        return True

    agent.learn(30, callback=add)
    before, after = (agent.replay.sample(2_000, 1, np.random.default_rng(0)).observation[:, t] for t in (0, 1))
    steps = {(tuple(one), tuple(two)) for one, two in zip(before.tolist(), after.tolist(), strict=True)}
    assert ((5.0,) * 3, (6.0,) * 3) in steps
    ours = steps - {((5.0,) * 3, (6.0,) * 3)}
    assert all(one[:2] == two[:2] and two[2] == one[2] + 1 for one, two in ours)  # of one episode, one step apart
    assert len(agent.replay) == 31
    assert {episode for (_, episode, _), _ in ours} == {
        0,
        1,
        2,
        3,
        4,
    }
    assert max(two[2] for _, two in ours if two[1] == 1) == 2  # the one that was open goes on no further


def test_the_episodes_are_saved_with_the_agent(agent, tmp_path):
    agent.train(2)
    agent.save(tmp_path / "agent")
    again = JEPAAgent.load(tmp_path / "agent", "CartPole-v1")
    assert transitions(again) == transitions(agent)
    agent.train(2)
    again.train(2)
    for one, two in zip(agent.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_an_agent_of_several_environments_refuses(small_config):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0)
    with pytest.raises(ValueError, match=r"one environment \(n_envs 1\), got one of 2"):
        agent.add_episode([[0.0] * 4] * 2, [1], [1.0], terminated=True)


@pytest.mark.parametrize(("observations", "actions", "rewards"), [(4, 4, 3), (3, 3, 3), (4, 3, 2), (1, 0, 0)])
def test_lengths_that_do_not_fit_are_refused_and_nothing_is_stored(agent, observations, actions, rewards):
    before = transitions(agent)
    with pytest.raises(ValueError, match=f"got {observations} observations, {actions} actions, {rewards} rewards"):
        agent.add_episode([[0.0] * 4] * observations, [1] * actions, [1.0] * rewards, terminated=True)
    assert transitions(agent) == before


@pytest.mark.parametrize(
    ("observation", "action", "reward", "error", "message"),
    [
        (0.0, 1, np.nan, FloatingPointError, "the reward of step 1 is not finite"),
        (np.nan, 1, 1.0, FloatingPointError, "observation is not finite"),
        (0.0, 5, 1.0, ValueError, r"actions must lie in Discrete\(2\), got 5"),
        (0.0, 0.5, 1.0, ValueError, r"actions must lie in Discrete\(2\), got 0.5"),
    ],
)
def test_a_bad_step_is_refused_and_the_open_episode_goes_on(agent, observation, action, reward, error, message):
    agent.learn(3)
    before, episode_before = transitions(agent), agent.collector.episodes.number.copy()
    with pytest.raises(error, match=message):
        agent.add_episode([[0.0] * 4, [observation] * 4, [0.0] * 4], [0, action], [1.0, reward], terminated=True)
    assert transitions(agent) == before
    agent.learn(3, reset_num_timesteps=False)
    assert len(transitions(agent) - before) == 3
    assert not {row for row in transitions(agent) if row[:4] == (0.0,) * 4}
    np.testing.assert_array_equal(agent.collector.episodes.number, episode_before)


def test_continuous_actions_beyond_the_box_are_refused(small_config):
    agent = JEPAAgent(dataclasses.replace(small_config, n_envs=1), "Pendulum-v1", seed=0)
    agent.add_episode([[0.0] * 3] * 3, [[2.0], [-2.0]], [1.0, 1.0], terminated=False)
    with pytest.raises(ValueError, match=r"actions must lie in Box\(-2.0, 2.0, \(1,\), float32\), got \[50.\]"):
        agent.add_episode([[0.0] * 3] * 3, [[0.0], [50.0]], [1.0, 1.0], terminated=False)
    assert len(agent.replay) == 2


def test_tasks_that_are_labelled_while_collecting_are_named(small_config):
    model = dataclasses.replace(small_config.model, reward=RewardConfig(label_fraction=0.5))
    agent = JEPAAgent(dataclasses.replace(small_config, n_envs=1, model=model), "CartPole-v1", seed=0)
    with pytest.raises(ValueError, match="add_episode has no labels for reward, which only collecting gives"):
        agent.add_episode([[0.0] * 4] * 2, [1], [1.0], terminated=True)


def test_an_agent_without_environments_says_what_it_lacks(agent, tmp_path):
    agent.save(tmp_path / "agent", exclude={"replay"})
    alone = JEPAAgent.load(tmp_path / "agent")
    with pytest.raises(ValueError, match="the replay that add_episode stores in comes with environments"):
        alone.add_episode([[0.0] * 4] * 2, [1], [1.0], terminated=True)
    with pytest.raises(ValueError, match="the replay that train draws from comes with environments"):
        alone.train(1)
