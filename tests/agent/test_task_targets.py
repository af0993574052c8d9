"""What auxiliary tasks read from environments: the right target at the right observation, and errors that name the task."""

import dataclasses
import functools

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecMonitor

from jepa_rl.agent import (
    AuxiliaryConfig,
    CheckpointError,
    ExplorationConfig,
    JEPAAgent,
    JEPAAuxiliaryCallback,
    JEPAFeaturesExtractor,
    register_auxiliary,
)
from jepa_rl.agent.config import AgentConfig, from_dict
from jepa_rl.world_model import RewardConfig, targets


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(targets, "_registered", {})


@pytest.fixture
def small_config(small_config) -> AgentConfig:
    """With random actions: nothing here depends on planning."""
    return dataclasses.replace(small_config, exploration=ExplorationConfig(kind="random"))


@pytest.fixture
def telling_env(clock_env):
    """A clock whose info tells in one number what the observation tells in three."""

    class TellingEnv(clock_env):
        def _info(self):
            name, episode, clock = self._observation().tolist()
            return {"code": 10_000 * name + 10 * episode + clock, "parts": np.array([episode, clock])}

        def reset(self, **options):
            return super().reset(**options)[0], self._info()

        def step(self, action):
            observation, reward, terminated, truncated, info = super().step(action)
            return observation, reward, terminated, truncated, info | self._info()

    return TellingEnv


def with_tasks(config: AgentConfig, *tasks: AuxiliaryConfig, reward: RewardConfig | None = None) -> AgentConfig:
    model = dataclasses.replace(config.model, auxiliaries=tasks, reward=reward or config.model.reward)
    return dataclasses.replace(config, model=model)


def code_of(observation: np.ndarray) -> np.ndarray:
    return observation @ np.array([10_000, 10, 1])


@pytest.mark.parametrize("kind", ["in this process", "in others", "wrapped"])
def test_targets_belong_to_the_observation_that_was_reached_also_where_episodes_end(small_config, telling_env, kind):
    """Every third step ends an episode, by termination and time limit in turn."""
    factories = [functools.partial(telling_env, name) for name in range(2)]
    if kind == "in others":
        venv = SubprocVecEnv(factories, start_method="fork")
    else:
        venv = VecMonitor(DummyVecEnv(factories)) if kind == "wrapped" else DummyVecEnv(factories)
    register_auxiliary("agreement", lambda observation, info: [code_of(observation) == info["code"], 1.0], size=2)
    tasks = (
        AuxiliaryConfig(target="info:code"),
        AuxiliaryConfig(target="agreement"),
        AuxiliaryConfig(target="info:parts", size=2),
    )
    agent = JEPAAgent(with_tasks(small_config, *tasks), venv, seed=0)
    agent.learn(60)
    venv.close()
    batch = agent.replay.sample(200, 4, np.random.default_rng(0))
    assert batch.targets["info:code"].shape == (200, 5, 1)
    assert np.array_equal(batch.targets["info:code"][..., 0].numpy(), code_of(batch.observation.numpy()))
    assert np.array_equal(batch.targets["info:parts"].numpy(), batch.observation[..., 1:].numpy())
    assert (batch.targets["agreement"] == 1).all()
    assert len(batch.targets["info:code"].unique()) > 30
    assert batch.shown == {}


def test_functions_see_structured_observations_as_the_environment_gives_them(small_config, clock_env):
    class DictEnv(clock_env):
        observation_space = spaces.Dict(time=spaces.Box(-1e6, 1e6, (), np.float32), name=spaces.Discrete(3))

        def _observation(self):
            return {"time": np.float32(self.clock), "name": self.name}

    seen = []
    register_auxiliary("time", lambda observation, info: seen.append(sorted(observation)) or observation["time"])
    agent = JEPAAgent(with_tasks(small_config, AuxiliaryConfig(target="time")), DictEnv, seed=0)
    agent.learn(24)
    assert {tuple(keys) for keys in seen} == {("name", "time")}
    assert agent.replay.sample(50, 1, np.random.default_rng(0)).targets["time"].unique().tolist() == [0, 1, 2, 3]


def test_a_function_cannot_change_what_is_stored(small_config, telling_env):
    def vandal(observation, info):
        observation[:] = 7
        return 0.0

    register_auxiliary("vandal", vandal)
    agent = JEPAAgent(with_tasks(small_config, AuxiliaryConfig(target="vandal")), telling_env, seed=0).learn(24)
    assert not (agent.replay.state()["observation"][:10] == 7).all(axis=1).any()


