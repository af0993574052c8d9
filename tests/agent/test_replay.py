"""SequenceReplay against a reference that keeps whole episodes; every observation is [environment, episode, step]."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from jepa_rl.agent.offline import store_episode
from jepa_rl.agent.replay import SequenceReplay
from jepa_rl.agent.task_targets import TaskTargets
from jepa_rl.world_model.batch import Batch

RUNS, TERMINATED, TRUNCATED = "runs", "terminated", "truncated"
BEGIN = "begin"


@dataclass
class Episode:
    observation: list[tuple[int, int, int]]
    label: list[float | None] = field(default_factory=lambda: [None])
    action: list[tuple[float, float]] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)
    terminated: list[bool] = field(default_factory=list)

    def outcome(self, t: int) -> float:
        """Return the undiscounted return from transition t to the termination, if there was one."""
        return sum(self.reward[t:]) if any(self.terminated) else -np.inf


class Twin:
    """A replay and the plain lists of what it was given, driven by the same outcomes.

    With ``partial`` the reward task, and one that is told the observation itself, know about half of the observations.
    """

    def __init__(self, n_envs: int, ring: int, prioritised_fraction: float = 0.0, partial: bool = False) -> None:
        self.replay = make_replay(n_envs, ring, prioritised_fraction, partial)
        self.n_envs, self.ring, self.partial = n_envs, ring, partial
        self.episodes: list[list[Episode]] = [[] for _ in range(n_envs)]
        self.begin()

    def begin(self) -> None:
        for env, episodes in enumerate(self.episodes):
            if episodes and not episodes[-1].action:
                episodes.pop()
            episodes.append(Episode([(env, len(episodes), 0)]))
        first = [episodes[-1].observation[0] for episodes in self.episodes]
        self.replay.begin(np.array(first, np.int32), self.targets(first))

    def shown(self, observation: tuple[int, int, int]) -> tuple[bool, bool]:
        """Whether the reward task and the other one know an observation."""
        env, number, t = observation
        return (not self.partial or (env + number + t) % 2 == 0, not self.partial or (number + t) % 3 != 1)

    def targets(self, observations: list[tuple[int, int, int]]) -> TaskTargets | None:
        if not self.partial:
            return None
        shown = [self.shown(observation) for observation in observations]
        told = [observation if known else (0, 0, 0) for observation, (_, known) in zip(observations, shown, strict=True)]
        return TaskTargets(targets=np.array(told, np.float32), shown=np.array(shown))

    def step(self, outcomes: tuple[tuple[str, float, float | None], ...]) -> None:
        """Step every environment with (how the episode goes on, reward, label of the observation before the action)."""
        step: dict[str, list[Any]] = {name: [] for name in STEP}
        for env, (ending, reward, label) in enumerate(outcomes[: self.n_envs]):
            number, episode = len(self.episodes[env]) - 1, self.episodes[env][-1]
            t = len(episode.action)
            episode.action.append((env + 0.5, number + 100.0 * t))
            episode.reward.append(reward)
            episode.terminated.append(ending == TERMINATED)
            episode.observation.append((env, number, t + 1))
            if label is not None and self.shown((env, number, t))[0]:
                episode.label[t] = label
            episode.label.append(reward if self.shown((env, number, t + 1))[0] else None)
            step["action"].append(episode.action[t])
            step["reward"].append(reward)
            step["terminated"].append(ending == TERMINATED)
            step["truncated"].append(ending == TRUNCATED)
            step["next_observation"].append((env, number, t + 1))
            step["reset_observation"].append((env, number + 1, 0) if ending != RUNS else (-1, -1, -1))
            step["label"].append(np.nan if label is None else label)
            if ending != RUNS:
                self.episodes[env].append(Episode([(env, number + 1, 0)]))
        targets = {f"{name}_targets": self.targets(step[f"{name}_observation"]) for name in ("next", "reset")}
        self.replay.add(**{name: np.array(values, STEP[name]) for name, values in step.items()}, **targets)

    def drive(self, events: list[Any]) -> None:
        for event in events:
            self.begin() if event == BEGIN else self.step(event)

    def starts(self) -> set[tuple[int, int, int]]:
        """Return the observations that were acted upon and are among each ring's last rows."""
        found = set()
        for episodes in self.episodes:
            rows = [(o, t < len(e.action)) for e in episodes for t, o in enumerate(e.observation)]
            found |= {observation for observation, acted in rows[-self.ring :] if acted}
        return found

    def window(self, start: tuple[int, int, int], transitions: int) -> dict[str, Any]:
        env, number, first = start
        episode = self.episodes[env][number]
        last = len(episode.action)
        seen = [min(first + t, last) for t in range(transitions + 1)]
        alive = [first + t < last for t in range(transitions)]
        return {
            "observation": [list(episode.observation[t]) for t in seen],
            "action": [list(episode.action[t]) if a else [0, 0] for t, a in zip(seen, alive, strict=False)],
            "reward": [episode.reward[t] if a else 0 for t, a in zip(seen, alive, strict=False)],
            "terminated": [episode.terminated[t] if a else False for t, a in zip(seen, alive, strict=False)],
            "alive": alive,
            "label": [episode.label[t] or 0 for t in seen],
            "labelled": [episode.label[t] is not None for t in seen],
            "outcome": [episode.outcome(t) if a else 0 for t, a in zip(seen, alive, strict=False)],
        } | (self.told([episode.observation[t] for t in seen]) if self.partial else {})

    def told(self, observations: list[tuple[int, int, int]]) -> dict[str, Any]:
        """Return what a window of these observations holds of the two tasks."""
        targets = self.targets(observations)
        assert targets is not None
        return {
            "targets/place": targets.targets[:, :2].tolist(),
            "targets/time": targets.targets[:, 2:].tolist(),
            "shown/reward": targets.shown[:, 0].tolist(),
            "shown/place": targets.shown[:, 1].tolist(),
        }

    def rewarded(self) -> set[tuple[int, int, int]]:
        """Return the starts of the transitions that paid a reward which the reward task knows."""
        return {
            start
            for start in self.starts()
            for episode in [self.episodes[start[0]][start[1]]]
            if episode.reward[start[2]] and self.shown(episode.observation[start[2] + 1])[0]
        }


