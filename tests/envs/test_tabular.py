"""Exact tables against the environments that they tabulate."""

import copy

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import TransformReward
from minigrid.core.world_object import Ball
from minigrid.envs import EmptyEnv
from minigrid.wrappers import NoDeath

from jepa_rl.envs import make_env
from jepa_rl.envs.tabular import Table, counting_table, minigrid_table
from jepa_rl.world_model.bisimulation import refine

ROOMS = {
    "MiniGrid-Empty-5x5-v0": 1,
    "MiniGrid-DoorKey-5x5-v0": 0,
    "MiniGrid-LavaCrossingS9N1-v0": 2,
    "MiniGrid-GoToDoor-5x5-v0": 0,
}


@pytest.fixture(scope="module")
def tables():
    return {name: minigrid_table(make_env(name), seed=seed) for name, seed in ROOMS.items()}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"actions": "discrete3", "reward": "dense", "target": 2, "max_objects": 5},
        {"actions": "continuous", "terminate_on_success": False},
    ],
)
def test_the_counting_table_agrees_with_a_thousand_random_steps(arguments):
    env = make_env("jepa_rl/Counting-v0", arguments | {"episode_length": 7})
    table = counting_table(env)
    assert table.transition.shape == (arguments.get("max_objects", 8) + 1, 3 if "discrete3" in arguments.values() else 2)
    rng = np.random.default_rng(0)
    _, info = env.reset(seed=0)
    for _ in range(1000):
        state, index = info["count"], int(rng.integers(table.transition.shape[1]))
        action = np.array([2.0 * index - 1], np.float32) if "continuous" in arguments.values() else index
        _, reward, terminated, truncated, info = env.step(action)
        assert table.transition[state, index] == info["count"]
        assert table.reward[state, index] == reward
        assert table.terminated[state, index] == terminated
        assert table.success[state, index] == info["success"]
        assert table.label[state] == info["auxiliary"]
        if terminated or truncated:
            _, info = env.reset()


def test_the_counting_table_is_the_one_of_the_theory():
    table = counting_table(make_env("jepa_rl/Counting-v0"))
    assert table.label.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert refine(table.transition, table.label).counts == (2, 4, 6, 8, 9)


def test_the_counting_table_leaves_the_environment_alone():
    env = make_env("jepa_rl/Counting-v0")
    env.reset(seed=0)
    before = env.unwrapped.np_random.bit_generator.state
    counting_table(env)
    assert env.unwrapped.np_random.bit_generator.state == before


@pytest.mark.parametrize("name", ROOMS)
def test_a_minigrid_table_agrees_with_a_thousand_random_steps(tables, name):
    table, seed = tables[name], ROOMS[name]
    env = make_env(name, {"max_steps": 200})
    observation, _ = env.reset(seed=seed)
    state = table.start
    assert np.array_equal(table.observation[state], observation)
    for action in np.random.default_rng(0).integers(7, size=1000):
        observation, _, terminated, truncated, info = env.step(action)
        assert table.terminated[state, action] == terminated
        assert table.success[state, action] == info["success"]
        state = table.transition[state, action]
        assert np.array_equal(table.observation[state], observation)
        if terminated or truncated:
            env.reset(seed=seed)
            state = table.start


@pytest.mark.parametrize("name", ROOMS)
def test_a_shortest_path_of_the_table_succeeds_in_the_environment(tables, name):
    table = tables[name]
    path_to = {table.start: []}
    for state in (queue := [table.start]):
        for action, following in enumerate(table.transition[state].tolist()):
            if following not in path_to:
                path_to[following] = [*path_to[state], action]
                queue.append(following)
    path = min((path_to[goal] for goal in np.flatnonzero(table.label).tolist()), key=len)
    env = make_env(name)
    env.reset(seed=ROOMS[name])
    steps = [env.step(action) for action in path]
    assert [step[4]["success"] for step in steps] == [False] * (len(path) - 1) + [True]


def test_the_empty_room_has_a_state_per_cell_and_direction(tables):
    table = tables["MiniGrid-Empty-5x5-v0"]
    # 8 cells besides the goal with 4 directions each; the goal is entered facing right or down, and ends the episode.
    assert len(table.transition) == 8 * 4 + 2
    assert table.label.sum() == 2
    assert table.success.sum() == 2


def test_ended_episodes_are_absorbing(tables):
    for table in tables.values():
        over = table.terminated.all(axis=1)
        assert over.any()
        assert (table.transition[over] == np.flatnonzero(over)[:, None]).all()
        assert not table.success[over].any()
        assert not table.reward[over].any()
        assert np.array_equal(over[table.transition], table.terminated)


def test_lava_and_success_end_in_different_states(tables):
    table = tables["MiniGrid-LavaCrossingS9N1-v0"]
    failed = table.terminated & ~table.success & ~table.terminated.all(axis=1)[:, None]
    assert failed.any()
    assert (table.label[table.transition[failed]] == 0).all()
    assert (table.label[table.transition[table.success]] == 1).all()
    assert np.array_equal(table.reward, table.success)


def test_an_episode_may_end_without_a_change_of_the_grid(tables):
    # "done" ends GoToDoor where the agent stands: that end is another state than standing there.
    table, done = tables["MiniGrid-GoToDoor-5x5-v0"], 6
    assert table.terminated[:, done].all()
    assert not table.terminated[table.start, :3].any()
    after = table.transition[table.start, done]
    assert after != table.start
    assert np.array_equal(table.observation[after], table.observation[table.start])


