"""Agents on observation and action spaces of every supported kind."""

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from jepa_rl.agent import JEPAAgent, vectorize
from jepa_rl.agent.spaces import ActionAdapter, space_from_json, space_to_json
from jepa_rl.planners import PlannerConfig
from jepa_rl.world_model import AuxiliaryConfig, EncoderConfig, ModelConfig, ValueConfig

PARTS = [
    spaces.Box(-1, 1, (3,)),
    spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
    spaces.Box(-1e300, 1e300, (), np.float64),
    spaces.Box(-5, 10**6, (2,), np.int32),
    spaces.Box(0, 60_000, (2,), np.uint16),
    spaces.Box(0, 1, (2,), np.bool_),
    spaces.Box(0, 255, (16, 16, 3), np.uint8),
    spaces.Box(0, 255, (3, 16, 16), np.uint8),
    spaces.Box(0, 255, (16, 16), np.uint8),
    spaces.Box(0, 1, (16, 16, 3), np.float32),
    spaces.Discrete(4, start=-2),
    spaces.MultiDiscrete([[2, 3], [4, 1]]),
    spaces.MultiBinary((2, 2)),
]
OBSERVATIONS = [
    *PARTS,
    spaces.Dict(
        zebra=PARTS[0], camera=PARTS[6], mission=spaces.Text(30), deep=spaces.Dict(a=PARTS[10], b=spaces.Tuple(PARTS[:3]))
    ),
    spaces.Tuple(PARTS),
]


def action_spaces() -> st.SearchStrategy[spaces.Space]:
    count, start = st.integers(1, 4), st.integers(-5, 5)
    counts = st.lists(count, min_size=1, max_size=3)
    discrete = st.builds(lambda n, s: spaces.Discrete(n, start=s), count, start)
    multi = st.builds(lambda n, s: spaces.MultiDiscrete(n, start=[s] * len(n)), counts, start)
    shape = st.lists(st.integers(1, 3), max_size=2).map(tuple)
    dtype = st.sampled_from([np.float32, np.float64, np.int64, np.uint8])
    box = st.builds(
        lambda low, width, s, d: spaces.Box(low, low + width, s, d), st.integers(0, 9), st.integers(0, 90), shape, dtype
    )
    asymmetric = st.just(spaces.Box(np.float32([-1e4, 0.1]), np.float32([-3, 0.3])))
    return discrete | multi | st.builds(spaces.MultiBinary, count | counts) | box | asymmetric


class AnySpaces(gym.Env):
    """Observations at random, episodes of five steps that terminate; refuses actions outside of its space."""

    def __init__(self, observation: spaces.Space, action: spaces.Space) -> None:
        # Copies, for spaces carry the generator of their samples.
        self.observation_space, self.action_space = (space_from_json(space_to_json(s)) for s in (observation, action))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        if not self.action_space.contains(action):
            raise ValueError(f"action {action!r} is not in {self.action_space}")
        self.steps += 1
        return self.observation_space.sample(), float(self.steps), self.steps == 5, False, {}


def weights(agent) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in agent.model.parameters()])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), action=action_spaces(), seed=st.integers(0, 99))
def test_an_agent_learns_in_and_acts_on_whatever_spaces(small_config, observation_spaces, data, action, seed):
    learns_and_acts(small_config, data.draw(observation_spaces), action, seed)


def test_an_agent_learns_with_more_joint_actions_than_can_be_counted(small_config):
    learns_and_acts(small_config, PARTS[0], spaces.MultiBinary([4, 4, 4]), seed=0)  # 2 to the 64th


def learns_and_acts(small_config, observation, action, seed):
    agent = JEPAAgent(small_config, lambda: AnySpaces(observation, action), seed=seed)
    before = weights(agent)
    agent.learn(32)
    assert agent._n_updates == 6
    assert torch.isfinite(weights(agent)).all()
    assert not torch.equal(before, weights(agent))
    env = AnySpaces(observation, action)
    chosen, _ = agent.predict(env.reset(seed=0)[0])
    assert env.action_space.contains(chosen)