STEP = {
    "action": np.float32,
    "reward": np.float64,
    "terminated": np.bool_,
    "truncated": np.bool_,
    "next_observation": np.int32,
    "reset_observation": np.int32,
    "label": np.float64,
}
outcome = st.tuples(
    st.sampled_from((RUNS, RUNS, TERMINATED, TRUNCATED)),
    st.sampled_from((0.0, 0.0, 1.0, -0.5)),
    st.sampled_from((None, None, 0.25)),
)
events = st.lists(st.one_of(st.tuples(outcome, outcome, outcome), st.just(BEGIN)), max_size=40)


def make_replay(n_envs: int, ring: int, prioritised_fraction: float = 0.0, partial: bool = False) -> SequenceReplay:
    return SequenceReplay(
        capacity=n_envs * ring + (n_envs - 1),  # what does not divide is left unused
        n_envs=n_envs,
        observation_shape=(3,),
        observation_dtype=np.int32,
        action_shape=(2,),
        action_dtype=np.float32,
        prioritised_fraction=prioritised_fraction,
        target_sizes={"place": 2, "time": 1} if partial else None,
        partial=("reward", "place") if partial else (),
    )


def run_of(twin: Twin, *rewards: float, ending: str = RUNS) -> None:
    """Step all environments once per reward; the last step has the given ending."""
    for index, reward in enumerate(rewards):
        last = index == len(rewards) - 1
        twin.step(((ending if last else RUNS, reward, None),) * twin.n_envs)