def test_every_state_is_reachable_from_the_start(tables):
    for table in tables.values():
        reached = {table.start}
        frontier = [table.start]
        while frontier:
            new = set(table.transition[frontier].ravel().tolist()) - reached
            reached |= new
            frontier = list(new)
        assert len(reached) == len(table.transition)


def test_the_seed_chooses_the_layout():
    first, second = (minigrid_table(make_env("MiniGrid-DoorKey-5x5-v0"), seed=seed) for seed in (0, 1))
    assert not np.array_equal(first.observation[0], second.observation[0])


def test_objects_are_found_wherever_they_were_dropped():
    # One ball in a 5x5 room without a way to the goal: 9 places for the ball minus the agent's, or carried.
    env = make_env("MiniGrid-Empty-5x5-v0").unwrapped
    generate = env._gen_grid

    def with_ball(width, height):
        generate(width, height)
        env.grid.set(3, 3, None)
        env.put_obj(Ball("blue"), 2, 2)

    env._gen_grid = with_ball
    table = minigrid_table(env)
    cells = 9
    assert len(table.transition) == 4 * (cells * (cells - 1) + cells)
    assert not table.terminated.any()


def test_the_environment_works_as_after_a_reset_when_the_search_is_done():
    env, fresh = make_env("MiniGrid-DoorKey-5x5-v0"), make_env("MiniGrid-DoorKey-5x5-v0")
    minigrid_table(env, seed=4)
    fresh.reset(seed=4)
    for action in np.random.default_rng(0).integers(7, size=100):
        ours, theirs = env.step(action), fresh.step(action)
        assert np.array_equal(ours[0], theirs[0])
        assert ours[1:] == theirs[1:]


def test_a_stochastic_environment_is_refused():
    with pytest.raises(ValueError, match="stochastic"):
        minigrid_table(make_env("MiniGrid-Dynamic-Obstacles-5x5-v0"))


class CountsItsSteps(EmptyEnv):
    """Ends after five actions, by a counter of its own: a number, or one that is kept in something."""

    def __init__(self, first, one, taken):
        self.first, self.one, self.read = first, one, taken
        super().__init__(size=5)

    def reset(self, **kwargs):
        self.taken = copy.deepcopy(self.first)
        return super().reset(**kwargs)

    def step(self, action):
        self.taken += self.one
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated or self.read(self.taken) == 5, truncated, info


@pytest.mark.parametrize(
    ("first", "one", "taken"),
    [
        (0, 1, int),
        (np.int64(0), 1, int),
        (np.zeros(2), 1, lambda counter: counter[0]),
        ([], ["step"], len),
        ((), (1,), len),
    ],
)
def test_a_counter_of_the_environments_own_is_refused(first, one, taken):
    with pytest.raises(ValueError, match="keeps state that the search cannot restore: taken"):
        minigrid_table(CountsItsSteps(first, one, taken))


def test_instructions_outside_of_the_grid_are_refused():
    with pytest.raises(ValueError, match="instruction"):
        minigrid_table(make_env("BabyAI-GoToRedBallGrey-v0"))


def test_too_many_states_are_refused_with_numbers_and_the_observations_come_back():
    env = make_env("MiniGrid-UnlockPickup-v0")
    with pytest.raises(ValueError, match=r"more than max_states=100 states: 10\d after trying out \d+"):
        minigrid_table(env, max_states=100)
    assert env.reset(seed=0)[0].shape == (7, 7, 4)
    assert env.step(0)[0].shape == (7, 7, 4)


def test_max_states_is_the_largest_number_allowed():
    assert len(minigrid_table(make_env("MiniGrid-Empty-5x5-v0"), max_states=34).transition) == 34
    with pytest.raises(ValueError, match="max_states=33"):
        minigrid_table(make_env("MiniGrid-Empty-5x5-v0"), max_states=33)


def test_other_environments_and_wrappers_with_dynamics_are_refused():
    with pytest.raises(TypeError, match="minigrid_table needs a MiniGrid"):
        minigrid_table(make_env("CartPole-v1"))
    with pytest.raises(TypeError, match="counting_table needs a CountingEnv"):
        counting_table(make_env("CartPole-v1"))
    with pytest.raises(TypeError, match="TransformReward may change the dynamics"):
        counting_table(TransformReward(make_env("jepa_rl/Counting-v0"), lambda reward: reward - 1))
    with pytest.raises(TypeError, match="NoDeath may change the dynamics"):
        minigrid_table(NoDeath(gymnasium.make("MiniGrid-LavaCrossingS9N1-v0"), no_death_types=("lava",)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"terminated": np.zeros((2, 2), bool)}, "terminated"),
        ({"success": np.zeros(2, bool)}, "success"),
        ({"reward": np.zeros((3, 1))}, "reward"),
        ({"label": np.zeros(3)}, "label"),
        ({"observation": np.zeros((3, 7))}, "observation"),
        ({"transition": np.array([[0], [2]])}, r"transition must lie in 0\.\.1"),
        ({"transition": np.array([[0], [-1]])}, r"transition must lie in 0\.\.1"),
    ],
)
def test_a_table_whose_parts_do_not_fit_is_refused(changed, message):
    fitting = {
        "transition": np.zeros((2, 1), int),
        "terminated": np.zeros((2, 1), bool),
        "success": np.zeros((2, 1), bool),
        "reward": np.zeros((2, 1)),
        "label": np.zeros(2),
    }
    Table(**fitting)
    with pytest.raises(ValueError, match=message):
        Table(**(fitting | changed))
