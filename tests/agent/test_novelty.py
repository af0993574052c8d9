"""Seeking what an episode has not seen, and going on exactly after a stop."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch

from jepa_rl.agent import AgentConfig, ExplorationConfig, JEPAAgent, ReplayConfig, TrainingConfig
from jepa_rl.agent.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from jepa_rl.agent.episode_memory import pack_memories
from jepa_rl.agent.novelty import NoveltySeeking, Successes
from jepa_rl.envs.make import make_env
from jepa_rl.planners import PlannerConfig
from jepa_rl.world_model import EncoderConfig, ModelConfig

CONFIG = AgentConfig(
    n_envs=2,
    model=ModelConfig(
        latent_dim=16,
        encoder=EncoderConfig(kind="grid", grid_encoder="perceptron", hidden=(16,)),
    ),
    planner=PlannerConfig(horizon=1, revisit_cost=0.1),
    replay=ReplayConfig(capacity=2_000),
    exploration=ExplorationConfig(kind="novelty", warmup=0, epsilon_start=0.5, epsilon_steps=200),
    training=TrainingConfig(starts=20, batch_size=8, transitions=2, updates_per_step=0.2),
)


def empty_room() -> gym.Env:
    return make_env("MiniGrid-Empty-5x5-v0")


def seeker_of(visits: list[list[float]], successes: Successes | None = None, **changes: object) -> NoveltySeeking:
    """Of as many environments as there are rows of visits to the outcomes of actions."""
    table = np.array(visits)
    config = dataclasses.replace(CONFIG.exploration, **changes)
    explorer = NoveltySeeking(config, *table.shape, successes or Successes())
    explorer.outcome_visits = lambda which: table[which]
    return explorer


def test_the_action_to_whose_outcome_the_episode_has_been_least_is_taken():
    seeker, rng = seeker_of([[3, 1, 2], [0.5, 0.6, 0.0]]), np.random.default_rng(0)
    seeker.begin(rng)
    explores, action = seeker.choose(0, rng)
    assert explores.all()
    assert action.tolist() == [1, 2]


def test_ties_are_drawn():
    seeker, rng = seeker_of([[2, 1, 1]]), np.random.default_rng(0)
    seeker.begin(rng)
    assert {int(seeker.choose(0, rng)[1][0]) for _ in range(30)} == {1, 2}


def test_a_share_of_the_stretches_of_seeking_is_random():
    seeker, rng = seeker_of([[3, 1, 2]] * 2, random_share=0.25, novelty_steps=10), np.random.default_rng(0)
    seeker.begin(rng)
    taken, wandering, changes = [], [], 0
    for _ in range(8_000):
        before = seeker.wandering.copy()
        taken.append(seeker.choose(0, rng)[1])
        wandering.append(before)
        seeker.note(taken[-1], np.zeros(2), np.zeros(2, bool), rng)
        changes += int((seeker.wandering != before).sum())
    at_random = np.array(taken)[np.array(wandering)]
    assert np.mean(wandering) == pytest.approx(0.25, abs=0.03)
    assert changes == pytest.approx(2 * 8_000 / 10 * 2 * 0.25 * 0.75, rel=0.15)  # drawn anew every 10 steps
    assert np.bincount(at_random) / len(at_random) == pytest.approx([1 / 3] * 3, abs=0.03)
    assert (np.array(taken)[~np.array(wandering)] == 1).all()


def test_all_steps_seek_until_a_reward_came():
    agent = JEPAAgent(CONFIG, empty_room, seed=0, device="cpu")
    seeking, rewarded = [], []

    def note(*_: object) -> bool:
        seeking.append(agent.collector.explorer.seeking.copy())
        rewarded.append(agent.successes.any)
        return True

    agent.learn(800, callback=note)
    first = rewarded.index(True)
    assert first < 300
    assert np.array(seeking)[:first].all()
    assert not np.array(seeking)[first + 1 :].all()


def test_the_share_of_seeking_steps_falls_with_the_success_of_episodes():
    seeker, rng = seeker_of([[0.0], [0.0]]), np.random.default_rng(0)
    seeker.begin(rng)

    def after(reward: float, done: bool) -> float:
        seeker.note(np.zeros(2, np.int64), np.full(2, reward), np.full(2, done), rng)
        return seeker.share()

    assert seeker.share() == 1.0
    assert after(1.0, done=False) == CONFIG.exploration.epsilon_start
    # Both episodes were paid before they end.
    assert after(0.0, done=True) == pytest.approx(0.5 * (1 - 0.19))
    for _ in range(100):
        share = after(1.0, done=True)
    assert share == pytest.approx(CONFIG.exploration.epsilon_end)


def test_who_acts_is_decided_anew_every_so_many_steps():
    # Something was paid once, so that the share is epsilon_start, a half.
    seeker = seeker_of([[0.0], [0.0]], Successes(any=True), novelty_steps=10)
    rng, changes, before = np.random.default_rng(0), 0, None
    seeker.begin(rng)
    for _ in range(2_000):
        seeker.note(np.zeros(2, np.int64), np.zeros(2), np.zeros(2, bool), rng)
        changes += 0 if before is None else int((seeker.seeking != before).sum())
        before = seeker.seeking.copy()
    assert changes == pytest.approx(2 * 2_000 / 10 / 2, rel=0.15)


@pytest.mark.parametrize("random_share", [0.0, 0.5])
def test_a_resumed_search_for_novelty_equals_one_that_never_stopped(random_share, tmp_path):
    config = dataclasses.replace(CONFIG, exploration=dataclasses.replace(CONFIG.exploration, random_share=random_share))
    straight = JEPAAgent(config, empty_room, seed=3, device="cpu").learn(240)
    stopped = JEPAAgent(config, empty_room, seed=3, device="cpu").learn(120)
    stopped.save(tmp_path / "half")
    resumed = JEPAAgent.load(tmp_path / "half", empty_room, device="cpu").learn(120, reset_num_timesteps=False)
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    for name, value in straight.collector.explorer.state().items():
        assert np.array_equal(value, resumed.collector.explorer.state()[name]), name
    assert straight.familiarity.error == resumed.familiarity.error
    assert straight.successes == resumed.successes
    for name, value in pack_memories(straight.collector.memories).items():
        assert np.array_equal(value, pack_memories(resumed.collector.memories)[name]), name


@pytest.mark.filterwarnings("ignore:.*replay")
def test_an_agent_that_begins_with_an_empty_replay_still_knows_that_it_was_paid(tmp_path):
    agent = JEPAAgent(CONFIG, empty_room, seed=0, device="cpu").learn(800)
    assert agent.successes.any
    agent.save(tmp_path / "small", exclude={"replay"})
    again = JEPAAgent.load(tmp_path / "small", empty_room, device="cpu")
    assert again.successes == agent.successes
    assert again.collector.explorer.share() == agent.collector.explorer.share() < 1
    later = JEPAAgent.load(tmp_path / "small", device="cpu")
    later.set_env(empty_room)
    assert later.collector.explorer.share() == agent.collector.explorer.share()


def test_what_older_files_keep_with_the_replay_is_still_read(tmp_path):
    agent = JEPAAgent(CONFIG, empty_room, seed=0, device="cpu").learn(40)
    agent.save(tmp_path / "older")
    kept = read_checkpoint(tmp_path / "older.zip")
    state = {name: value for name, value in kept.state.items() if name != "exploration"}
    arrays = kept.arrays | {"exploration/rewarded": np.array(True), "exploration/success": np.array(0.3)}
    write_checkpoint(tmp_path / "older.zip", Checkpoint(state=state, tensors=kept.tensors, arrays=arrays))
    assert JEPAAgent.load(tmp_path / "older", empty_room, device="cpu").successes == Successes(any=True, share=0.3)


def test_novelty_needs_discrete_actions():
    with pytest.raises(ValueError, match=r"exploration.kind novelty .* needs a Discrete action space, got Box"):
        JEPAAgent(AgentConfig(exploration=ExplorationConfig(kind="novelty")), "Pendulum-v1", seed=0)


def test_unpaid_episodes_bring_seeking_back_and_the_end_of_an_episode_decides_anew():
    rng, successes = np.random.default_rng(0), Successes()
    seeker = seeker_of([[0.0] * 3], successes, novelty_steps=10**9)
    seeker.begin(rng)

    def note(reward, done):
        seeker.note(np.zeros(1, np.int64), np.array([reward]), np.array([done]), rng)
        return bool(seeker.seeking[0])

    note(1.0, True)
    assert successes.share == pytest.approx(0.1)
    note(0.0, True)
    assert successes.share == pytest.approx(0.09)
    assert len({note(0.0, False) for _ in range(50)}) == 1
    assert 0.3 < np.mean([note(0.0, True) for _ in range(200)]) < 0.7