def test_signs_of_rewards_are_kept_where_asked_and_outcomes_are_discounted():
    options = {"observation_shape": (1,), "observation_dtype": np.int64, "action_shape": (), "action_dtype": np.int64}
    replay = SequenceReplay(capacity=10, n_envs=1, rewards="sign", discount=0.5, **options)
    replay.begin(np.array([[0]]))
    for step, reward in enumerate([-3.0, 0.0, 0.25]):
        replay.add(
            action=np.array([0]),
            reward=np.array([reward]),
            label=np.array([np.nan if step else 0.5]),
            terminated=np.array([step == 2]),
            truncated=np.array([False]),
            next_observation=np.array([[step + 1]]),
            reset_observation=np.array([[9]]),
        )
    batch = replay.sample(100, 3, np.random.default_rng(0))
    whole = int((batch.observation[:, 0, 0] == 0).nonzero()[0])
    assert batch.reward[whole].tolist() == batch.label[whole, 1:].tolist() == [-1, 0, 1]
    assert batch.label[whole, 0] == 1
    assert batch.outcome[whole].tolist() == [-1 + 0.25, 0.5, 1]


def starts_of(batch: Batch) -> list[tuple[int, ...]]:
    return [tuple(start) for start in batch.observation[:, 0].tolist()]


def require_equal(left: Batch, right: Batch) -> None:
    one, two = tensors_of(left), tensors_of(right)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name


def tensors_of(batch: Batch) -> dict[str, torch.Tensor]:
    nested = {name: getattr(batch, name) for name in Batch.__slots__}
    flat = {name: value for name, value in nested.items() if isinstance(value, torch.Tensor)}
    return flat | {f"{name}/{task}": batch for name in ("targets", "shown") for task, batch in nested[name].items()}


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    n_envs=st.integers(1, 3),
    ring=st.integers(3, 9),
    transitions=st.integers(1, 12),
    fraction=st.sampled_from((0.0, 0.6)),
    partial=st.booleans(),
    events=events,
)
def test_every_window_is_a_true_piece_of_one_episode_after_any_number_of_wraps(
    n_envs, ring, transitions, fraction, partial, events
):
    twin = Twin(n_envs, ring, fraction, partial)
    twin.drive(events)
    starts = twin.starts()
    assert len(twin.replay) == len(starts)
    if not starts:
        return
    batch = twin.replay.sample(60, transitions, np.random.default_rng(1))
    for index, start in enumerate(starts_of(batch)):
        assert start in starts
        expected = twin.window(start, transitions)
        assert {name: tensor[index].tolist() for name, tensor in tensors_of(batch).items()} == expected


@settings(max_examples=60, deadline=None, derandomize=True)
@given(n_envs=st.integers(1, 2), ring=st.integers(3, 9), partial=st.booleans(), events=events)
def test_prioritised_windows_of_one_transition_are_those_whose_reward_is_known(n_envs, ring, partial, events):
    twin = Twin(n_envs, ring, 1.0, partial)
    twin.drive(events)
    rewarded = twin.rewarded()
    if rewarded:
        assert set(starts_of(twin.replay.sample(40 * len(rewarded), 1, np.random.default_rng(3)))) == rewarded


