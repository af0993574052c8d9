"""Counting what was tried, seeking what was not, and going on exactly after a stop."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch

from jepa_rl.agent import AgentConfig, ExplorationConfig, JEPAAgent, ReplayConfig, TrainingConfig
from jepa_rl.agent.novelty import NoveltySeeking, NoveltyTable
from jepa_rl.agent.spaces import ActionAdapter
from jepa_rl.envs.make import make_env
from jepa_rl.planners import PlannerConfig
from jepa_rl.world_model import Batch, EncoderConfig, ModelConfig

CONFIG = AgentConfig(
    n_envs=2,
    model=ModelConfig(
        latent_dim=16,
        encoder=EncoderConfig(kind="grid", grid_encoder="perceptron", hidden=(16,)),
    ),
    planner=PlannerConfig(horizon=1),
    replay=ReplayConfig(capacity=2_000),
    exploration=ExplorationConfig(kind="novelty", warmup=0, epsilon_start=0.5, epsilon_steps=200),
    training=TrainingConfig(starts=20, batch_size=8, transitions=2, updates_per_step=0.2),
)


def empty_room() -> gym.Env:
    return make_env("MiniGrid-Empty-5x5-v0")


def views(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint8)[:, None, None] * np.ones((3, 3), np.uint8)


def window(*numbers: int, actions: list[int], terminated: bool = False, alive: int | None = None) -> Batch:
    """One window of the given views; the last transition may terminate, those from ``alive`` on are not alive."""
    steps = len(actions)
    ends = torch.zeros(1, steps, dtype=torch.bool)
    ends[0, -1] = terminated
    return Batch(
        observation=torch.from_numpy(views(*numbers))[None],
        action=torch.tensor([actions]),
        reward=torch.zeros(1, steps),
        terminated=ends,
        alive=torch.arange(steps)[None] < (steps if alive is None else alive),
        label=torch.zeros(1, steps + 1),
        labelled=torch.zeros(1, steps + 1, dtype=torch.bool),
        outcome=torch.full((1, steps), -torch.inf),
    )


def test_counts_are_per_observation_and_action():
    table = NoveltyTable(3, 0.9)
    table.add(views(1, 2, 1), np.array([0, 2, 0]))
    assert table.count(views(1, 2, 9)).tolist() == [[2, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert len(table) == 2


def test_the_table_grows_beyond_its_first_room():
    table = NoveltyTable(2, 0.9)
    many = np.arange(3_000, dtype=np.int64)[:, None]
    table.add(many, many[:, 0] % 2)
    assert len(table) == 3_000
    assert table.count(many[-2:]).tolist() == [[1, 0], [0, 1]]
    assert table.value(many[-2:]).tolist() == [[1, 1], [1, 1]]


def test_a_backup_mixes_in_the_bonus_and_the_best_that_follows():
    table = NoveltyTable(2, 0.5)
    table.add(views(1, 1, 1, 1), np.zeros(4, np.int64))
    # Nothing was ever tried at view 2, so it is worth 1: target 0.5 / sqrt(4) + 0.5; half of the way from 1 to there.
    table.learn(window(1, 2, actions=[0]))
    assert table.value(views(1)).tolist() == [[0.875, 1.0]]


def test_nothing_follows_a_termination_and_nothing_after_the_end_is_learned():
    table = NoveltyTable(1, 0.5)
    table.add(views(1, 2), np.zeros(2, np.int64))
    table.learn(window(1, 2, actions=[0], terminated=True))
    assert table.value(views(1)).tolist() == [[0.75]]  # target 0.5 / sqrt(1)
    table.learn(window(1, 2, 2, actions=[0, 0], alive=1))
    assert table.value(views(2)).tolist() == [[1.0]]


def test_a_termination_that_pays_is_as_good_as_something_new():
    table = NoveltyTable(1, 0.5)
    table.add(views(1), np.zeros(1, np.int64))
    paid = dataclasses.replace(window(1, 2, actions=[0], terminated=True), reward=torch.ones(1, 1))
    table.learn(paid)
    assert table.value(views(1)).tolist() == [[1.0]]  # target 0.5 + 0.5


def test_a_window_is_backed_up_from_its_end():
    table = NoveltyTable(1, 0.5)
    table.add(views(*[1] * 4, *[2] * 4), np.zeros(8, np.int64))
    table.learn(window(1, 2, 3, actions=[0, 0], terminated=True))
    last = 1 + 0.5 * (0.5 * 0.5 - 1)
    assert table.value(views(2)).tolist() == [[last]]
    assert table.value(views(1)).tolist() == [[1 + 0.5 * (0.25 + 0.5 * last - 1)]]


def test_the_table_goes_on_after_a_stop():
    table, restored = NoveltyTable(2, 0.9), NoveltyTable(2, 0.9)
    table.add(views(1, 2), np.array([0, 1]))
    table.learn(window(1, 2, actions=[0]))
    restored.load_state(table.state())
    for each in (table, restored):
        each.add(views(2, 3), np.array([1, 0]))
        each.learn(window(2, 3, actions=[1]))
    assert restored.count(views(1, 2, 3)).tolist() == table.count(views(1, 2, 3)).tolist() == [[1, 0], [0, 2], [1, 0]]
    assert restored.value(views(1, 2, 3)).tolist() == table.value(views(1, 2, 3)).tolist()
    with pytest.raises(ValueError, match="count must have shape"):
        restored.load_state(table.state() | {"count": np.zeros((3, 5), np.int32)})


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_optimism_leads_along_a_corridor_to_the_end_that_was_never_seen(seed):
    length, right = 12, 1
    table, place, path = NoveltyTable(2, 0.95), 0, []
    rng = np.random.default_rng(seed)
    for _ in range(75):  # a random walk needs 12 * 13 = 156 steps in the mean; values that begin at 0 never arrive
        action = int((table.value(views(place)) + 1e-6 * rng.random((1, 2))).argmax())
        following = min(place + 1, length) if action == right else max(place - 1, 0)
        table.add(views(place), np.array([action]))
        path.append((place, action, following))
        for index in rng.integers(len(path), size=20):
            here, taken, then = path[index]
            table.learn(window(here, then, actions=[taken]))
        place = following
        if place == length:
            break
    assert place == length


def test_episodes_seek_novelty_until_a_reward_came():
    agent = JEPAAgent(CONFIG, empty_room, seed=0, device="cpu")
    seeking, rewarded = [], []

    def note(*_: object) -> bool:
        seeking.append(agent.collector.explorer.seeking.copy())
        rewarded.append(agent.collector.explorer.rewarded)
        return True

    agent.learn(800, callback=note)
    first = rewarded.index(True)
    assert first < 300
    assert np.array(seeking)[:first].all()
    assert not np.array(seeking)[first + 1 :].all()


def test_the_share_of_seeking_episodes_falls_with_the_success_of_the_planner():
    seeker = NoveltySeeking(CONFIG.exploration, ActionAdapter(gym.spaces.Discrete(3)), 2)

    def after(reward: list[float], done: bool) -> float:
        seeker.seeking = np.array([True, False])
        action = np.zeros(2, np.int64)
        seeker.note(views(1, 2), action, action, np.array(reward), np.full(2, done), np.random.default_rng(0))
        return seeker.share()

    assert seeker.share() == 1.0
    assert after([1.0, 0.0], done=False) == CONFIG.exploration.epsilon_start
    # The seeking episode was paid, the planner's was not.
    assert after([0.0, 0.0], done=True) == CONFIG.exploration.epsilon_start
    for _ in range(2):
        after([0.0, 1.0], done=False)
        share = after([0.0, 0.0], done=True)
    assert share == pytest.approx(0.5 * (1 - 0.19))
    for _ in range(100):
        share = after([0.0, 1.0], done=True)
    assert share == pytest.approx(CONFIG.exploration.epsilon_end)


def test_a_resumed_search_for_novelty_equals_one_that_never_stopped(tmp_path):
    straight = JEPAAgent(CONFIG, empty_room, seed=3, device="cpu").learn(240)
    stopped = JEPAAgent(CONFIG, empty_room, seed=3, device="cpu").learn(120)
    stopped.save(tmp_path / "half")
    resumed = JEPAAgent.load(tmp_path / "half", empty_room, device="cpu").learn(120, reset_num_timesteps=False)
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    for name, value in straight.collector.explorer.state().items():
        assert np.array_equal(value, resumed.collector.explorer.state()[name]), name


def test_novelty_needs_discrete_actions():
    with pytest.raises(ValueError, match="it needs a Discrete action space, got Box"):
        JEPAAgent(AgentConfig(exploration=ExplorationConfig(kind="novelty")), "Pendulum-v1", seed=0)
