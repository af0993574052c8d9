"""An encoder and a planner of one's own inside the agent."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from jepa_rl.agent import CheckpointError, JEPAAgent, register_encoder
from jepa_rl.planners import Plan, PlannerConfig
from jepa_rl.world_model import EncoderConfig, MaskedConfig, own_encoders


class Flat(nn.Module):
    """Any array, flattened, by one layer."""

    def __init__(self, observation, latent_dim):
        super().__init__()
        self.layer = nn.Linear(torch.Size(observation.shape).numel(), latent_dim)

    def forward(self, observation):
        return self.layer(observation.flatten(1).float())


class PlaceAndCamera(gym.Env):
    observation_space = spaces.Dict(place=spaces.Box(-1, 1, (2,)), camera=spaces.Box(0, 255, (16, 16, 3), np.uint8))
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), float(action), False, False, {}


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    monkeypatch.setattr(own_encoders, "_registered", {})
    register_encoder("flat", Flat)


def with_encoder(config, name):
    encoder = dataclasses.replace(config.model.encoder, own=name)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, encoder=encoder))


def test_an_encoder_of_ones_own_is_trained_saved_and_copied(small_config, tmp_path):
    agent = JEPAAgent(with_encoder(small_config, "flat"), "CartPole-v1", seed=0)
    assert isinstance(agent.model.encoder, Flat)
    before = agent.model.encoder.layer.weight.detach().clone()
    again = JEPAAgent(with_encoder(small_config, "flat"), "CartPole-v1", seed=0)
    assert torch.equal(before, again.model.encoder.layer.weight)  # the seed decides its first weights
    agent.learn(60)
    assert not torch.equal(before, agent.model.encoder.layer.weight)
    agent.save(tmp_path / "own")
    loaded = JEPAAgent.load(tmp_path / "own")
    assert torch.equal(loaded.model.encoder.layer.weight, agent.model.encoder.layer.weight)
    own_encoders._registered.clear()
    with pytest.raises(CheckpointError, match=r"unknown encoder 'flat'\. One of your own is made known by"):
        JEPAAgent.load(tmp_path / "own")


@pytest.mark.parametrize("layer", [nn.BatchNorm1d, lambda width: nn.Dropout(0.5)])
def test_an_encoder_normalises_by_the_batch_or_drops_out_only_while_it_learns(small_config, tmp_path, layer):
    def build(observation, latent_dim):
        return nn.Sequential(Flat(observation, 32), layer(32), nn.Linear(32, latent_dim))

    register_encoder("moody", build)
    config = with_encoder(small_config, "moody")
    agent = JEPAAgent(config, "CartPole-v1", seed=0).learn(60)
    seen = []
    agent.model.encoder.register_forward_hook(lambda module, *_: seen.append(module.training))
    observations = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    before = {name: value.clone() for name, value in agent.model.state_dict().items()}
    together = agent.encode(observations)
    assert np.allclose(together, np.concatenate([agent.encode(one[None]) for one in observations]), atol=1e-6)
    agent.predict(observations)
    assert all(torch.equal(value, before[name]) for name, value in agent.model.state_dict().items())
    assert not any(seen)
    agent.train(1)
    assert any(seen)
    assert not agent.model.encoder.training

    first = JEPAAgent(config, "CartPole-v1", seed=0).learn(60)
    first.save(tmp_path / "half")
    torch.rand(1)  # the caller's own draws change nothing
    resumed = JEPAAgent.load(tmp_path / "half", "CartPole-v1").learn(40, reset_num_timesteps=False)
    whole = JEPAAgent(config, "CartPole-v1", seed=0).learn(100)
    for one, two in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_each_part_of_a_dict_gets_an_encoder_of_its_own(small_config):
    agent = JEPAAgent(with_encoder(small_config, "flat"), PlaceAndCamera, seed=0)
    assert sorted(part.layer.in_features for part in agent.model.encoder.encoders) == [2, 16 * 16 * 3]
    agent.learn(60)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda observation, latent_dim: nn.Linear(4, 17), r"must map \[2, 4\] to floats \[2, 16\], got .* \[2, 17\]"),
        (lambda observation, latent_dim: np.tanh, r"must give a torch\.nn\.Module, got ufunc"),
    ],
)
def test_an_encoder_that_gives_no_latents_is_refused(small_config, factory, message):
    register_encoder("other", factory)
    model = dataclasses.replace(small_config.model, latent_dim=16)
    with pytest.raises(ValueError, match=message):
        JEPAAgent(with_encoder(dataclasses.replace(small_config, model=model), "other"), "CartPole-v1", seed=0)


def test_names_and_factories_of_encoders_are_checked(small_config):
    with pytest.raises(ValueError, match="letters, digits and underscores, got 'a-b'"):
        register_encoder("a-b", Flat)
    with pytest.raises(TypeError, match="the factory of encoder 'a' must be callable, got 3"):
        register_encoder("a", 3)
    with pytest.raises(ValueError, match=r"unknown encoder 'flatt'; did you mean flat\?"):
        JEPAAgent(with_encoder(small_config, "flatt"), "CartPole-v1", seed=0)
    with pytest.raises(ValueError, match=r"model\.encoder\.own must be empty with model\.masked\.weight, got flat"):
        dataclasses.replace(
            small_config.model,
            encoder=EncoderConfig(own="flat", image_encoder="patches"),
            masked=MaskedConfig(weight=1.0),
        )


class AlwaysRight:
    """Pushes to the right, whatever the model says."""

    def __init__(self, horizon):
        self.horizon = horizon

    def plan(self, model, latent, **_):
        actions = torch.ones(len(latent), self.horizon, dtype=torch.int64)
        return Plan(actions=actions, value=torch.zeros(len(latent)), spread=torch.zeros(len(latent)))


def test_a_planner_of_ones_own_collects_and_predicts_and_is_missed_after_loading(small_config, tmp_path):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0)
    agent.set_planner(dataclasses.replace(small_config.planner, horizon=3), AlwaysRight(3))
    agent.learn(80)
    assert agent.collector.plan.shape[1] == 3
    observation = agent.get_env().reset()
    assert agent.predict(observation)[0].tolist() == [1, 1]
    agent.save(tmp_path / "own")
    with pytest.warns(UserWarning, match="was saved by an agent with a planner of its own"):
        loaded = JEPAAgent.load(tmp_path / "own")
    assert not loaded.has_own_planner
    loaded.set_planner(loaded.planner_config, AlwaysRight(3))
    assert loaded.predict(observation)[0].tolist() == [1, 1]
    loaded.set_planner(PlannerConfig(kind="exhaustive", horizon=2))
    assert not loaded.has_own_planner


def test_plans_of_another_length_than_was_said_are_refused(small_config):
    agent = JEPAAgent(small_config, "CartPole-v1", seed=0)
    agent.set_planner(dataclasses.replace(small_config.planner, horizon=3), AlwaysRight(2))
    with pytest.raises(ValueError, match=r"the actions of a plan must have shape \[1, 3\], got \[1, 2\]"):
        agent.predict(np.zeros(4, np.float32))
    with pytest.raises(TypeError, match="planner must have a method plan"):
        agent.set_planner(small_config.planner, object())