def test_targets_that_tasks_need_must_be_given():
    twin, first = Twin(1, 4, partial=True), np.zeros((1, 3), np.int32)
    with pytest.raises(ValueError, match="targets must be given for place, time, reward, got None"):
        twin.replay.begin(first)
    with pytest.raises(FloatingPointError, match=r"targets\.targets of environment 0 is not finite"):
        twin.replay.begin(first, TaskTargets(targets=np.full((1, 3), np.nan, np.float32), shown=np.ones((1, 2), bool)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(ring=st.integers(3, 9), partial=st.booleans(), before=events, after=events)
def test_a_loaded_replay_samples_and_goes_on_like_the_saved_one(ring, partial, before, after):
    saved, loaded = (Twin(2, ring, prioritised_fraction=0.5, partial=partial) for _ in range(2))
    saved.drive(before)
    loaded.replay.load_state({name: array.copy() for name, array in saved.replay.state().items()})
    loaded.episodes = deepcopy(saved.episodes)
    for more in ([], after):
        saved.drive(more)
        loaded.drive(more)
        assert len(saved.replay) == len(loaded.replay)
        if len(saved.replay):
            require_equal(*(twin.replay.sample(30, 3, np.random.default_rng(2)) for twin in (saved, loaded)))


def test_the_window_ends_on_the_true_final_observation_and_never_on_the_reset_one():
    twin = Twin(1, 8)
    run_of(twin, 0.0, 1.0, ending=TERMINATED)
    run_of(twin, 0.0)
    batch = twin.replay.sample(100, 3, np.random.default_rng(0))
    index = starts_of(batch).index((0, 0, 1))
    assert batch.observation[index].tolist() == [[0, 0, 1], [0, 0, 2], [0, 0, 2], [0, 0, 2]]
    assert batch.action[index].tolist() == [[0.5, 100.0], [0, 0], [0, 0]]
    assert batch.reward[index].tolist() == [1.0, 0.0, 0.0]
    assert batch.terminated[index].tolist() == [True, False, False]
    assert batch.alive[index].tolist() == [True, False, False]


def test_a_time_limit_ends_the_window_without_a_termination():
    twin = Twin(1, 8)
    run_of(twin, 0.5, ending=TRUNCATED)
    batch = twin.replay.sample(1, 2, np.random.default_rng(0))
    assert batch.alive.tolist() == [[True, False]]
    assert batch.terminated.tolist() == [[False, False]]


def test_labels_belong_to_observations_and_the_environment_has_the_last_word():
    twin = Twin(1, 8)
    twin.step(((RUNS, 1.0, None),))  # the first observation stays without a label
    twin.step(((TERMINATED, 2.0, -7.0),))  # the second was labelled 1.0 by arriving there; now -7.0
    batch = twin.replay.sample(50, 2, np.random.default_rng(0))
    index = starts_of(batch).index((0, 0, 0))
    assert batch.label[index].tolist() == [0.0, -7.0, 2.0]
    assert batch.labelled[index].tolist() == [False, True, True]


def test_an_episode_of_three_steps_takes_four_rows():
    twin = Twin(1, 100)
    run_of(twin, 0.0, 0.0, 0.0, ending=TERMINATED)
    rows = twin.replay.state()["observation"].tolist()
    assert rows == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, 3], [0, 1, 0]]


def test_a_second_begin_without_a_step_takes_no_row():
    twin = Twin(2, 100)
    for _ in range(3):
        twin.begin()
    assert len(twin.replay.state()["observation"]) == 2
    run_of(twin, 0.0)
    twin.begin()
    assert len(twin.replay.state()["observation"]) == 6


def test_uniform_windows_start_at_every_transition_equally_often():
    twin = Twin(3, 20)
    for index in range(35):  # wraps; the environments' rings hold different numbers of transitions
        twin.step(tuple((TERMINATED if index % every == 0 else RUNS, 0.0, None) for every in (2, 3, 11)))
    starts = sorted(twin.starts())
    assert len({sum(start[0] == env for start in starts) for env in range(3)}) == 3
    drawn = starts_of(twin.replay.sample(20_000, 2, np.random.default_rng(0)))
    assert stats.chisquare([drawn.count(start) for start in starts]).pvalue > 0.01


def test_a_prioritised_window_starts_uniformly_among_those_that_reach_the_reward():
    twin = Twin(1, 30, prioritised_fraction=1.0)
    run_of(twin, 1.0, 0.0, 0.0, 0.0, 0.0, 2.0, ending=TERMINATED)
    run_of(twin, 0.0, -3.0, 0.0, 0.0, ending=TRUNCATED)
    run_of(twin, 0.0, 0.0)
    drawn = starts_of(twin.replay.sample(18_000, 3, np.random.default_rng(0)))
    expected = {(0, 0, 0): 6000, (0, 0, 3): 2000, (0, 0, 4): 2000, (0, 0, 5): 2000, (0, 1, 0): 3000, (0, 1, 1): 3000}
    assert set(drawn) == set(expected)
    assert stats.chisquare([drawn.count(start) for start in expected], list(expected.values())).pvalue > 0.01


