"""A resumed run equals one that never stopped."""

import dataclasses
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

import jepa_rl.envs  # noqa: F401
from jepa_rl.agent import CheckpointError, ExplorationConfig, JEPAAgent, SeededEpisodes, preset
from jepa_rl.agent.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from jepa_rl.world_model import MaskedConfig, PatchConfig


class SaveAt(BaseCallback):
    def __init__(self, timestep, path):
        super().__init__()
        self.timestep, self.path = timestep, path

    def _on_step(self) -> bool:
        if self.num_timesteps == self.timestep:
            self.model.save(self.path)
        return True


def everything(agent) -> dict[str, np.ndarray]:
    parts = {f"model/{name}": value.cpu().numpy() for name, value in agent.model.state_dict().items()}
    parts |= (
        {f"ema/{name}": value.cpu().numpy() for name, value in agent.learner.ema.state_dict().items()}
        if agent.learner.ema
        else {}
    )
    return parts | {f"replay/{name}": value for name, value in agent.replay.state().items()} | {"last": agent._last_obs}


def assert_same(first, second):
    one, two = everything(first), everything(second)
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert np.array_equal(value, two[name]), name


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("timestep", [10, 96, 150])
def test_going_on_from_a_checkpoint_equals_not_stopping(with_planner, tmp_path, env_id, timestep):
    """Before the first update, in the random phase, and with the planner at work."""
    config = with_planner("cem")
    whole = JEPAAgent(config, env_id, seed=3).learn(200, callback=SaveAt(timestep, tmp_path / "a"))
    resumed = JEPAAgent.load(tmp_path / "a", env_id)
    assert resumed.num_timesteps == timestep
    resumed.learn(200 - timestep, reset_num_timesteps=False)
    assert_same(whole, resumed)
    assert [episode["r"] for episode in whole.ep_info_buffer] == [episode["r"] for episode in resumed.ep_info_buffer]


def test_a_policy_with_noise_on_its_proposals_resumes_exactly(with_policy, tmp_path):
    whole = JEPAAgent(with_policy, "Pendulum-v1", seed=3).learn(80, callback=SaveAt(50, tmp_path / "a"))
    resumed = JEPAAgent.load(tmp_path / "a", "Pendulum-v1").learn(30, reset_num_timesteps=False)
    assert_same(whole, resumed)
    assert any(name.startswith("model/heads.policy") for name in everything(whole))


@pytest.mark.parametrize("masked", [False, True])
def test_images_resume_exactly_too_by_convolutions_and_by_patches_that_are_masked_at_random(tmp_path, masked):
    small = preset("counting").agent
    training = dataclasses.replace(small.training, starts=32, updates_per_step=0.1, batch_size=4)
    config = dataclasses.replace(small, n_envs=4, training=training)
    if masked:
        patches = PatchConfig(size=16, width=16, depth=1, heads=2)
        encoder = dataclasses.replace(small.model.encoder, image_encoder="patches", patches=patches)
        hide = MaskedConfig(weight=0.5, blocks=2, scale=(0.2, 0.3), width=8, depth=1, heads=2)
        config = dataclasses.replace(config, model=dataclasses.replace(small.model, encoder=encoder, masked=hide))
    whole = JEPAAgent(config, "jepa_rl/Counting-v0", seed=3).learn(160, callback=SaveAt(100, tmp_path / "a"))
    resumed = JEPAAgent.load(tmp_path / "a", "jepa_rl/Counting-v0").learn(60, reset_num_timesteps=False)
    assert_same(whole, resumed)
    figures = whole.learner.update(whole.replay.sample(4, 2, whole.streams.replay).to(whole.device), 1.0)
    assert ("masked_loss" in figures) == masked


def test_a_loaded_agent_without_environment_predicts_the_same(small_config, tmp_path):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0).learn(80)
    agent.save(tmp_path / "agent", exclude={"replay"})
    loaded = JEPAAgent.load(tmp_path / "agent.zip")
    observations = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    assert np.array_equal(
        agent.predict(observations, deterministic=True)[0], loaded.predict(observations, deterministic=True)[0]
    )
    assert loaded.observation_space == agent.observation_space
    assert loaded.action_space == agent.action_space


def test_environments_that_cannot_be_rebuilt_begin_new_episodes(small_config, tmp_path, clock_env):
    agent = JEPAAgent(small_config, DummyVecEnv([lambda: clock_env(0), lambda: clock_env(1)]), seed=0).learn(80)
    agent.save(tmp_path / "agent")
    loaded = JEPAAgent.load(tmp_path / "agent", DummyVecEnv([lambda: clock_env(0), lambda: clock_env(1)]))
    stored = len(loaded.replay)
    assert stored == 80
    loaded.learn(20, reset_num_timesteps=False)
    assert len(loaded.replay) == 100


