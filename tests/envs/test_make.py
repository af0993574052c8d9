"""make_env: what it builds, and what its errors say."""

import subprocess
import sys
import tomllib
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from jepa_rl.envs import make_env
from jepa_rl.envs.counting import CountingEnv
from jepa_rl.envs.minigrid import PixelView, SymbolicView


def test_the_counting_environment_gets_its_arguments():
    env = make_env("jepa_rl/Counting-v0", {"target": 2, "actions": "discrete3"}, "rgb_array")
    assert isinstance(env.unwrapped, CountingEnv)
    assert (env.unwrapped.target, env.unwrapped.action_mode) == (2, "discrete3")
    observation, _ = env.reset(seed=0)
    assert np.array_equal(env.render(), observation)


def test_minigrid_ids_are_seen_in_symbols_by_default_and_in_pixels_on_demand():
    env = make_env("MiniGrid-DoorKey-5x5-v0", {"max_steps": 7})
    assert isinstance(env, SymbolicView)
    assert env.unwrapped.max_steps == 7
    env = make_env("MiniGrid-DoorKey-5x5-v0", {"pixels": True}, render_mode="rgb_array")
    assert isinstance(env, PixelView)
    env.reset(seed=0)
    assert env.render().ndim == 3


def test_babyai_ids_are_seen_like_minigrids():
    assert isinstance(make_env("BabyAI-GoToRedBallGrey-v0"), SymbolicView)


def test_other_environments_keep_their_time_limit_and_their_observation():
    env = make_env("CartPole-v1", {"sutton_barto_reward": True})
    assert isinstance(env, gymnasium.wrappers.TimeLimit)
    assert env.observation_space.shape == (4,)
    env.reset(seed=0)
    assert env.step(0)[1] == 0.0


def test_a_module_before_the_id_is_imported():
    env = make_env("minigrid:MiniGrid-Empty-5x5-v0")
    assert env.unwrapped.spec.id == "MiniGrid-Empty-5x5-v0"
    assert isinstance(env, SymbolicView)


def test_the_arguments_are_left_as_they_were():
    arguments = {"target": 2}
    make_env("jepa_rl/Counting-v0", arguments)
    assert arguments == {"target": 2}


@pytest.mark.parametrize(
    ("env_id", "near"),
    [
        ("CountingEnv-v0", "jepa_rl/Counting-v0"),
        ("jepa_rl/Counting-v1", "jepa_rl/Counting-v0"),
        ("CartPole", "CartPole-v1"),
        ("CARTPOLE-V1", "CartPole-v1"),
        ("MiniGrid-Doorkey-5x5-v0", "MiniGrid-DoorKey-5x5-v0"),
        ("minigrid-empty-8x8", "MiniGrid-Empty-8x8-v0"),
    ],
)
def test_an_unknown_id_names_near_ones(env_id, near):
    with pytest.raises(ValueError, match=f"unknown environment '{env_id}'; near ones: .*{near}"):
        make_env(env_id)


def test_an_unknown_id_without_near_ones_says_so():
    with pytest.raises(ValueError, match="unknown environment 'qqqq'; none is near"):
        make_env("qqqq")


def test_an_unknown_keyword_names_those_that_there_are():
    with pytest.raises(ValueError, match=r"does not take tarjet; it takes actions, .*target, terminate_on_success$"):
        make_env("jepa_rl/Counting-v0", {"tarjet": 4, "target": 4})
    # size is the room's own keyword, max_steps that of its base class, which gets what the room does not take.
    with pytest.raises(ValueError, match=r"does not take sizes; it takes .*agent_view_size, .*max_steps, .*size"):
        make_env("MiniGrid-Empty-5x5-v0", {"sizes": 6})
    with pytest.raises(ValueError, match=r"does not take max_episode_steps; it takes sutton_barto_reward$"):
        make_env("CartPole-v1", {"max_episode_steps": 6})


def test_a_keyword_that_the_environment_sets_itself_is_refused():
    with pytest.raises(ValueError, match="sets one of see_through_walls itself"):
        make_env("MiniGrid-Empty-5x5-v0", {"see_through_walls": False})


def test_an_entry_point_that_takes_anything_is_not_second_guessed():
    gymnasium.register("Anything-v0", entry_point=lambda **kwargs: CountingEnv(target=kwargs["goal"]))
    try:
        assert make_env("Anything-v0", {"goal": 3}).unwrapped.target == 3
    finally:
        del gymnasium.registry["Anything-v0"]


def test_a_constructor_without_render_mode_is_not_given_one():
    gymnasium.register("Unrendered-v0", entry_point=lambda goal=1: CountingEnv(target=goal))
    try:
        assert make_env("Unrendered-v0", {"goal": 3}).unwrapped.target == 3
    finally:
        del gymnasium.registry["Unrendered-v0"]


def test_a_value_out_of_range_raises_the_environments_own_error():
    with pytest.raises(ValueError, match=r"^target must lie in 0\.\.max_objects=8, got 20$"):
        make_env("jepa_rl/Counting-v0", {"target": 20})


def test_a_type_error_of_the_environment_passes_through():
    with pytest.raises(TypeError, match="target must be an integer"):
        make_env("jepa_rl/Counting-v0", {"target": 2.5})


def test_another_error_of_the_constructor_is_told_with_its_kind():
    def unlicensed():
        raise RuntimeError("no licence")

    gymnasium.register("Unlicensed-v0", entry_point=unlicensed)
    try:
        with pytest.raises(ValueError, match=r"^'Unlicensed-v0' cannot be made: RuntimeError: no licence$"):
            make_env("Unlicensed-v0")
    finally:
        del gymnasium.registry["Unlicensed-v0"]


@pytest.mark.parametrize(
    ("env_id", "package", "extra"),
    [("LunarLander-v3", "Box2D", "box2d"), ("Hopper-v5", "mujoco", "mujoco"), ("InvertedPendulum-v4", "mujoco", "mujoco")],
)
def test_a_family_whose_package_is_missing_says_what_to_install(env_id, package, extra, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("gymnasium.envs.box2d", "gymnasium.envs.mujoco"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"^'{env_id}' needs a package that is not installed: pip install 'jepa-rl\[{extra}\]'$"
    with pytest.raises(gymnasium.error.DependencyNotInstalled, match=message):
        make_env(env_id)
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert any(f"gymnasium[{extra}]" in each for each in pyproject["project"]["optional-dependencies"][extra])


def test_pixels_belong_to_minigrid():
    with pytest.raises(ValueError, match="'CartPole-v1' does not take pixels"):
        make_env("CartPole-v1", {"pixels": True})


def test_importing_the_package_is_cheap():
    heavy = "import sys, jepa_rl.envs; print([m for m in ('minigrid', 'pygame', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True).stdout == "[]\n"