@pytest.mark.parametrize(("batch_size", "fraction", "share"), [(40, 0.25, 10), (1, 0.3, 0.3), (4, 1.0, 4), (8, 0.0, 0)])
def test_the_prioritised_share_of_a_batch_is_kept(batch_size, fraction, share):
    twin = Twin(1, 10_000, prioritised_fraction=fraction)
    run_of(twin, *[0.0] * 800, 1.0, *[0.0] * 800)
    rng = np.random.default_rng(0)
    found = [int(twin.replay.sample(batch_size, 2, rng).reward.any(dim=1).sum()) for _ in range(400)]
    assert min(found) >= int(share)
    assert np.mean(found) == pytest.approx(share, abs=0.07)


def test_prioritised_sampling_is_uniform_while_nothing_is_rewarded_and_after_the_reward_is_overwritten():
    twin = Twin(1, 6, prioritised_fraction=1.0)
    for rewards in ([0.0] * 3, [1.0] + [0.0] * 8):
        run_of(twin, *rewards)
        assert set(starts_of(twin.replay.sample(200, 2, np.random.default_rng(0)))) == twin.starts()


def test_the_outcome_is_the_discounted_return_to_the_termination_and_unknown_without_one():
    sizes = {"capacity": 60, "n_envs": 2, "discount": 0.5, "observation_shape": (), "action_shape": ()}
    replay = SequenceReplay(observation_dtype=np.int64, action_dtype=np.int64, **sizes)
    replay.begin([0, 100])
    # Environment 0 terminates with 1 after three steps, then with -1 after two; environment 1 meets its time limit.
    rewards = [[0, 0], [2, 0], [1, 4], [0, 0], [-1, 0], [0, 0]]
    for step, reward in enumerate(rewards):
        first = step in (2, 4)
        replay.add(
            action=[0, 0],
            reward=np.array(reward, float),
            terminated=[first, False],
            truncated=[False, step == 3],
            next_observation=[step + 1, step + 101],
            reset_observation=[10 * step, 10 * step],
        )
    outcome = {}
    restored = SequenceReplay(observation_dtype=np.int64, action_dtype=np.int64, **sizes)
    restored.load_state(replay.state())
    for memory in (replay, restored):
        batch = memory.sample(400, 2, np.random.default_rng(0))
        for observation, alive, value in zip(batch.observation, batch.alive, batch.outcome, strict=True):
            for t in np.flatnonzero(alive):
                outcome[observation[t].item()] = value[t].item()
        assert {place: outcome[place] for place in (0, 1, 2, 20, 4)} == {0: 1.25, 1: 2.5, 2: 1.0, 20: -0.5, 4: -1.0}
        assert {outcome[place] for place in (40, 100, 101, 102, 103, 30)} == {-np.inf}


def test_observations_and_discrete_actions_keep_their_dtype_and_shape():
    replay = SequenceReplay(
        capacity=12,
        n_envs=2,
        observation_shape=(4, 4, 3),
        observation_dtype=np.uint8,
        action_shape=(),
        action_dtype=np.int64,
    )
    replay.begin(np.full((2, 4, 4, 3), 255, np.uint8))
    replay.add(
        action=[3, 4],
        reward=[1, 2],
        terminated=[False, False],
        truncated=[False, False],
        next_observation=np.full((2, 4, 4, 3), 254, np.uint8),
        reset_observation=np.zeros((2, 4, 4, 3), np.uint8),
    )
    batch = replay.sample(5, 2, np.random.default_rng(0))
    assert batch.observation.shape == (5, 3, 4, 4, 3)
    assert batch.observation.dtype == torch.uint8
    assert batch.observation[:, :, 0, 0, 0].tolist() == [[255, 254, 254]] * 5
    assert (batch.action.dtype, batch.reward.dtype, batch.label.dtype) == (torch.int64, torch.float32, torch.float32)
    assert batch.action[:, 0].sub(2).tolist() == batch.reward[:, 0].tolist()
    assert replay.state()["observation"].dtype == np.uint8


