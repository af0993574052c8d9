"""Imagined episodes as an environment of Stable-Baselines3."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor
from torch import nn

from jepa_rl.agent import JEPAAgent, LatentEnv, LatentObservation
from jepa_rl.agent.spaces import ActionAdapter
from jepa_rl.world_model import RewardConfig


class ClockModel(nn.Module):
    """The clock, exactly: latents are its observations (name, episode, step), and an action is paid its own number more."""

    def __init__(self, continuation=None):
        super().__init__()
        self.continuation = continuation
        self.actions = None

    def encode(self, observation):
        return observation.float()

    def step(self, latent, action):
        self.actions = action
        following = latent + torch.tensor([0.0, 0.0, 1.0], device=latent.device)
        reward = 10 * following[:, 1] + following[:, 2] + action.float().reshape(len(action), -1).sum(1)
        ends = (following[:, 2] == 3) & (following[:, 1] % 2 == 1)
        certain = torch.where(ends, 0.0, 1.0)
        return following, reward, certain if self.continuation is None else torch.full_like(certain, self.continuation)


@pytest.fixture
def clock_agent(small_config, clock_env):
    """Has seen the clock; its model is exact."""
    model = dataclasses.replace(small_config.model, latent_dim=3)
    agent = JEPAAgent(dataclasses.replace(small_config, model=model), clock_env, seed=0).learn(60)
    agent.learner.model = ClockModel()
    return agent


def test_an_exact_model_gives_the_exact_returns_of_every_start(clock_agent):
    env = LatentEnv(clock_agent, n_envs=40, horizon=10, seed=1)
    start = env.reset()
    returns, running = np.zeros(40), np.ones(40, bool)
    for _ in range(3):
        _, reward, done, _ = env.step(np.full(40, 2))
        returns += reward * running
        running &= ~done
    odd = start[:, 1] % 2 == 1
    expected = [sum(10 * episode + reached + 2 for reached in range(int(clock) + 1, 4)) for _, episode, clock in start[odd]]
    assert len(set(expected)) > 3
    np.testing.assert_array_equal(returns[odd], expected)
    assert not running[odd].any()
    assert running[~odd].all()


def test_the_terminating_step_is_told_from_the_horizon_and_a_new_start_follows(clock_agent):
    env = LatentEnv(clock_agent, n_envs=30, horizon=2, seed=0)
    before = env.reset()
    for step in range(6):
        latent, _, done, infos = env.step(np.zeros(30, int))
        for i in range(30):
            ends = before[i, 1] % 2 == 1 and before[i, 2] == 2
            if step == 0 or ends:
                assert done[i] == ends
            assert (infos[i] != {}) == done[i]
            if done[i]:
                assert infos[i]["TimeLimit.truncated"] == (not ends)
                np.testing.assert_array_equal(infos[i]["terminal_observation"], before[i] + [0, 0, 1])
                assert latent[i, 2] < 3
            else:
                np.testing.assert_array_equal(latent[i], before[i] + [0, 0, 1])
        before = latent


def test_the_horizon_counts_from_each_episodes_own_start(clock_agent):
    clock_agent.learner.model = ClockModel(continuation=1.0)
    env = LatentEnv(clock_agent, n_envs=3, horizon=4, seed=0)
    env.reset()
    env._steps[:] = [0, 1, 3]
    done = np.stack([env.step(np.zeros(3, int))[2] for _ in range(8)])
    assert [np.flatnonzero(column).tolist() for column in done.T] == [[3, 7], [2, 6], [0, 4]]


def test_termination_is_sampled_with_the_models_probability(clock_agent):
    clock_agent.learner.model = ClockModel(continuation=0.7)
    env = LatentEnv(clock_agent, n_envs=4_000, horizon=10, seed=0)
    env.reset()
    _, _, done, infos = env.step(np.zeros(4_000, int))
    assert done.mean() == pytest.approx(0.3, abs=0.03)
    assert not any(info["TimeLimit.truncated"] for info in infos if info)


def test_starts_are_latents_of_observations_in_replay_with_an_action_to_come(clock_agent):
    seen = clock_agent.replay.sample(2_000, 1, np.random.default_rng(0)).observation[:, 0]
    stored = {tuple(row) for row in seen.tolist()}
    drawn = {tuple(row) for row in LatentEnv(clock_agent, n_envs=500, horizon=3, seed=0).reset().tolist()}
    assert drawn == stored


def test_the_seed_decides_the_episodes_and_seeding_takes_effect_at_the_next_reset(clock_agent):
    clock_agent.learner.model = ClockModel(continuation=0.5)

    def trace(env):
        return np.concatenate([env.reset().ravel(), *(env.step(np.ones(5, int))[0].ravel() for _ in range(4))])

    first, second, other = (LatentEnv(clock_agent, n_envs=5, horizon=3, seed=seed) for seed in (0, 0, 1))
    reference = trace(first)
    np.testing.assert_array_equal(reference, trace(second))
    assert not np.array_equal(reference, trace(other))
    other.seed(0)
    np.testing.assert_array_equal(reference, trace(other))
    assert not np.array_equal(reference, trace(other))


def test_ppo_trains_in_imagination_and_acts_in_the_environment(clock_agent, clock_env):
    env = VecMonitor(LatentEnv(clock_agent, n_envs=16, horizon=3, seed=0))
    ppo = PPO("MlpPolicy", env, n_steps=16, batch_size=64, gamma=0.0, learning_rate=3e-3, seed=0, device="cpu").learn(6_000)
    real = LatentObservation(DummyVecEnv([clock_env]), clock_agent)
    latent = real.reset()
    assert ppo.predict(latent, deterministic=True)[0].tolist() == [2]
    returns, lengths = evaluate_policy(ppo, VecMonitor(real), n_eval_episodes=2, return_episode_rewards=True)
    assert lengths == [3, 3]
    assert returns[1] - returns[0] == 30  # the clock's own rewards, which grow by 10 a step with every episode


def test_a_trained_agent_can_be_dreamed_in(small_config):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0).learn(60)
    ppo = PPO("MlpPolicy", LatentEnv(agent, n_envs=2, horizon=4), n_steps=8, batch_size=16, device="cpu").learn(32)
    assert ppo.observation_space.shape == (16,)
    agent.learn(20, reset_num_timesteps=False)
    ppo.learn(32)


def test_real_observations_become_the_agents_latents_the_final_ones_too(small_config, clock_env):
    agent = JEPAAgent(small_config, clock_env, seed=0)
    plain, env = (DummyVecEnv([clock_env, lambda: clock_env(1, length=2)]) for _ in range(2))
    env = LatentObservation(env, agent)
    assert env.observation_space == spaces.Box(-np.inf, np.inf, (16,), np.float32)
    np.testing.assert_array_equal(env.reset(), agent.encode(plain.reset()))
    ended = 0
    for _ in range(6):
        observation, reward, done, infos = plain.step(np.zeros(2, int))
        latent, same_reward, same_done, latent_infos = env.step(np.zeros(2, int))
        np.testing.assert_array_equal(latent, agent.encode(observation))
        assert (reward.tolist(), done.tolist()) == (same_reward.tolist(), same_done.tolist())
        for info, latent_info in zip(infos, latent_infos, strict=True):
            if "terminal_observation" in info:
                ended += 1
                final = agent.encode(info["terminal_observation"][None])[0]
                np.testing.assert_allclose(latent_info["terminal_observation"], final, rtol=1e-5)
                assert latent_info["TimeLimit.truncated"] == info["TimeLimit.truncated"]
    assert ended == 5


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(5, start=-2),
        spaces.MultiDiscrete([3, 4], start=[1, -1]),
        spaces.MultiBinary(3),
        spaces.Box(np.array([[-1.0, 2.0]], np.float32), np.array([[0.5, 10.0]], np.float32)),
    ],
)
def test_from_env_undoes_to_env(space):
    adapter = ActionAdapter(space)
    action = adapter.random(50, np.random.default_rng(0))
    back = adapter.from_env(adapter.to_env(action))
    np.testing.assert_allclose(back, action, atol=1e-6)
    assert back.dtype == adapter.dtype


def test_box_actions_reach_the_model_scaled(small_config):
    class Env(gym.Env):
        observation_space = spaces.Box(-1, 1, (2,), np.float32)
        action_space = spaces.Box(np.array([-1.0, 2.0], np.float32), np.array([0.5, 10.0], np.float32))

        def reset(self, *, seed=None, options=None):
            return np.zeros(2, np.float32), {}

        def step(self, action):
            return np.zeros(2, np.float32), 0.0, False, True, {}

    agent = JEPAAgent(small_config, Env, seed=0).learn(20)
    seen = []
    step = agent.model.step
    agent.model.step = lambda latent, action: (seen.append(action), step(latent, action))[1]
    env = LatentEnv(agent, n_envs=3, horizon=4)
    env.reset()
    env.step(np.array([[-1.0, 2.0], [0.5, 10.0], [-0.25, 6.0]], np.float32))
    assert seen[0].tolist() == [[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]


def test_what_cannot_work_is_refused(small_config, clock_agent, clock_env, tmp_path):
    with pytest.raises(ValueError, match="n_envs and horizon must be at least 1, got 0 and 5"):
        LatentEnv(clock_agent, n_envs=0, horizon=5)
    with pytest.raises(ValueError, match="transitions in its replay"):
        LatentEnv(JEPAAgent(small_config, clock_env, seed=0), n_envs=1, horizon=5)
    agent = JEPAAgent(small_config, clock_env, seed=0)
    agent.save(tmp_path / "agent.zip")
    with pytest.raises(ValueError, match="transitions in its replay"):
        LatentEnv(JEPAAgent.load(tmp_path / "agent.zip"), n_envs=1, horizon=5)
    with pytest.raises(ValueError, match="Observation spaces do not match: the agent's Box"):
        LatentObservation(DummyVecEnv([lambda: gym.make("CartPole-v1")]), clock_agent)
    model = dataclasses.replace(small_config.model, reward=RewardConfig(weight=0))
    unpaid = JEPAAgent(dataclasses.replace(small_config, model=model), clock_env, seed=0).learn(4)
    with pytest.raises(ValueError, match="agent must have a reward head"):
        LatentEnv(unpaid, n_envs=1, horizon=5)
    with pytest.raises(TypeError, match="agent must be a JEPAAgent, whose world model imagines, got PPO"):
        LatentEnv(PPO("MlpPolicy", "CartPole-v1"), n_envs=1, horizon=5)
    env = LatentEnv(clock_agent, n_envs=2, horizon=5)
    with pytest.raises(AttributeError, match="no methods of their own"):
        env.env_method("rebuild_episode")


def test_an_imagined_reward_that_is_not_finite_is_named(clock_agent):
    env = LatentEnv(clock_agent, n_envs=2, horizon=5)
    env.reset()
    clock_agent.learner.model.step = lambda latent, action: (latent, torch.tensor([1.0, np.nan]), torch.ones(2))
    with pytest.raises(FloatingPointError, match="an imagined reward is not finite"):
        env.step(np.zeros(2, int))


def test_a_step_before_the_first_reset_and_other_types_are_named(clock_agent, clock_env):
    with pytest.raises(gym.error.ResetNeeded, match="reset must come before the first step"):
        LatentEnv(clock_agent, n_envs=2, horizon=5).step(np.zeros(2, int))
    with pytest.raises(TypeError, match=r"venv must be a VecEnv .*, got 'CartPole-v1'"):
        LatentObservation("CartPole-v1", clock_agent)
    with pytest.raises(TypeError, match="agent must be a JEPAAgent, whose encoder reads the observations, got str"):
        LatentObservation(DummyVecEnv([clock_env]), "runs/x")
