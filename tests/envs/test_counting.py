"""The counting environment: its interface, its pixels, its rewards and the ends of its episodes."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as check_gymnasium
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from stable_baselines3.common.env_checker import check_env as check_sb3

from jepa_rl.envs.counting import PLACEMENT_TRIES, RADIUS, SHAPES, STENCILS, CountingEnv

MODES = ("discrete2", "discrete3", "continuous")
REMOVE, ADD = 0, 1


class RecordingEnv(CountingEnv):
    """Keeps the centres of the last drawing."""

    def _place(self, count):
        self.centres = super()._place(count)
        return self.centres


def actions_of(env, seed, n):
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(n)]


def episode(env, seed, actions, rendered=False):
    observation, info = env.reset(seed=seed)
    trace = [(observation.copy(), info)]
    for action in actions:
        if rendered:
            env.render()
        observation, reward, terminated, truncated, info = env.step(action)
        trace.append((observation.copy(), reward, terminated, truncated, info))
    return trace


def same(first, second):
    return all(np.array_equal(a[0], b[0]) and a[1:] == b[1:] for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("actions", MODES)
@pytest.mark.parametrize("check", [check_gymnasium, check_sb3])
def test_checkers_pass_without_a_warning(check, actions):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(gymnasium.make("jepa_rl/Counting-v0", actions=actions, render_mode="rgb_array").unwrapped)


@pytest.mark.parametrize("mode", MODES)
def test_a_seed_fixes_the_episode_and_another_seed_gives_another(mode):
    actions = actions_of(CountingEnv(actions=mode), 3, 6)
    first = episode(CountingEnv(actions=mode), 11, actions)
    assert same(first, episode(CountingEnv(actions=mode), 11, actions))
    others = [episode(CountingEnv(actions=mode), seed, actions) for seed in range(12, 20)]
    assert not any(np.array_equal(first[0][0], other[0][0]) for other in others if first[0][1]["count"])


def test_rendering_changes_nothing():
    actions = actions_of(CountingEnv(), 0, 20)
    with_frames = episode(CountingEnv(render_mode="rgb_array"), 5, actions, rendered=True)
    assert same(with_frames, episode(CountingEnv(), 5, actions))


def test_render_returns_a_copy_of_the_frame_and_none_where_there_is_none():
    env = CountingEnv(render_mode="rgb_array")
    assert env.render() is None
    observation, _ = env.reset(seed=0, options={"count": 3})
    frame = env.render()
    assert np.array_equal(frame, observation)
    frame[:] = 7
    assert np.array_equal(env.render(), observation)
    silent = CountingEnv()
    silent.reset(seed=0)
    assert silent.render() is None


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 8))
def test_objects_that_do_not_touch_are_as_many_components_of_the_shape_as_the_count(seed, count):
    env = RecordingEnv()
    image, info = env.reset(seed=seed, options={"count": count})
    covered = image.any(axis=2)
    stencil = STENCILS[env.shape]
    expected = np.zeros((64, 64), bool)
    for x, y in env.centres:
        expected[y - RADIUS : y + RADIUS + 1, x - RADIUS : x + RADIUS + 1] |= stencil
    assert np.array_equal(covered, expected)
    assert info["count"] == len(env.centres) == count
    assert info["position"] == pytest.approx(np.mean(env.centres or [(32, 32)], axis=0))
    assert SHAPES[info["shape"]] == env.shape
    assert count == 0 or info["color"] == tuple(image[covered][0])
    gaps = [max(abs(x - u), abs(y - v)) for i, (x, y) in enumerate(env.centres) for u, v in env.centres[:i]]
    if min(gaps, default=64) > 2 * RADIUS + 1:
        components, number = ndimage.label(covered, structure=np.ones((3, 3)))
        assert number == count
        assert [int((components == i + 1).sum()) for i in range(count)] == [int(stencil.sum())] * count


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_centres_stay_in_bounds_and_seven_pixels_apart(seed):
    env = RecordingEnv()
    env.reset(seed=seed, options={"count": 8})
    centres = np.array(env.centres)
    assert ((centres >= 3) & (centres < 61)).all()
    squares = ((centres[:, None] - centres) ** 2).sum(-1)[np.triu_indices(8, 1)]
    assert squares.min() >= 49


def test_centres_reach_both_ends_of_their_range():
    env = RecordingEnv()
    env.reset(seed=0)
    centres = [centre for _ in range(200) if env.reset(options={"count": 8}) for centre in env.centres]
    assert (np.min(centres), np.max(centres)) == (3, 60)


def test_a_crowded_image_accepts_overlaps_after_the_tries_and_still_holds_the_count():
    class OneSpot:
        """Proposes one and the same centre for ever."""

        drawn = 0

        def integers(self, low, high, size):
            self.drawn += size[0]
            return np.full(size, 20)

    env = RecordingEnv()
    env.reset(seed=0)
    env.np_random = OneSpot()
    assert env._place(2) == [(20, 20), (20, 20)]
    assert 1 + PLACEMENT_TRIES <= env.np_random.drawn < 1 + PLACEMENT_TRIES + 4


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_one_colour_and_one_shape_per_episode(seed):
    env = CountingEnv(terminate_on_success=False, episode_length=10)
    image, _ = env.reset(seed=seed, options={"count": 5})
    color, shape = env.color.copy(), env.shape
    for action in [ADD, REMOVE, REMOVE, ADD, ADD, REMOVE]:
        colors = np.unique(image[image.any(axis=2)], axis=0)
        assert colors.tolist() == [color.tolist()]
        assert env.shape == shape
        image, *_ = env.step(action)
    assert color.min() >= 30
    assert color.max() < 226


def test_episodes_differ_in_colour_and_use_the_whole_range_and_every_shape():
    env = CountingEnv()
    env.reset(seed=0)
    drawn = [(env.reset(), env.color, env.shape)[1:] for _ in range(600)]
    colors = np.array([color for color, _ in drawn])
    assert (colors.min(), colors.max()) == (30, 225)
    assert {shape for _, shape in drawn} == set(SHAPES)


def test_reset_draws_every_count_about_equally_often():
    env = CountingEnv()
    env.reset(seed=0)
    frequency = np.bincount([env.reset()[1]["count"] for _ in range(1800)], minlength=9)
    assert len(frequency) == 9
    assert frequency.min() > 140  # 200 expected, standard deviation 13
    assert frequency.max() < 260


def test_a_no_op_keeps_the_frame():
    env = CountingEnv(actions="discrete3", target=8)
    before, _ = env.reset(seed=1, options={"count": 3})
    after, _, _, _, info = env.step(1)
    assert np.array_equal(before, after)
    assert info["count"] == 3


@pytest.mark.parametrize(("count", "action"), [(0, REMOVE), (8, ADD)])
def test_a_change_at_the_bounds_is_clipped_and_redraws(count, action):
    env = CountingEnv()
    before, _ = env.reset(seed=1, options={"count": count})
    after, _, _, _, info = env.step(action)
    assert info["count"] == count
    assert np.array_equal(before, after) == (count == 0)  # an image without objects has nothing to move


def test_a_change_moves_the_objects():
    env = RecordingEnv()
    env.reset(seed=1, options={"count": 1})
    (before,) = env.centres
    env.step(ADD)
    assert before not in env.centres


@pytest.mark.parametrize(
    ("mode", "action", "change"),
    [
        ("discrete2", 0, -1),
        ("discrete2", np.int64(1), 1),
        ("discrete3", 0, -1),
        ("discrete3", 1, 0),
        ("discrete3", np.array(2), 1),
        ("continuous", np.array([-1.0], np.float32), -1),
        ("continuous", np.array([-1e-6], np.float32), -1),
        ("continuous", np.array([0.0], np.float32), 1),
        ("continuous", 0.7, 1),
    ],
)
def test_what_each_action_does_to_the_count(mode, action, change):
    env = CountingEnv(actions=mode)
    env.reset(seed=0, options={"count": 2})
    assert env.step(action)[4]["count"] == 2 + change


def test_sparse_reward_is_one_at_the_target_only():
    env = CountingEnv(target=2, terminate_on_success=False, episode_length=9)
    env.reset(seed=0, options={"count": 0})
    assert [env.step(ADD)[1] for _ in range(4)] == [0.0, 1.0, 0.0, 0.0]


def test_dense_reward_falls_with_the_distance_over_the_largest_count():
    env = CountingEnv(target=2, max_objects=5, reward="dense", terminate_on_success=False, episode_length=9)
    env.reset(seed=0, options={"count": 0})
    assert [env.step(ADD)[1] for _ in range(5)] == pytest.approx([0.8, 1.0, 0.8, 0.6, 0.4])


@pytest.mark.parametrize("reward", ["sparse", "dense"])
def test_auxiliary_is_the_reward_of_the_observation_before_the_action(reward):
    env = CountingEnv(target=2, reward=reward, terminate_on_success=False, episode_length=9)
    env.reset(seed=0, options={"count": 2})
    steps = [env.step(action) for action in (ADD, REMOVE, REMOVE, ADD)]
    assert steps[0][4]["auxiliary"] == 1.0
    assert [step[4]["auxiliary"] for step in steps[1:]] == [step[1] for step in steps[:-1]]
    assert steps[1][4]["auxiliary"] != steps[1][1]


def test_info_tells_count_and_success_under_both_names():
    env = CountingEnv(target=3)
    _, info = env.reset(seed=0, options={"count": 3})
    shown = {"count", "position", "color", "shape"}
    assert {name: info[name] for name in info if name not in shown} == {"success": True, "is_success": True}
    following = env.step(ADD)[4]
    assert {name: following[name] for name in following if name not in shown} == {
        "success": False,
        "is_success": False,
        "auxiliary": 1.0,
    }
    assert (info["count"], following["count"]) == (3, 4)
    assert (info["color"], info["shape"]) == (following["color"], following["shape"])


def test_starting_at_the_target_does_not_end_the_episode_but_coming_back_does():
    env = CountingEnv()
    env.reset(seed=0, options={"count": 4})
    assert env.step(ADD)[2:4] == (False, False)
    assert env.step(REMOVE)[2:4] == (True, False)


def test_staying_at_the_target_by_a_no_op_terminates():
    env = CountingEnv(actions="discrete3")
    env.reset(seed=0, options={"count": 4})
    assert env.step(1)[1:4] == (1.0, True, False)


def test_the_time_limit_truncates_at_the_last_step():
    env = CountingEnv()
    env.reset(seed=0, options={"count": 8})
    ends = [env.step(ADD)[2:4] for _ in range(4)]
    assert ends == [(False, False)] * 3 + [(False, True)]


def test_reaching_the_target_at_the_last_step_terminates_and_does_not_truncate():
    env = CountingEnv()
    env.reset(seed=0, options={"count": 0})
    ends = [env.step(ADD)[2:4] for _ in range(4)]
    assert ends == [(False, False)] * 3 + [(True, False)]


def test_another_episode_length_and_a_new_episode_start_the_clock_afresh():
    env = CountingEnv(episode_length=2)
    for seed in (0, 1):
        env.reset(seed=seed, options={"count": 8})
        assert [env.step(ADD)[3] for _ in range(2)] == [False, True]


def test_without_termination_success_pays_and_only_the_time_ends_the_episode():
    env = CountingEnv(terminate_on_success=False, actions="discrete3")
    env.reset(seed=0, options={"count": 3})
    steps = [env.step(action) for action in (2, 1, 1, 1)]
    assert [step[1] for step in steps] == [1.0] * 4
    assert [step[2:4] for step in steps] == [(False, False)] * 3 + [(False, True)]
    assert all(step[4]["success"] for step in steps)


@pytest.mark.parametrize("start", range(9))
def test_the_target_is_within_reach_of_every_start(start):
    env = CountingEnv()
    _, info = env.reset(seed=0, options={"count": start})
    terminated = truncated = False
    while not (terminated or truncated):
        _, _, terminated, truncated, info = env.step(ADD if info["count"] < 4 else REMOVE)
        # From the target itself the way leads out and back.
    assert terminated
    assert info["success"]


@pytest.mark.parametrize("mode", MODES)
def test_an_observation_that_was_handed_out_never_changes(mode):
    env = CountingEnv(actions=mode, terminate_on_success=False, episode_length=50)
    observation, _ = env.reset(seed=0)
    held = [(observation, observation.copy())]
    for action in actions_of(env, 0, 30):
        observation = env.step(action)[0]
        held.append((observation, observation.copy()))
    env.reset()
    assert all(np.array_equal(kept, copy) for kept, copy in held)


def test_whoever_writes_into_an_observation_does_not_change_the_next():
    env = CountingEnv(actions="discrete3", render_mode="rgb_array")
    first, _ = env.reset(seed=0, options={"count": 3})
    before = first.copy()
    first[:] = 255
    second, *_ = env.step(1)
    assert np.array_equal(second, before)
    second[:] = 255
    assert np.array_equal(env.step(1)[0], before)
    assert np.array_equal(env.render(), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": 9}, "target"),
        ({"target": -1}, "target"),
        ({"target": 3, "max_objects": 2}, "target"),
        ({"max_objects": 0}, "max_objects"),
        ({"max_objects": 41}, "max_objects"),
        ({"episode_length": 0}, "episode_length"),
        ({"reward": "shaped"}, "shaped"),
        ({"actions": "discrete4"}, "discrete4"),
        ({"render_mode": "human"}, "human"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        CountingEnv(**arguments)


@pytest.mark.parametrize("name", ["target", "max_objects", "episode_length"])
def test_counts_must_be_integers(name):
    with pytest.raises(TypeError, match=f"{name} must be an integer, got 4.5"):
        CountingEnv(**{name: 4.5})


@pytest.mark.parametrize("count", [-1, 9, 2.5, "2"])
def test_a_start_count_must_be_an_integer_in_range(count):
    with pytest.raises(ValueError, match="count"):
        CountingEnv().reset(seed=0, options={"count": count})


@pytest.mark.parametrize(
    ("mode", "action"),
    [
        ("discrete2", 2),
        ("discrete2", -1),
        ("discrete2", 0.5),
        ("discrete2", np.array([1])),
        ("discrete3", 3),
        ("discrete3", float("nan")),
        ("continuous", 1.01),
        ("continuous", np.array([-1.5], np.float32)),
        ("continuous", float("nan")),
        ("continuous", np.array([0.1, 0.2], np.float32)),
    ],
)
def test_bad_actions_are_refused_and_change_nothing(mode, action):
    env = CountingEnv(actions=mode)
    _, info = env.reset(seed=0)
    with pytest.raises(ValueError, match="action"):
        env.step(action)
    assert (env.count, env.steps) == (info["count"], 0)


def test_a_step_before_the_reset_is_refused():
    with pytest.raises(gymnasium.error.ResetNeeded):
        CountingEnv().step(0)


@pytest.mark.parametrize(
    ("arguments", "steps"), [({}, 4), ({"target": 2}, 6), ({"target": 8}, 8), ({"max_objects": 1, "target": 1}, 2)]
)
def test_by_default_every_start_reaches_the_target_in_time_and_none_has_a_step_to_spare(arguments, steps):
    env = CountingEnv(**arguments)
    assert env.episode_length == steps
    taken = []
    for start in range(env.max_objects + 1):
        env.reset(seed=start, options={"count": start})
        for step in range(1, steps + 1):  # noqa: B007
            add = env.count < env.target or (env.count == env.target < env.max_objects)
            _, _, terminated, _, info = env.step(int(add))
            if terminated:
                break
        assert info["success"]
        taken.append(step)
    assert max(taken) == steps