def test_an_environment_that_is_not_deterministic_is_found_out(small_config, tmp_path):
    class Noisy(gym.Wrapper):
        def step(self, action):
            observation, *rest = self.env.step(action)
            return observation + np.random.default_rng().normal(size=4).astype(np.float32), *rest

    def make():
        return Noisy(gym.make("CartPole-v1"))

    JEPAAgent(small_config, make, seed=0).learn(62).save(tmp_path / "agent")
    with pytest.warns(UserWarning, match=r"new ones begin: environment 0 does not come back.* not deterministic"):
        loaded = JEPAAgent.load(tmp_path / "agent", make)
    assert len(loaded.replay) == 62
    expected = [
        (number + 1, 1) for number in loaded.collector.episodes.number
    ]  # not an episode that the replay has already
    loaded.learn(2, reset_num_timesteps=False)
    assert loaded.env.env_method("position") == expected
    loaded.learn(18, reset_num_timesteps=False)
    assert len(loaded.replay) == loaded.num_timesteps == 82


def test_held_actions_are_held_on_when_resumed(small_config, tmp_path):
    config = dataclasses.replace(small_config, exploration=ExplorationConfig(kind="random", repeat=7))
    whole = JEPAAgent(config, "Pendulum-v1", seed=0).learn(60)
    JEPAAgent(config, "Pendulum-v1", seed=0).learn(30).save(tmp_path / "a")
    resumed = JEPAAgent.load(tmp_path / "a", "Pendulum-v1").learn(30, reset_num_timesteps=False)
    assert np.array_equal(whole.replay.state()["action"], resumed.replay.state()["action"])


def test_a_new_count_of_steps_after_loading_begins_the_next_episodes(small_config, tmp_path):
    """As without loading: the environments stand in the open episodes, and a reset opens the ones after."""
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0).learn(60)
    agent.save(tmp_path / "a")
    loaded = JEPAAgent.load(tmp_path / "a", "CartPole-v1")
    for each in (agent, loaded):
        each.learn(30)
        assert [number for number, _ in each.env.env_method("position")] == each.collector.episodes.number.tolist()
    assert_same(agent, loaded)


def test_what_was_stored_is_saved_between_episodes_too(small_config, tmp_path, clock_env):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0).learn(40)
    agent.set_env("CartPole-v1")
    agent.save(tmp_path / "a")
    loaded = JEPAAgent.load(tmp_path / "a", "CartPole-v1")
    assert len(loaded.replay) == 40
    for each in (agent, loaded):
        each.learn(30, reset_num_timesteps=False)
    assert_same(agent, loaded)

    def make():
        return DummyVecEnv([lambda: clock_env(0), lambda: clock_env(1)])

    JEPAAgent(small_config, make(), seed=0).learn(80).save(tmp_path / "b")
    JEPAAgent.load(tmp_path / "b", make()).save(tmp_path / "c")
    assert len(JEPAAgent.load(tmp_path / "c", make()).replay) == 80


def test_updates_after_the_last_step_have_the_same_rate_when_resumed(small_config, tmp_path):
    training = dataclasses.replace(small_config.training, schedule="cosine", updates_per_step=1.0)
    config = dataclasses.replace(small_config, training=training)
    whole = JEPAAgent(config, "CartPole-v1", seed=3).learn(80, callback=SaveAt(80, tmp_path / "a"))
    resumed = JEPAAgent.load(tmp_path / "a", "CartPole-v1")
    assert resumed._n_updates < whole._n_updates
    assert_same(whole, resumed.learn(0, reset_num_timesteps=False))


def test_updates_without_collecting_have_the_same_rate_after_loading(small_config, tmp_path):
    training = dataclasses.replace(small_config.training, schedule="cosine")
    agent = JEPAAgent(dataclasses.replace(small_config, training=training), "CartPole-v1", seed=3).learn(80)
    agent.save(tmp_path / "a")
    loaded = JEPAAgent.load(tmp_path / "a", "CartPole-v1")
    for each in (agent, loaded):
        each.train(2)
    assert_same(agent, loaded)


def test_after_an_episode_from_elsewhere_a_loaded_run_begins_the_same_next_one(small_config, tmp_path):
    agent = JEPAAgent(dataclasses.replace(small_config, n_envs=1), "CartPole-v1", seed=0).learn(60)
    agent.add_episode([[0.0] * 4] * 3, [0, 1], [1.0, 1.0], terminated=True)
    agent.save(tmp_path / "a")
    loaded = JEPAAgent.load(tmp_path / "a", "CartPole-v1")
    for each in (agent, loaded):
        each.learn(30, reset_num_timesteps=False)
    assert_same(agent, loaded)