def test_an_observation_is_labelled_once_and_the_others_are_nowhere_in_the_replay(small_config, telling_env):
    task = AuxiliaryConfig(target="info:code", label_fraction=0.3)
    reward = dataclasses.replace(small_config.model.reward, input="observation", label_fraction=0.5)
    replay = dataclasses.replace(small_config.replay, capacity=4_000, prioritised_fraction=1.0)
    training = dataclasses.replace(small_config.training, starts=10_000)
    config = dataclasses.replace(with_tasks(small_config, task, reward=reward), replay=replay, training=training)
    venv = DummyVecEnv([functools.partial(telling_env, name) for name in range(2)])
    agent = JEPAAgent(config, venv, seed=0).learn(1_500)
    batch = agent.replay.sample(2_000, 3, np.random.default_rng(0))
    code = code_of(batch.observation.numpy())
    shown = batch.shown["info:code"].numpy()
    known = {value: set(shown[code == value].tolist()) for value in np.unique(code)}
    assert all(len(answers) == 1 for answers in known.values())
    assert np.array_equal(batch.targets["info:code"][..., 0].numpy(), np.where(shown, code, 0))
    stored = agent.replay.state()
    assert stored["shown"].mean(axis=0) == pytest.approx([0.5, 0.3], abs=0.06)
    assert (stored["label"][~stored["shown"][:, 0]] == 0).all()
    assert not stored["labelled"][~stored["shown"][:, 0]].any()
    # Windows that are drawn for a reward contain one that the reward task knows.
    rewarded = batch.labelled[:, 1:] & batch.alive & (batch.label[:, 1:] != 0)
    assert rewarded.any(dim=1).all()
    assert (batch.reward[batch.alive] != 0).all()  # the value still learns from all of them


def test_the_label_fractions_of_both_reward_inputs_hide_the_same_rewards(small_config, telling_env):
    reward = dataclasses.replace(small_config.model.reward, input="transition", label_fraction=0.5)
    agent = JEPAAgent(with_tasks(small_config, reward=reward), telling_env, seed=0).learn(100)
    batch = agent.replay.sample(100, 3, np.random.default_rng(0)).to(agent.device)
    hidden = ~batch.shown["reward"][:, 1:]
    assert (hidden & batch.alive).any()
    changed = dataclasses.replace(batch, reward=batch.reward + 9 * hidden)
    losses = [agent.learner.update(each, rate_share=0.0)["reward_loss"] for each in (batch, changed)]
    assert losses[0] == losses[1]


def test_nothing_is_drawn_where_every_task_knows_everything(small_config, telling_env):
    agent = JEPAAgent(with_tasks(small_config, AuxiliaryConfig(target="info:code")), telling_env, seed=0)
    before = agent.streams.labels.bit_generator.state
    agent.learn(40)
    assert agent.streams.labels.bit_generator.state == before
    assert "shown" not in agent.replay.state()
    plain = JEPAAgent(small_config, telling_env, seed=0).learn(40)
    assert {"targets", "shown"}.isdisjoint(plain.replay.state())


def test_going_on_from_a_checkpoint_equals_not_stopping_with_partial_labels_too(small_config, tmp_path):
    register_auxiliary("pole", lambda observation, info: observation[2:], size=2)
    tasks = AuxiliaryConfig(target="pole", label_fraction=0.5), AuxiliaryConfig(target="inverse", label_fraction=0.4)
    reward = dataclasses.replace(small_config.model.reward, label_fraction=0.5)
    config = with_tasks(small_config, *tasks, reward=reward)
    whole = JEPAAgent(config, "CartPole-v1", seed=3).learn(60)
    whole.save(tmp_path / "a")
    resumed = JEPAAgent.load(tmp_path / "a", "CartPole-v1")
    for agent in (whole, resumed):
        agent.learn(60, reset_num_timesteps=False)
    one, two = (agent.replay.state() for agent in (whole, resumed))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)
    weights, again = (agent.model.state_dict() for agent in (whole, resumed))
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert whole.streams.labels.bit_generator.state == resumed.streams.labels.bit_generator.state


def failing(observation, info):
    if observation[2] == 2:
        raise LookupError("no label for this one")
    return 0.5