@pytest.mark.parametrize("observation", OBSERVATIONS, ids=str)
def test_a_run_on_every_observation_space_resumes_exactly(small_config, tmp_path, observation):
    def factory():
        return AnySpaces(observation, spaces.Discrete(3, start=7))

    whole = JEPAAgent(small_config, factory, seed=0).learn(48)
    part = JEPAAgent(small_config, factory, seed=0).learn(28)
    part.save(tmp_path / "agent")
    resumed = JEPAAgent.load(tmp_path / "agent", factory)
    assert np.array_equal(resumed.collector.observation, part.collector.observation)
    assert torch.equal(weights(whole), weights(resumed.learn(20, reset_num_timesteps=False)))
    alone = JEPAAgent.load(tmp_path / "agent")
    assert alone.observation_space == part.observation_space
    sample = part.observation_space.sample()
    assert alone.predict(sample)[0] == part.predict(sample)[0]


def test_a_batch_and_its_single_observations_have_the_same_latents(small_config):
    observation = OBSERVATIONS[len(PARTS)]
    agent = JEPAAgent(small_config, lambda: AnySpaces(observation, spaces.Discrete(2)), seed=0)
    batch = agent.env.reset()
    latent = agent.encode(batch)
    for row in range(2):
        single = agent.observation_adapter.unpack(agent.observation_adapter.pack(batch)[row])
        assert agent.encode(agent.observation_adapter.pack(single)[None])[0] == pytest.approx(latent[row], abs=1e-5)
    assert np.abs(latent[0] - latent[1]).max() > 1e-3
    assert np.shape(agent.predict(single)[0]) == ()
    assert agent.predict(batch)[0].shape == (2,)


@pytest.mark.parametrize("make", [DummyVecEnv, lambda functions: SubprocVecEnv(functions, start_method="fork")])
@pytest.mark.parametrize("structure", [lambda parts: spaces.Dict(dict(zip("abc", parts, strict=True))), spaces.Tuple])
def test_dict_and_tuple_batches_of_stable_baselines3_serve(small_config, make, structure):
    observation = structure([PARTS[0], PARTS[6], PARTS[10]])
    venv = make([lambda: Monitor(AnySpaces(observation, spaces.Discrete(2)))] * 2)
    agent = JEPAAgent(small_config, venv, seed=0).learn(40)
    assert agent._n_updates == 10
    assert evaluate_policy(agent, venv, n_eval_episodes=2)[0] == 15
    venv.close()


def test_minigrids_own_observations_serve_with_their_mission(small_config, tmp_path):
    import minigrid  # noqa: F401  # registers the environments

    model = dataclasses.replace(small_config.model, encoder=EncoderConfig(kind="grid", hidden=(16,)))
    config = dataclasses.replace(small_config, model=model)
    agent = JEPAAgent(config, "MiniGrid-Fetch-5x5-N2-v0", seed=0).learn(40)
    agent.save(tmp_path / "agent")
    resumed = JEPAAgent.load(tmp_path / "agent", "MiniGrid-Fetch-5x5-N2-v0").learn(20, reset_num_timesteps=False)
    assert torch.equal(weights(resumed), weights(agent.learn(20, reset_num_timesteps=False)))
    observation, _ = gym.make("MiniGrid-Fetch-5x5-N2-v0").reset(seed=0)
    packed = [
        agent.observation_adapter.pack(observation | {"mission": text}) for text in ("get a red key", "get a red ball")
    ]
    latents = agent.encode(np.stack(packed))
    assert np.abs(latents[0] - latents[1]).max() > 1e-3
    evaluate_policy(agent, vectorize(lambda: gym.make("MiniGrid-Fetch-5x5-N2-v0"), 1), n_eval_episodes=1)