def test_what_an_environment_does_to_its_action_is_not_remembered(small_config, tmp_path):
    class Halving(gym.ActionWrapper):
        def action(self, action):
            action *= 0.5
            return action

    def make():
        return Halving(gym.make("Pendulum-v1"))

    config = dataclasses.replace(small_config, exploration=ExplorationConfig(kind="random"))
    agent = JEPAAgent(config, make, seed=0).learn(60)
    plain = JEPAAgent(config, "Pendulum-v1", seed=0).learn(60)
    assert np.array_equal(agent.replay.state()["action"], plain.replay.state()["action"])
    agent.save(tmp_path / "a")
    loaded = JEPAAgent.load(tmp_path / "a", make)
    for each in (agent, loaded):
        each.learn(30, reset_num_timesteps=False)
    assert_same(agent, loaded)


def test_what_an_environment_raises_while_its_episode_is_repeated_does_not_speak_against_the_file(small_config, tmp_path):
    class Away(gym.Wrapper):
        def step(self, action):
            raise RuntimeError("the simulator is away")

    JEPAAgent(small_config, "CartPole-v1", seed=0).learn(62).save(tmp_path / "agent")
    with pytest.raises(RuntimeError, match="the simulator is away"):
        JEPAAgent.load(tmp_path / "agent", lambda: Away(gym.make("CartPole-v1")))


def test_loading_with_other_spaces_is_refused(small_config, tmp_path):
    JEPAAgent(small_config, "CartPole-v1", seed=0).learn(40).save(tmp_path / "agent")
    with pytest.raises(ValueError, match="spaces do not match"):
        JEPAAgent.load(tmp_path / "agent", "Acrobot-v1")


def test_a_checkpoint_whose_parts_do_not_fit_is_named(small_config, tmp_path):
    path = tmp_path / "agent.zip"
    JEPAAgent(small_config, "CartPole-v1", seed=0).learn(40).save(path)
    whole = read_checkpoint(path)
    other = dict(whole.tensors)
    other["model/encoder.net.0.weight"] = torch.zeros(3, 3)
    write_checkpoint(path, Checkpoint(state=whole.state, tensors=other, arrays=whole.arrays))
    with pytest.raises(CheckpointError, match=r"(?s)agent\.zip does not hold a usable agent: .*encoder\.net\.0\.weight"):
        JEPAAgent.load(path)
    state = {**whole.state, "config": {**whole.state["config"], "colour": "red"}}
    write_checkpoint(path, Checkpoint(state=state, tensors=whole.tensors, arrays=whole.arrays))
    with pytest.raises(CheckpointError, match="unknown option colour"):
        JEPAAgent.load(path)


def test_episodes_depend_on_base_seed_and_number_alone():
    env = SeededEpisodes(gym.make("CartPole-v1"))
    first = env.reset(seed=5)[0]
    second = env.reset()[0]
    for _ in range(3):
        env.step(0)
    third = env.reset()[0]
    assert np.array_equal(env.rebuild_episode(5, 1, []), second)
    assert np.array_equal(env.reset()[0], third)
    assert not np.array_equal(first, second)
    moved = env.rebuild_episode(5, 0, [1, 1, 0])
    env.reset(seed=5)
    for action in (1, 1, 0):
        observation, *_ = env.step(action)
    assert np.array_equal(moved, observation)


class EndsAnywhere(gym.Wrapper):
    """Whose episodes end by a draw that no seed decides, and whose observation tells nothing."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    draws = np.random.default_rng(0)

    def reset(self, **given):
        _, info = self.env.reset(**given)
        return np.zeros(2, np.float32), info

    def step(self, action):
        _, reward, terminated, truncated, info = self.env.step(action)
        return np.zeros(2, np.float32), reward, terminated or self.draws.random() < 0.2, truncated, info


def test_an_episode_that_ends_sooner_when_it_is_repeated_is_another(small_config, tmp_path):
    def make():
        return EndsAnywhere(gym.make("CartPole-v1"))

    lost = 0
    for seed in range(8):
        JEPAAgent(small_config, make, seed=seed).learn(42).save(tmp_path / "agent")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            loaded = JEPAAgent.load(tmp_path / "agent", make)
        lost += any("does not come back to its last observation" in str(warning.message) for warning in told)
        loaded.learn(20, reset_num_timesteps=False)
        assert len(loaded.replay) == 62
    assert 0 < lost < 8
    env = SeededEpisodes(make())
    assert env.rebuild_episode(0, 0, [0, 1] * 100) is None