BAD = {
    "raises": (failing, {}, RuntimeError, "'bad' failed on an info with the entries .*'code'.*no label for this one"),
    "nan": (lambda o, info: np.nan if o[2] == 2 else 0.0, {}, ValueError, "'bad' must give a finite number .* got nan"),
    "text": (lambda o, info: "two" if o[2] == 2 else 0.0, {}, ValueError, "'bad' must give a finite number .* got 'two'"),
    "nothing": (lambda o, info: None if o[2] == 2 else 0.0, {}, ValueError, "must give a finite number .* got None"),
    "shape": (lambda o, info: o[: int(o[2]) + 1], {"size": 2}, ValueError, "'bad' must give 2 finite numbers"),
    "range": (lambda o, info: o[2], {"likelihood": "bernoulli"}, ValueError, r"a finite number in \[0, 1\] .* got .*2"),
    "at reset": (lambda o, info: info["is_success"], {}, RuntimeError, "'bad' failed on an info .*'is_success'"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_function_that_fails_is_named_and_nothing_is_lost(small_config, telling_env, tmp_path, fault):
    function, choices, error, message = BAD[fault]
    register_auxiliary("bad", function, **choices)
    task = AuxiliaryConfig(target="bad", label_fraction=0.999)
    agent = JEPAAgent(with_tasks(small_config, task), telling_env, seed=0)
    with pytest.raises(error, match=message):
        agent.learn(100)
    assert len(agent.replay) == agent.num_timesteps < 10
    agent.save(tmp_path / "a")
    register_auxiliary("bad", lambda observation, info: np.zeros(choices.get("size", 1)), **choices)
    loaded = JEPAAgent.load(tmp_path / "a", telling_env)
    assert loaded.num_timesteps == agent.num_timesteps
    assert loaded.streams.labels.bit_generator.state == agent.streams.labels.bit_generator.state
    loaded.learn(20, reset_num_timesteps=False)
    assert loaded.num_timesteps == agent.num_timesteps + 20


@pytest.mark.parametrize("label", [None, "much", {"a": 1.0}, [1.0]])
def test_a_label_of_the_observation_that_is_no_number_is_named(small_config, label):
    class Telling(gym.Wrapper):
        def step(self, action):
            observation, reward, terminated, truncated, info = self.env.step(action)
            return observation, reward, terminated, truncated, {**info, "auxiliary": label}

    agent = JEPAAgent(small_config, lambda: Telling(gym.make("CartPole-v1")), seed=0)
    with pytest.raises(ValueError, match=r'info\["auxiliary"\], the label of an observation, must be a number, got'):
        agent.learn(20)


def test_a_likelihood_that_there_is_not_is_refused_where_a_task_is_registered():
    with pytest.raises(ValueError, match=r"likelihood of auxiliary task 'height' must be one of gaussian, .*got 'gausian'"):
        register_auxiliary("height", lambda observation, info: 0.0, likelihood="gausian")


def test_a_key_that_the_info_does_not_have_is_named_with_those_that_it_has(small_config, telling_env):
    agent = JEPAAgent(with_tasks(small_config, AuxiliaryConfig(target="info:height")), telling_env, seed=0)
    with pytest.raises(
        RuntimeError, match=r"'info:height' failed on an info with the entries .*'code', .*KeyError\('height'\)"
    ):
        agent.learn(20)


def test_an_agent_is_not_loaded_before_its_tasks_are_registered(small_config, telling_env, tmp_path, monkeypatch):
    register_auxiliary("code", lambda observation, info: info["code"])
    JEPAAgent(with_tasks(small_config, AuxiliaryConfig(target="code")), telling_env, seed=0).save(tmp_path / "a")
    monkeypatch.setattr(targets, "_registered", {})
    with pytest.raises(CheckpointError, match=r"unknown auxiliary task 'code'.*register_auxiliary"):
        JEPAAgent.load(tmp_path / "a")


def test_losses_are_logged_by_name(small_config, telling_env):
    written = {}

    class Recorder(Logger):
        def record(self, key, value, exclude=None):
            written[key] = value

    agent = JEPAAgent(with_tasks(small_config, AuxiliaryConfig(target="info:code")), telling_env, seed=0)
    agent.set_logger(Recorder(None, []))
    agent.learn(60, log_interval=50)
    assert written["train/info:code_loss"] > 0


def test_a_configuration_with_tasks_survives_json(small_config):
    tasks = AuxiliaryConfig(target="info:code", weight=0.5, label_fraction=0.1), AuxiliaryConfig(target="noise")
    config = with_tasks(small_config, *tasks)
    plain = dataclasses.asdict(config)
    plain["model"]["auxiliaries"] = list(plain["model"]["auxiliaries"])
    assert from_dict(AgentConfig, plain) == config
    del plain["model"]["auxiliaries"][0]["target"]
    with pytest.raises(ValueError, match=r"the option model\.auxiliaries\.target is missing"):
        from_dict(AgentConfig, plain)


def test_beside_a_stable_baselines3_algorithm_tasks_that_need_labels_are_refused(small_config, telling_env):
    config = with_tasks(
        small_config, AuxiliaryConfig(target="info:code"), AuxiliaryConfig(target="noise", label_fraction=0.5)
    )
    extractor = {"config": config.model}
    policy = {"features_extractor_class": JEPAFeaturesExtractor, "features_extractor_kwargs": extractor, "net_arch": []}
    ppo = PPO("MlpPolicy", telling_env(), n_steps=8, batch_size=8, policy_kwargs=policy, device="cpu")
    with pytest.raises(ValueError, match=r"read from the environment or labelled in part, .* got info:code, noise"):
        ppo.learn(8, callback=JEPAAuxiliaryCallback())