BAD_STEPS = [
    ("next_observation", [[0.0], [np.nan]], FloatingPointError, "next_observation of environment 1"),
    ("next_observation", [[1e300], [0.0]], FloatingPointError, "next_observation of environment 0"),
    ("reset_observation", [[0.0], [np.inf]], FloatingPointError, "reset_observation of environment 1"),
    ("reward", [-np.inf, 0.0], FloatingPointError, "reward of environment 0"),
    ("label", [np.nan, np.inf], FloatingPointError, "label of environment 1"),
    ("action", [np.nan, 0.0], FloatingPointError, "action of environment 0"),
    ("reward", [[0.0, 0.0]], ValueError, r"reward must have shape \(2,\), got \(1, 2\)"),
    ("label", [0.0], ValueError, "label must have shape"),
    ("next_observation", [0.0, 0.0], ValueError, "next_observation must have shape"),
    ("terminated", [0.0, 1.0], TypeError, "terminated must be bool, got float64"),
    ("truncated", [0, 1], TypeError, "truncated must be bool, got int64"),
    ("action", [1j, 0j], TypeError, "action must be float32, got complex128"),
]


@pytest.mark.parametrize(("name", "value", "error", "message"), BAD_STEPS)
def test_a_step_that_is_refused_leaves_the_replay_untouched(name, value, error, message):
    replay = SequenceReplay(
        capacity=8,
        n_envs=2,
        observation_shape=(1,),
        observation_dtype=np.float32,
        action_shape=(),
        action_dtype=np.float32,
        prioritised_fraction=0.5,
    )
    step = {
        "action": [0.1, 0.2],
        "reward": [1.0, 0.0],
        "terminated": [False, True],
        "truncated": [False, False],
        "next_observation": [[1.0], [2.0]],
        "reset_observation": [[np.nan], [3.0]],  # environment 0 goes on: its reset observation is not looked at
        "label": [0.5, np.nan],
    }
    replay.begin([[0.0], [0.0]])
    for _ in range(3):
        replay.add(**step)
    before = {name: array.copy() for name, array in replay.state().items()}
    length, sampled = len(replay), replay.sample(20, 3, np.random.default_rng(0))
    with pytest.raises(error, match=message):
        replay.add(**step | {name: value})
    after = replay.state()
    assert len(replay) == length
    assert all(np.array_equal(before[name], after[name], equal_nan=True) for name in before)
    require_equal(sampled, replay.sample(20, 3, np.random.default_rng(0)))


def test_integers_that_the_storage_cannot_hold_are_refused():
    replay = make_replay(n_envs=2, ring=3)
    with pytest.raises(TypeError, match="observations must be int32, got int64"):
        replay.begin(np.zeros((2, 3), np.int64))
    assert replay.state()["written"].tolist() == [0, 0]


def test_a_reset_observation_that_is_not_finite_is_refused():
    replay = SequenceReplay(
        capacity=6,
        n_envs=2,
        observation_shape=(1,),
        observation_dtype=np.float64,
        action_shape=(),
        action_dtype=np.int64,
    )
    with pytest.raises(FloatingPointError, match="observations of environment 1"):
        replay.begin([[0.0], [np.nan]])


def test_nothing_can_be_sampled_from_an_empty_replay_nor_added_before_begin():
    replay = make_replay(n_envs=1, ring=3)
    with pytest.raises(RuntimeError, match="begin"):
        replay.add(
            action=[[0.0, 0.0]],
            reward=[0.0],
            terminated=[False],
            truncated=[False],
            next_observation=[[0, 0, 0]],
            reset_observation=[[0, 0, 0]],
        )
    replay.begin(np.zeros((1, 3), np.int32))
    with pytest.raises(ValueError, match="without transitions"):
        replay.sample(1, 1, np.random.default_rng(0))


