"""What is new to an episode, against a look at all that it saw, and what values make of it."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepa_rl.agent import AgentConfig, ExplorationConfig, JEPAAgent, ReplayConfig, TrainingConfig
from jepa_rl.agent.replay import SequenceReplay
from jepa_rl.planners import PlannerConfig
from jepa_rl.world_model import DynamicsConfig, EncoderConfig, ModelConfig, ValueConfig

RING = 6
OUTCOME = st.tuples(st.integers(0, 3), st.sampled_from(["runs", "terminated", "truncated"]))  # reached, what follows
STEPS = st.lists(st.tuples(OUTCOME, OUTCOME), max_size=40)


def two_rings() -> SequenceReplay:
    return SequenceReplay(
        capacity=2 * RING,
        n_envs=2,
        observation_shape=(1,),
        observation_dtype=np.uint8,
        action_shape=(),
        action_dtype=np.int64,
        first_visits=True,
    )


def step(replay: SequenceReplay, outcomes) -> None:
    reached, endings = zip(*outcomes, strict=True)
    replay.add(
        action=np.zeros(2, np.int64),
        reward=np.zeros(2),
        terminated=np.array([ending == "terminated" for ending in endings]),
        truncated=np.array([ending == "truncated" for ending in endings]),
        next_observation=np.array(reached, np.uint8)[:, None],
        reset_observation=np.zeros((2, 1), np.uint8),
    )


def expected(steps, env: int) -> list[tuple[int, bool]]:
    """What every transition of an environment reached, and whether that was new."""
    told, rows = [], [0]
    for reached, ending in (outcome[env] for outcome in steps):
        told.append((reached, reached not in rows[-(RING - 1) :]))
        rows = [*rows, reached] if ending == "runs" else [0]
    return told


def stored(replay: SequenceReplay, env: int) -> list[tuple[int, bool]]:
    """The same of the transitions that the replay still holds, read off its rows."""
    state = replay.state()
    rows = np.arange(max(int(state["written"][env]) - RING, 0), int(state["written"][env])) % RING * 2 + env
    acted = state["has_action"][rows[:-1]]
    reached, new = state["observation"][rows[1:][acted], 0], state["first_visit"][rows[:-1][acted]]
    return list(zip(reached.tolist(), new.tolist(), strict=True))


@settings(deadline=None)
@given(before=STEPS, after=STEPS)
def test_a_transition_is_a_first_visit_where_the_stored_part_of_its_episode_has_not_seen_what_it_reached(before, after):
    replay = two_rings()
    replay.begin(np.zeros((2, 1), np.uint8))
    for outcomes in before:
        step(replay, outcomes)
    resumed = two_rings()
    resumed.load_state({name: array.copy() for name, array in replay.state().items()})
    for outcomes in after:
        step(resumed, outcomes)
    for env in range(2):
        kept, told = stored(resumed, env), expected([*before, *after], env)
        assert kept == told[len(told) - len(kept) :]
        assert kept or not told


def test_batches_tell_first_visits_of_what_is_alive_where_they_are_asked_for():
    replay = two_rings()
    replay.begin(np.zeros((2, 1), np.uint8))
    for reached, ending in ((1, "runs"), (1, "runs"), (0, "terminated")):
        step(replay, [(reached, ending)] * 2)
    batch = replay.sample(64, 3, np.random.default_rng(0))
    told = {tuple(row) for row in torch.cat([batch.alive, batch.first_visit], 1).int().tolist()}
    assert told == {(1, 1, 1, 1, 0, 0), (1, 1, 0, 0, 0, 0), (1, 0, 0, 0, 0, 0)}
    assert replay.sample(4, 2, np.random.default_rng(0)).to(torch.device("cpu")).first_visit.dtype == torch.bool


class Corridor(gym.Env):
    """Five cells in a row, of which each is shown; nothing is ever rewarded."""

    observation_space = gym.spaces.Box(0, 1, (5,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.cell, self.age = 0, 0
        return np.eye(5, dtype=np.float32)[0], {}

    def step(self, action):
        self.cell, self.age = int(np.clip(self.cell + 2 * int(action) - 1, 0, 4)), self.age + 1
        return np.eye(5, dtype=np.float32)[self.cell], 0.0, False, self.age == 8, {}


CONFIG = AgentConfig(
    n_envs=2,
    discount=0.9,
    model=ModelConfig(
        latent_dim=16,
        encoder=EncoderConfig(hidden=(32,)),
        dynamics=DynamicsConfig(target="ema"),
        value=ValueConfig(weight=1.0, novelty=0.1),
    ),
    planner=PlannerConfig(horizon=1),
    replay=ReplayConfig(capacity=2_000),
    exploration=ExplorationConfig(kind="random"),
    training=TrainingConfig(starts=50, batch_size=32, transitions=3, updates_per_step=0.5, learning_rate=3e-3),
)


def test_where_nothing_is_rewarded_values_lead_to_what_there_is_to_see():
    agent = JEPAAgent(CONFIG, Corridor, seed=0, device="cpu").learn(1_500)
    with torch.no_grad():
        latent = agent.model.encode(torch.eye(5))
        back, onwards = agent.model.action_values(latent).unbind(1)
    assert (onwards[:4] > back[:4] + 0.02).all()


def test_a_resumed_run_with_first_visits_equals_one_that_never_stopped(tmp_path):
    straight = JEPAAgent(CONFIG, Corridor, seed=1, device="cpu").learn(220)
    JEPAAgent(CONFIG, Corridor, seed=1, device="cpu").learn(110).save(tmp_path / "half")
    resumed = JEPAAgent.load(tmp_path / "half", Corridor, device="cpu").learn(110, reset_num_timesteps=False)
    for name, value in straight.replay.state().items():
        assert np.array_equal(value, resumed.replay.state()[name]), name
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_values_that_count_novelty_refuse_batches_that_do_not_tell_it():
    agent = JEPAAgent(CONFIG, Corridor, seed=0, device="cpu").learn(60)
    silent = dataclasses.replace(agent.replay.sample(4, 2, np.random.default_rng(0)), first_visit=None)
    with pytest.raises(ValueError, match=r"model\.value\.novelty must be 0 for batches that do not tell first visits"):
        agent.learner.update(silent, 1.0)


def test_a_negative_novelty_is_refused():
    with pytest.raises(ValueError, match=r"model\.value\.novelty must be at least 0, got -0\.1"):
        ValueConfig(novelty=-0.1)
