"""What else a user of Stable-Baselines3 asks of an algorithm: parameters, seeds, logs, shapes."""

import copy
import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.envs import IdentityEnv
from stable_baselines3.common.logger import configure

from jepa_rl.agent import CheckpointError, CollapseMonitor, JEPAAgent
from jepa_rl.world_model import AuxiliaryConfig, DynamicsConfig


def flat(parameters) -> dict[str, torch.Tensor]:
    """Every tensor of get_parameters by its path."""
    found = {}
    for name, value in parameters.items():
        if isinstance(value, dict):
            found |= {f"{name}/{inner}": tensor for inner, tensor in flat(value).items()}
        elif isinstance(value, torch.Tensor):
            found[str(name)] = value
    return found


def equal(first, second) -> bool:
    one, two = flat(first), flat(second)
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.fixture
def ema_config(small_config):
    model = dataclasses.replace(small_config.model, dynamics=DynamicsConfig(target="ema"))
    return dataclasses.replace(small_config, model=model)


@pytest.fixture
def trained(ema_config):
    return JEPAAgent(ema_config, "CartPole-v1", seed=0).learn(60)


@pytest.mark.parametrize("from_file", [False, True])
def test_parameters_go_over_whole_and_are_not_shared(trained, ema_config, tmp_path, from_file):
    other = JEPAAgent(ema_config, "CartPole-v1", seed=1)
    assert not equal(other.get_parameters(), trained.get_parameters())
    assert set(trained.get_parameters()) == {"model", "optimizer", "learner.ema"}
    if from_file:
        trained.save(tmp_path / "agent")
    other.set_parameters(str(tmp_path / "agent") if from_file else trained.get_parameters())
    kept = copy.deepcopy(trained.get_parameters())
    assert equal(other.get_parameters(), kept)
    other.learn(60)
    assert equal(trained.get_parameters(), kept)
    assert not equal(other.get_parameters(), kept)


def test_parameters_must_be_complete_unless_said_otherwise(trained, ema_config):
    agent = JEPAAgent(ema_config, "CartPole-v1", seed=1)
    before = copy.deepcopy(agent.get_parameters())
    parameters = trained.get_parameters()
    for wrong in ({"model": parameters["model"]}, {**parameters, "critic": {}}, {}):
        with pytest.raises(ValueError, match=r"parameters must be those of model, optimizer, learner\.ema, got"):
            agent.set_parameters(wrong)
    with pytest.raises(ValueError, match="got critic"):
        agent.set_parameters({"critic": {}}, exact_match=False)
    narrow = dataclasses.replace(ema_config, model=dataclasses.replace(ema_config.model, latent_dim=8))
    with pytest.raises(ValueError, match="of the optimiser's parameter 0 must have shape"):
        JEPAAgent(narrow, "CartPole-v1").set_parameters(parameters)
    for part in ("model", "learner.ema"):
        fewer = {**parameters, part: dict(list(parameters[part].items())[1:])}
        with pytest.raises(RuntimeError, match="Missing key"):
            agent.set_parameters(fewer)
    assert equal(agent.get_parameters(), before)
    agent.set_parameters({"model": parameters["model"]}, exact_match=False)
    assert equal({"model": agent.get_parameters()["model"]}, {"model": parameters["model"]})
    assert equal({"ema": agent.get_parameters()["learner.ema"]}, {"ema": before["learner.ema"]})


def test_a_file_of_another_kind_is_refused(trained, tmp_path):
    (tmp_path / "other.zip").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"other\.zip"):
        trained.set_parameters(tmp_path / "other.zip")


def test_a_seed_decides_everything_from_there_on(small_config):
    def actions_and_starts(agent):
        state = agent.learn(20).replay.state()
        return state["action"], state["observation"]

    fresh = actions_and_starts(JEPAAgent(small_config, "CartPole-v1", seed=4))
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0)
    agent.set_random_seed(4)
    assert all(np.array_equal(one, two) for one, two in zip(fresh, actions_and_starts(agent), strict=True))
    agents = [JEPAAgent(small_config, "CartPole-v1", seed=0).learn(60) for _ in range(2)]
    for number, agent in enumerate(agents):
        agent.predict(np.zeros((number + 1, 4), np.float32))  # streams at different places
        agent.set_random_seed(None)
        assert agent.seed == 0
        agent.set_random_seed(9)
        agent.learn(40, reset_num_timesteps=False)
    assert equal(agents[0].get_parameters(), agents[1].get_parameters())
    assert agents[0].num_timesteps == 100


def test_a_run_after_another_seed_is_saved_and_goes_on_exactly(small_config, tmp_path):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0).learn(30)
    agent.set_random_seed(7)
    agent.learn(32, reset_num_timesteps=False).save(tmp_path / "agent")
    loaded = JEPAAgent.load(tmp_path / "agent", "CartPole-v1")
    for one in (agent, loaded):
        one.learn(40, reset_num_timesteps=False)
    assert equal(agent.get_parameters(), loaded.get_parameters())
    assert np.array_equal(agent.replay.state()["observation"], loaded.replay.state()["observation"])


