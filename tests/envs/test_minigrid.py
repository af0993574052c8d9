"""MiniGrid's views: what they show, and which episode counts as a success."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Goal, Key, Lava
from minigrid.wrappers import RGBImgPartialObsWrapper
from stable_baselines3.common.env_checker import check_env as check_sb3
from stable_baselines3.common.preprocessing import is_image_space

from jepa_rl.envs.minigrid import PixelView, SymbolicView

LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE = range(6)
VIEWS = (SymbolicView, PixelView)
AGENT = (3, 6)  # the agent's own cell in the view


def empty_room(view=SymbolicView, thing=None, **kwargs):
    """A 5x5 room with the agent at (1, 1), facing right, and ``thing`` in the cell before it."""
    env = view(gymnasium.make("MiniGrid-Empty-5x5-v0", **kwargs))
    env.reset(seed=0)
    if thing is not None:
        env.unwrapped.grid.set(2, 1, thing)
    return env


def agent_tile(pixels):
    return pixels[48:56, 24:32]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", ["MiniGrid-DoorKey-5x5-v0", "MiniGrid-LavaCrossingS9N1-v0"])
def test_gymnasiums_checker_passes(view, name):
    env = view(gymnasium.make(name, disable_env_checker=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*different from the unwrapped version.*")  # the wrapper is what is checked
        check_gymnasium(env, skip_render_check=True)


@pytest.mark.parametrize("view", VIEWS)
def test_the_spec_makes_the_same_environment_again(view):
    again = view(gymnasium.make("MiniGrid-Empty-5x5-v0", max_steps=7)).spec.make()
    assert isinstance(again, view)
    assert again.unwrapped.max_steps == 7


@pytest.mark.parametrize("view", VIEWS)
def test_stable_baselines3s_checker_passes_and_takes_symbols_for_a_doubtful_image(view):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if view is SymbolicView:
            warnings.filterwarnings("ignore", "(?s).*bounds are not in|.*minimal resolution for an image")
        check_sb3(view(gymnasium.make("MiniGrid-DoorKey-5x5-v0")))


def test_the_symbolic_view_is_minigrids_image_and_the_direction_everywhere():
    raw = gymnasium.make("MiniGrid-DoorKey-6x6-v0")
    env = SymbolicView(gymnasium.make("MiniGrid-DoorKey-6x6-v0"))
    actions = np.random.default_rng(0).integers(7, size=200)
    steps = [(raw.reset(seed=3)[0], env.reset(seed=3)[0])]
    steps += [(raw.step(action)[0], env.step(action)[0]) for action in actions]
    assert {expected["direction"] for expected, _ in steps} == {0, 1, 2, 3}
    for expected, view in steps:
        assert view.shape == (7, 7, 4)
        assert view.dtype == np.uint8
        assert np.array_equal(view[..., :3], expected["image"])
        assert (view[..., 3] == expected["direction"]).all()
        assert env.observation_space.contains(view)


def test_the_pixel_view_is_minigrids_partial_rendering():
    raw = RGBImgPartialObsWrapper(gymnasium.make("MiniGrid-DoorKey-6x6-v0"), tile_size=8)
    env = PixelView(gymnasium.make("MiniGrid-DoorKey-6x6-v0"))
    actions = np.random.default_rng(0).integers(7, size=60)
    steps = [(raw.reset(seed=3)[0], env.reset(seed=3)[0])]
    steps += [(raw.step(action)[0], env.step(action)[0]) for action in actions]
    for expected, view in steps:
        assert view.shape == (56, 56, 3)
        assert np.array_equal(view, expected["image"])
        assert env.observation_space.contains(view)


def test_the_size_follows_agent_view_size():
    assert empty_room(agent_view_size=5).observation_space.shape == (5, 5, 4)
    assert empty_room(agent_view_size=5).reset()[0].shape == (5, 5, 4)
    assert empty_room(PixelView, agent_view_size=5).observation_space.shape == (40, 40, 3)
    assert empty_room(PixelView, agent_view_size=5).reset()[0].shape == (40, 40, 3)


def test_the_bounds_are_the_largest_object_colour_state_and_direction():
    assert empty_room().observation_space.high[0, 0].tolist() == [10, 5, 2, 3]
    assert not empty_room().observation_space.low.any()


def test_symbols_are_no_image_to_stable_baselines3_and_pixels_are():
    assert not is_image_space(empty_room().observation_space)
    assert is_image_space(empty_room(PixelView).observation_space)


def test_the_agent_looks_towards_lower_indices_of_the_second_axis():
    env = empty_room(thing=Ball("blue"))
    x, y = AGENT
    # The ball lies ahead of the agent, then (it turns left) on its right, behind it, on its left.
    for action, cell in ((6, (x, y - 1)), (LEFT, (x + 1, y)), (LEFT, None), (LEFT, (x - 1, y))):
        view = env.step(action)[0]
        assert np.argwhere(view[..., 0] == OBJECT_TO_IDX["ball"]).tolist() == ([list(cell)] if cell else [])
        assert cell is None or view[cell][1] == COLOR_TO_IDX["blue"]


@pytest.mark.parametrize("color", ["red", "yellow", "grey"])
def test_the_carried_object_shows_in_the_agents_own_cell(color):
    env = empty_room(thing=Key(color))
    before = env.step(6)[0]
    carrying = env.step(PICKUP)[0]
    assert before[AGENT][0] == OBJECT_TO_IDX["empty"]
    assert carrying[AGENT][:2].tolist() == [OBJECT_TO_IDX["key"], COLOR_TO_IDX[color]]
    assert carrying[AGENT[0], AGENT[1] - 1, 0] == OBJECT_TO_IDX["empty"]
    dropped = env.step(DROP)[0]
    assert np.array_equal(dropped, before)


@pytest.mark.parametrize("thing", [Key("red"), Key("yellow"), Ball("green")])
def test_the_carried_object_shows_in_pixels_around_the_agents_triangle(thing):
    env = empty_room(PixelView, thing=thing)
    before = env.step(6)[0]
    carrying = env.step(PICKUP)[0]
    assert not np.array_equal(agent_tile(before), agent_tile(carrying))
    assert np.array_equal(agent_tile(env.step(DROP)[0]), agent_tile(before))


def test_carried_keys_of_two_colours_differ_in_pixels():
    tiles = [agent_tile(empty_room(PixelView, thing=Key(color)).step(PICKUP)[0]) for color in ("red", "yellow")]
    assert not np.array_equal(*tiles)


@pytest.mark.parametrize("view", VIEWS)
def test_reaching_the_goal_is_a_success(view):
    env = empty_room(view, thing=Goal())
    _, reward, terminated, truncated, info = env.step(FORWARD)
    assert (reward > 0, terminated, truncated) == (True, True, False)
    assert info["success"] is True
    assert info["is_success"] is True


@pytest.mark.parametrize("view", VIEWS)
def test_lava_terminates_without_success(view):
    env = empty_room(view, thing=Lava())
    _, reward, terminated, _, info = env.step(FORWARD)
    assert (reward, terminated) == (0, True)
    assert info["success"] is False
    assert info["is_success"] is False


def test_a_collision_terminates_with_a_negative_reward_and_without_success():
    env = SymbolicView(gymnasium.make("MiniGrid-Dynamic-Obstacles-5x5-v0"))
    env.reset(seed=0)
    env.step(LEFT)
    _, reward, terminated, _, info = env.step(FORWARD)
    assert (reward, terminated) == (-1, True)
    assert info["success"] is False


@pytest.mark.parametrize("view", VIEWS)
def test_the_time_limit_truncates_without_success(view):
    env = empty_room(view, max_steps=2)
    first, second = env.step(LEFT), env.step(LEFT)
    assert [step[2:4] for step in (first, second)] == [(False, False), (False, True)]
    assert not any(step[4]["success"] or step[4]["is_success"] for step in (first, second))


def test_the_goal_at_the_last_step_is_a_success():
    env = empty_room(thing=Goal(), max_steps=1)
    _, reward, terminated, truncated, info = env.step(FORWARD)
    assert reward == pytest.approx(0.1)
    assert (terminated, truncated) == (True, True)
    assert info["success"] is True


def test_a_reset_and_a_step_in_mid_episode_are_no_success():
    env = empty_room()
    assert env.reset(seed=0)[1] == {"success": False, "is_success": False}
    assert env.step(FORWARD)[4] == {"success": False, "is_success": False}


@pytest.mark.parametrize("view", VIEWS)
def test_an_observation_that_was_handed_out_never_changes(view):
    env = view(gymnasium.make("MiniGrid-DoorKey-5x5-v0"))
    held = [env.reset(seed=0)[0]]
    copies = [held[0].copy()]
    for action in np.random.default_rng(1).integers(7, size=40):
        held.append(env.step(action)[0])
        copies.append(held[-1].copy())
    assert all(np.array_equal(kept, copy) for kept, copy in zip(held, copies, strict=True))


@pytest.mark.parametrize("view", VIEWS)
def test_other_environments_are_refused(view):
    with pytest.raises(TypeError, match=f"{view.__name__} needs a MiniGrid environment"):
        view(gymnasium.make("CartPole-v1"))


def test_cells_behind_walls_are_zero_but_for_the_direction():
    env = SymbolicView(gymnasium.make("MiniGrid-DoorKey-5x5-v0"))
    env.reset(seed=0)
    room = env.unwrapped
    room.grid = Grid(5, 5)
    room.grid.wall_rect(0, 0, 5, 5)
    room.agent_pos, room.agent_dir = (1, 1), 0
    view = env.step(LEFT)[0]  # now it faces the upper wall
    assert (view[:, :5, :3] == 0).all()
    assert view[3, 5, 0] == OBJECT_TO_IDX["wall"]
    assert (view[..., 3] == 3).all()