@pytest.mark.parametrize(("batch_size", "transitions"), [(0, 1), (1, 0)])
def test_an_empty_batch_is_refused(batch_size, transitions):
    twin = Twin(1, 3)
    run_of(twin, 0.0)
    with pytest.raises(ValueError, match="must be at least 1"):
        twin.replay.sample(batch_size, transitions, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"n_envs": 0}, "n_envs"), ({"capacity": 5}, "capacity"), ({"prioritised_fraction": 1.5}, "prioritised_fraction")],
)
def test_a_replay_that_cannot_work_is_refused(changed, message):
    sizes = {"capacity": 6, "n_envs": 2, "prioritised_fraction": 0.5} | changed
    with pytest.raises(ValueError, match=message):
        SequenceReplay(observation_shape=(), observation_dtype=np.int64, action_shape=(), action_dtype=np.int64, **sizes)


def test_a_state_moves_to_another_capacity_until_the_rings_have_wrapped():
    twin, larger = Twin(2, 6), make_replay(n_envs=2, ring=9)
    run_of(twin, 0.0, 1.0, 2.0)
    larger.load_state(twin.replay.state())
    require_equal(*(replay.sample(9, 2, np.random.default_rng(0)) for replay in (twin.replay, larger)))
    run_of(twin, 3.0, 4.0, 5.0)
    with pytest.raises(ValueError, match="observation must be"):
        larger.load_state(twin.replay.state())


def test_the_state_cannot_be_written_through():
    twin = Twin(1, 5)
    run_of(twin, 1.0)
    with pytest.raises(ValueError, match="read-only"):
        twin.replay.state()["reward"][0] = 5.0


BAD_STATES = [
    ({"reward": None}, "reward must be"),
    ({"extra": np.zeros(1)}, "must hold"),
    ({"reward": np.zeros(8, np.float64)}, "reward must be float32"),
    ({"observation": np.zeros((8, 2), np.int32)}, "observation must be"),
    ({"written": np.array([4, 9])}, "observation must be"),
    ({"written": np.array([4, 0])}, "written must be"),
    ({"written": np.array([4, -4])}, "written must be"),
    ({"written": np.array([4, 3])}, "has_action"),
    ({"has_action": np.ones(8, np.bool_)}, "has_action"),
]


@pytest.mark.parametrize(("changed", "message"), BAD_STATES)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(changed, message):
    twin = Twin(2, 6)
    run_of(twin, 0.0, 1.0, 2.0)
    state = {name: array.copy() for name, array in twin.replay.state().items()}
    sampled = twin.replay.sample(9, 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        twin.replay.load_state(state | changed)
    require_equal(sampled, twin.replay.sample(9, 2, np.random.default_rng(0)))


def test_a_state_with_transitions_in_rows_never_written_is_refused():
    twin = Twin(2, 6)
    twin.step(((TERMINATED, 0.0, None), (RUNS, 0.0, None)))  # environment 0 has written a third row, environment 1 has not
    state = twin.replay.state()
    has_action = state["has_action"].copy()
    has_action[2 * 2 + 1] = True
    with pytest.raises(ValueError, match="unwritten"):
        make_replay(n_envs=2, ring=6).load_state(state | {"has_action": has_action})


def test_a_state_with_a_missing_array_is_refused():
    state = dict(Twin(2, 6).replay.state())
    del state["label"]
    with pytest.raises(ValueError, match="must hold"):
        make_replay(n_envs=2, ring=6).load_state(state)


def test_a_whole_episode_is_stored_as_its_steps_are():
    rng = np.random.default_rng(0)
    whole, stepped = (make_replay(n_envs=1, ring=40) for _ in range(2))
    for length, terminated in ((4, True), (1, False), (7, False), (3, True)):
        observation = rng.integers(99, size=(length + 1, 3)).astype(np.int32)
        action, reward = rng.random((length, 2)).astype(np.float32), rng.random(length)
        store_episode(whole, observation=observation, action=action, reward=reward, terminated=terminated)
        stepped.begin(observation[:1])
        for t in range(length):
            stepped.add(
                action=action[[t]],
                reward=reward[[t]],
                terminated=[terminated and t == length - 1],
                truncated=[not terminated and t == length - 1],
                next_observation=observation[[t + 1]],
                reset_observation=observation[[0]],
            )
    assert len(whole) == 15
    require_equal(*(replay.sample(200, 3, np.random.default_rng(1)) for replay in (whole, stepped)))