def test_every_run_has_a_tensorboard_folder_and_continuing_shares_it(small_config, tmp_path):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0, tensorboard_log=str(tmp_path))
    agent.learn(40, log_interval=20)
    agent.learn(20, log_interval=20, reset_num_timesteps=False)
    agent.learn(20, log_interval=20, tb_log_name="other")
    agent.learn(20, log_interval=20)
    folders = {path.name: len(list(path.glob("events.out.tfevents.*"))) for path in tmp_path.iterdir()}
    assert folders == {"JEPA_1": 2, "JEPA_2": 1, "other_1": 1}


def test_a_logger_of_ones_own_and_verbosity_are_respected(small_config, tmp_path, capsys):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0, verbose=1, device="cpu")
    assert agent.device == torch.device("cpu")
    agent.learn(40, log_interval=40)
    assert "train/" in capsys.readouterr().out
    agent.set_logger(configure(str(tmp_path), ["json"]))
    agent.learn(40, log_interval=20)
    assert agent.logger.get_dir() == str(tmp_path)
    assert len((tmp_path / "progress.json").read_text().splitlines()) == 2
    assert "train/" not in capsys.readouterr().out


ACTIONS = {
    "discrete": spaces.Discrete(4, start=2),
    "multi_discrete": spaces.MultiDiscrete([2, 3]),
    "multi_binary": spaces.MultiBinary(3),
    "box": spaces.Box(-1, 2, (2,), np.float32),
    "matrix": spaces.Box(-1, 2, (2, 3), np.float64),
}


@pytest.mark.parametrize("space", ACTIONS.values(), ids=ACTIONS)
def test_predicted_actions_are_of_the_space_alone_and_in_batches(small_config, space):
    agent = JEPAAgent(small_config, lambda: IdentityEnv(space=space), seed=0)
    observation = space.sample()
    single, state = agent.predict(observation, deterministic=True)
    assert space.contains(single)
    again, _ = agent.predict(observation, state=state, episode_start=np.array([True]), deterministic=True)
    assert np.shape(again) == space.shape
    batch, state = agent.predict(np.stack([space.sample() for _ in range(3)]))
    assert batch.shape == (3, *space.shape)
    assert all(space.contains(action) for action in batch)
    venv = agent.get_env()
    observations = venv.reset()
    for _ in range(3):
        actions, state = agent.predict(observations, deterministic=True)
        observations, *_ = venv.step(actions)


def test_episodes_of_one_step_are_learned_from(small_config):
    class Bandit(gym.Env):
        observation_space, action_space = spaces.Box(0, 1, (2,)), spaces.Discrete(3)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return self.np_random.random(2, np.float32), {}

        def step(self, action):
            return np.ones(2, np.float32), float(action == 1), True, False, {}

    agent = JEPAAgent(small_config, Bandit, seed=0).learn(60)
    batch = agent.replay.sample(100, 3, np.random.default_rng(0))
    assert len(agent.replay) == agent._episode_num == 60
    assert batch.alive.tolist() == [[True, False, False]] * 100
    assert batch.terminated[:, 0].all()
    assert (batch.observation[:, 1] == 1).all()
    assert torch.equal(batch.reward[:, 0], (batch.action[:, 0] == 1).float())


def test_loading_keeps_where_logs_go(small_config, tmp_path):
    logged = {"tensorboard_log": str(tmp_path / "logs"), "verbose": 1}
    JEPAAgent(small_config, "CartPole-v1", seed=0, **logged).save(tmp_path / "agent")
    loaded = JEPAAgent.load(tmp_path / "agent", "CartPole-v1")
    assert (loaded.tensorboard_log, loaded.verbose) == (logged["tensorboard_log"], 1)
    assert JEPAAgent.load(tmp_path / "agent", verbose=0).verbose == 0


def test_a_replay_that_was_left_in_the_file_is_not_lost(small_config, tmp_path):
    JEPAAgent(small_config, "CartPole-v1", seed=0).learn(40).save(tmp_path / "agent")
    agent = JEPAAgent.load(tmp_path / "agent")
    with pytest.raises(ValueError, match=r"without the replay of its file.*exclude=\{'replay'\}"):
        agent.save(tmp_path / "agent")
    agent.save(tmp_path / "small", exclude={"replay"})
    with pytest.warns(UserWarning, match="saved without its replay"):
        JEPAAgent.load(tmp_path / "small", "CartPole-v1")
    assert len(JEPAAgent.load(tmp_path / "agent", "CartPole-v1").replay) == 40


def test_tasks_with_long_names_are_printed(small_config, capsys):
    class Told(gym.Wrapper):
        def reset(self, **options):
            observation, info = self.env.reset(**options)
            return observation, {**info, "distance_to_the_nearest_obstacle": 1.0}

        def step(self, action):
            *rest, info = self.env.step(action)
            return *rest, {**info, "distance_to_the_nearest_obstacle": 1.0}

    tasks = (AuxiliaryConfig(target="info:distance_to_the_nearest_obstacle"),)
    config = dataclasses.replace(small_config, model=dataclasses.replace(small_config.model, auxiliaries=tasks))
    JEPAAgent(config, lambda: Told(gym.make("CartPole-v1")), seed=0, verbose=1).learn(60, log_interval=20)
    assert "distance_to_the_nearest_obstacle_gradient_norm" in capsys.readouterr().out


def test_the_monitor_of_collapse_says_whom_it_watches():
    with pytest.raises(TypeError, match="CollapseMonitor watches a JEPAAgent, got PPO"):
        PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8).learn(8, callback=CollapseMonitor())