def test_a_nan_in_a_part_of_an_observation_stops_the_run_with_nothing_stored(small_config):
    class Broken(AnySpaces):
        def step(self, action):
            observation, *rest = super().step(action)
            if self.steps == 4:
                observation["b"][1] = np.nan
            return observation, *rest

    agent = JEPAAgent(small_config, lambda: Broken(spaces.Dict(a=PARTS[6], b=PARTS[0]), spaces.Discrete(2)), seed=0)
    with pytest.raises(FloatingPointError, match=r"observation\['b'\] of environment 0 is not finite"):
        agent.learn(100)
    assert len(agent.replay) == agent.num_timesteps == 6


def test_integers_of_a_box_are_all_reached_and_bounds_are_kept():
    adapter = ActionAdapter(spaces.Box(-1, 2, (1,), np.int64))
    assert adapter.to_env(np.linspace(-1, 1, 10, dtype=np.float32)[:, None])[:, 0].tolist() == [
        -1,
        -1,
        0,
        0,
        0,
        1,
        1,
        1,
        2,
        2,
    ]
    low, high = np.array([-0.9]), np.array([-0.3])
    bounds = ActionAdapter(spaces.Box(low, high, dtype=np.float64)).to_env(np.array([[-1], [1]], np.float32))
    assert bounds.tolist() == [[-0.9], [-0.3]]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Box(-np.inf, 1, (2,)), r"is unbounded; wrap the environment in gymnasium.wrappers.TransformAction\(env"),
        (spaces.Box(-1e308, 1e308, (2,), np.float64), "is unbounded"),
        (spaces.Dict(a=spaces.Discrete(2)), "is not supported; supported are Discrete.*TransformAction"),
    ],
)
def test_actions_that_cannot_be_planned_over_are_refused_with_a_way_out(space, message):
    with pytest.raises(ValueError, match=message):
        ActionAdapter(space)


def test_the_way_out_of_unbounded_actions_is_one(small_config):
    env = AnySpaces(PARTS[0], spaces.Box(-np.inf, np.inf, (2,)))
    bounded = gym.wrappers.TransformAction(env, lambda action: action, spaces.Box(-2, 3, (2,)))
    assert JEPAAgent(dataclasses.replace(small_config, n_envs=1), bounded, seed=0).learn(24).num_timesteps == 24


@pytest.mark.parametrize("target", ["random_network", "next_features", "reconstruction"])
def test_a_task_that_needs_one_array_refuses_a_dict(small_config, target):
    model = ModelConfig(auxiliaries=(AuxiliaryConfig(target=target),))
    config = dataclasses.replace(small_config, model=model)
    with pytest.raises(ValueError, match=f"{target!r} needs an observation of one array, not a Dict or Tuple"):
        JEPAAgent(config, lambda: AnySpaces(spaces.Dict(a=PARTS[0]), spaces.Discrete(2)), seed=0)


@pytest.mark.parametrize("space", [spaces.MultiDiscrete([6]), spaces.MultiBinary(1)])
def test_one_dimension_with_an_axis_is_planned_with_proposals_and_a_gap(small_config, space):
    value = ValueConfig(weight=1.0, gap=0.5)
    planner = PlannerConfig(kind="cem", horizon=2, samples=8, elites=2, iterations=2, proposals=4)
    config = dataclasses.replace(small_config, model=dataclasses.replace(small_config.model, value=value), planner=planner)
    agent = JEPAAgent(config, lambda: AnySpaces(spaces.Box(-1, 1, (2,)), space), seed=0, device="cpu").learn(60)
    assert agent._n_updates > 0
    action, _ = agent.predict(np.zeros((3, 2), np.float32))
    assert action.shape == (3, 1)


def test_an_environment_may_show_everything_in_one_array_of_its_own(small_config):
    class Counter(gym.Env):
        observation_space, action_space = spaces.Box(0, 9, (1,)), spaces.Discrete(2)

        def __init__(self):
            self.shown = np.zeros(1, np.float32)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.shown[:] = 0
            return self.shown, {}

        def step(self, action):
            self.shown += 1
            return self.shown, 0.0, bool(self.shown == 3), False, {}

    agent = JEPAAgent(dataclasses.replace(small_config, n_envs=1), Counter, seed=0).learn(9)
    seen = agent.replay.state()["observation"]
    assert seen[:8].ravel().tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
