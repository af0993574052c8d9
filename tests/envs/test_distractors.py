"""Distractors: the two knobs measured, the environment under them unchanged, and what the bit decides."""

import math
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env as check_gymnasium
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as check_sb3
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from jepa_rl.agent.episodes import SeededEpisodes
from jepa_rl.envs import make_env
from jepa_rl.envs.counting import CountingEnv
from jepa_rl.envs.distractors import Distractor, ExogenousBit, TwoTargets
from jepa_rl.envs.processes import ControllablePattern, Flip, Noise, Pattern
from jepa_rl.envs.tabular import counting_table

COUNTING, GRID, VECTOR = "jepa_rl/Counting-v0", "MiniGrid-DoorKey-5x5-v0", "CartPole-v1"
WRAPPINGS = [
    {"distractor": "noise", "distractor_predictability": 0.5},
    {"distractor": "pattern"},
    {"distractor": "controllable"},
    {"bit": "reward"},
    {"bit": "reward", "distractor": "noise"},
]
IMAGE, SYMBOLS = spaces.Box(0, 255, (64, 64, 3), np.uint8), spaces.Box(0, 10, (7, 7, 4), np.uint8)
FLOATS = spaces.Box(-np.inf, np.inf, (4,), np.float32)
REMOVE, ADD = 0, 1


class Still(gymnasium.Env):
    """Observes the middle of its space for ever and pays 2; ``info`` labels the observation with 3 and claims success."""

    def __init__(self, observation_space=FLOATS, action_space=spaces.Discrete(2)):  # noqa: B008 (spaces are constant)
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.full(self.observation_space.shape, 5, self.observation_space.dtype), {}

    def step(self, action):
        return self.reset()[0], 2.0, False, False, {"auxiliary": 3.0, "success": True, "is_success": True}


def shown(observation):
    """The added values of an observation that ``Still`` made, as shares of the range."""
    if observation.shape == (72, 64, 3):
        band = observation[64:].astype(float) / 255
        assert (band == band[:1, :, :1]).all()
        return band[0, ::8, 0]
    if observation.shape == (7, 7, 5):
        fields = observation[..., 4].ravel() / 15
        return fields[np.searchsorted(np.arange(49) * 8 // 49, range(8))]
    return observation[4:]


def linear_r2(before, after):
    design = np.c_[before, np.ones(len(before))]
    residual = after - design @ np.linalg.lstsq(design, after, rcond=None)[0]
    return 1 - residual.var(0).sum() / after.var(0).sum()


def path(process, steps, actions=None, seed=0):
    rng = np.random.default_rng(seed)
    actions = np.zeros(steps, int) if actions is None else actions
    return np.array([process.start(rng)] + [process.step(action, rng) for action in actions])


@settings(max_examples=15, deadline=None, derandomize=True)
@given(p=st.floats(0, 0.9), seed=st.integers(0, 1000))
def test_noise_has_unit_variance_and_the_linear_predictability_that_it_is_given(p, seed):
    values = path(Noise(6, p), 6_000, seed=seed)
    assert values.var() == pytest.approx(1, abs=0.1)
    assert abs(values).max() <= Noise.peak
    assert linear_r2(values[:-1], values[1:]) == pytest.approx(p, abs=0.04)
    assert np.corrcoef(values.T)[np.triu_indices(6, 1)] == pytest.approx(0, abs=0.25 if p > 0.5 else 0.1)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(p=st.floats(0, 1), period=st.floats(2.1, 20))
def test_a_pattern_has_the_linear_predictability_that_it_is_given(p, period):
    values = path(Pattern(5, p, period), 4_000)
    assert (values**2).mean() == pytest.approx(1)  # of a wave, at every moment
    assert linear_r2(values[:-1], values[1:]) == pytest.approx(p, abs=0.05)


def test_a_controllable_pattern_is_predictable_given_the_action_and_less_without():
    actions = np.random.default_rng(3).integers(2, size=6_000)
    values = path(ControllablePattern(5, 0.8, 8, spaces.Discrete(2)), 6_000, actions)
    for action in (0, 1):
        taken = np.flatnonzero(actions == action)
        assert linear_r2(values[taken], values[taken + 1]) == pytest.approx(0.8, abs=0.04)
    # Backward and forward in equal shares: the prediction shrinks by cos(2 pi / 8).
    assert linear_r2(values[:-1], values[1:]) == pytest.approx(0.8 * math.cos(math.pi / 4) ** 2, abs=0.04)


@pytest.mark.parametrize("p", [0.0, 0.25, 0.81, 1.0])
def test_a_flipping_bit_has_the_linear_predictability_that_it_is_given(p):
    values = path(Flip(p), 8_000)
    assert set(np.unique(values)) <= {-1.0, 1.0}
    if p < 1:
        assert values.mean() == pytest.approx(0, abs=0.15)
        assert linear_r2(values[:-1], values[1:]) == pytest.approx(p, abs=0.04)
    else:
        assert (values == values[0]).all()


@pytest.mark.parametrize("process", [Noise(4, 0.7), Pattern(4, 0.7, 8), Flip(0.7)])
def test_an_episode_starts_in_the_stationary_distribution(process):
    rng = np.random.default_rng(0)
    starts = np.array([process.start(rng) for _ in range(4_000)])
    assert starts.mean(0) == pytest.approx(0, abs=0.06)
    assert starts.var(0) == pytest.approx(1, abs=0.06)


def test_noise_that_is_wholly_predictable_keeps_the_values_of_the_episode():
    values = path(Noise(4, 1.0), 50)
    assert (values == values[0]).all()


def test_waves_move_one_field_per_step_with_the_period_or_with_the_action():
    drift = path(Pattern(8, 1.0, 8), 3)
    assert drift[1] == pytest.approx(np.roll(drift[0], 1))
    assert drift[3] == pytest.approx(np.roll(drift[0], 3))
    moved = path(ControllablePattern(8, 1.0, 8, spaces.Discrete(3, start=5)), 3, [7, 6, 5])
    assert moved[1] == pytest.approx(np.roll(moved[0], 1))
    assert moved[2] == pytest.approx(moved[1])
    assert moved[3] == pytest.approx(moved[0])


@pytest.mark.parametrize(
    ("space", "action", "share"),
    [
        (spaces.Box(-2, 2, (1,)), [1.0], 0.5),
        (spaces.Box(np.array([0, 3], np.float32), np.array([1, 3], np.float32)), [1.0, 3.0], 0.5),  # 3 is no choice
        (spaces.MultiDiscrete([3, 2], start=[1, 0]), [3, 1], 1.0),
        (spaces.MultiBinary(4), [1, 1, 1, 0], 0.5),
    ],
)
def test_any_bounded_action_moves_the_wave_in_proportion(space, action, share):
    process = ControllablePattern(8, 1.0, 8, space)
    assert process._shift(np.array(action)) == pytest.approx(share * 2 * math.pi / 8)


@pytest.mark.parametrize("space", [IMAGE, SYMBOLS, FLOATS], ids=["image", "grid", "vector"])
@pytest.mark.parametrize(
    ("kind", "p", "variance"), [("noise", 0.0, 0.08), ("noise", 0.6, 0.02), ("pattern", 0.6, 0.05), ("pattern", 0.9, 0.12)]
)
def test_what_is_shown_has_the_variance_and_the_predictability(space, kind, p, variance):
    env = Distractor(Still(space), kind=kind, predictability=p, variance=variance)
    frames, states = zip(env.reset(seed=0), *(env.step(0)[::4] for _ in range(4_000)), strict=True)
    values, states = np.array([shown(frame) for frame in frames]), np.array([info["distractor"] for info in states])
    rounding = env._display.level**2 / 12
    assert values.var(0).mean() == pytest.approx(variance, rel=0.08)
    assert states.var(0).mean() == pytest.approx(variance - rounding, rel=0.08)
    assert linear_r2(states[:-1], states[1:]) == pytest.approx(p, abs=0.04)
    assert linear_r2(values[:-1], values[1:]) == pytest.approx(p, abs=0.04 + rounding / variance)
    assert all(env.observation_space.contains(frame) for frame in frames[:50])


@pytest.mark.parametrize("space", [IMAGE, SYMBOLS, FLOATS], ids=["image", "grid", "vector"])
def test_at_variance_zero_the_added_part_is_constant(space):
    env = Distractor(Still(space), kind="noise", variance=0.0)
    values = np.array([shown(env.reset(seed=0)[0])] + [shown(env.step(0)[0]) for _ in range(5)])
    assert (values == values[0]).all()
    assert values[0] == pytest.approx(0.0 if space is FLOATS else 0.5, abs=0.04)


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize(("env_id", "signal"), [(COUNTING, np.s_[:64]), (GRID, np.s_[..., :4]), (VECTOR, np.s_[:4])])
def test_the_environment_runs_as_without_and_its_observation_is_all_there(env_id, signal, wrapping):
    plain, env = make_env(env_id), make_env(env_id, wrapping)
    actions = np.random.default_rng(0).integers(2, size=30)
    for seed in (4, None, None):  # the second and third episode go on with the environment's own stream
        expected, plain_info = plain.reset(seed=seed)
        observation, info = env.reset(seed=seed)
        assert np.array_equal(observation[signal], expected)
        for action in actions:
            expected, _, terminated, truncated, plain_info = plain.step(action)
            observation, _, *ends, info = env.step(action)
            assert np.array_equal(observation[signal], expected)
            assert ends == [terminated, truncated]
            assert info.get("count") == plain_info.get("count")
            assert env.observation_space.contains(observation)
            if terminated or truncated:
                break


def test_rendering_draws_nothing_at_random():
    options = {"distractor": "noise", "bit": "target", "bit_other_target": 6, "episode_length": 20}
    runs = []
    for rendered in (False, True):
        env = make_env(COUNTING, options, "rgb_array")
        run = [env.reset(seed=3)[0]]
        for _ in range(6):
            if rendered:
                assert env.render().shape == (64, 64, 3)
            run.append(env.step(ADD)[0])
        runs.append(run)
    assert np.array_equal(*runs)


def test_a_seed_fixes_the_distractor_and_any_episode_can_be_rebuilt():
    def make():
        return SeededEpisodes(Monitor(make_env(COUNTING, {"distractor": "noise", "bit": "reward"})))

    env = make()
    starts = [env.reset(seed=7)[0], env.reset()[0]]
    reached = env.step(ADD)[0]
    assert np.array_equal(make().rebuild_episode(7, 1, [ADD]), reached)
    assert not np.array_equal(starts[0][64:], starts[1][64:])
    assert not np.array_equal(make().reset(seed=8)[0][64:], starts[0][64:])


def test_bit_and_distractor_with_one_seed_draw_from_streams_of_their_own():
    both = Distractor(ExogenousBit(Still(), predictability=0), kind="noise", size=1, predictability=0)
    both.reset(seed=0)
    steps = [both.step(0) for _ in range(3_000)]
    pairs = np.array([(info["bit"], info["distractor"][0]) for *_, info in steps])
    assert np.corrcoef(pairs.T)[0, 1] == pytest.approx(0, abs=0.08)


@pytest.mark.parametrize("env_id", [COUNTING, GRID, VECTOR])
@pytest.mark.parametrize("wrapping", WRAPPINGS[1:4])
def test_checkers_pass(env_id, wrapping):
    env = make_env(env_id, wrapping)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*different from the unwrapped version.*")  # the wrapper is what is checked
        warnings.filterwarnings("ignore", "(?s).*bounds are not in|.*minimal resolution for an image")  # symbols
        warnings.filterwarnings("ignore", ".*Box observation space (min|max)imum value is -?infinity.*")  # CartPole's own
        check_gymnasium(env, skip_render_check=True)
        check_sb3(env)


def test_a_bit_that_is_zero_withholds_the_reward_its_label_and_the_success():
    env = ExogenousBit(Still(), predictability=0.0, otherwise=-0.5)
    seen, bit = set(), env.reset(seed=0)[1]["bit"]
    for _ in range(40):
        observation, reward, _, _, info = env.step(0)
        assert observation[4] == pytest.approx(0.4 if info["bit"] else -0.4)
        assert reward == (2.0 if info["bit"] else -1.0)
        assert info["auxiliary"] == (3.0 if bit else -1.5)  # of the observation before the action
        assert info["success"] is info["is_success"] is bool(info["bit"])
        seen.add((bit, bit := info["bit"]))
    assert len(seen) == 4


def test_a_bit_per_episode_stays_and_both_values_come_up():
    env = ExogenousBit(Still())
    drawn = []
    for seed in range(12):
        bits = [env.reset(seed=seed)[1]["bit"]] + [env.step(0)[4]["bit"] for _ in range(5)]
        assert len(set(bits)) == 1
        drawn += bits[:1]
    assert set(drawn) == {0, 1}


def test_the_bit_says_which_of_two_targets_pays():
    env = TwoTargets(CountingEnv(target=2, terminate_on_success=False), other_target=7, predictability=0.0)
    paid = set()
    for seed in range(30):
        _, info = env.reset(seed=seed)
        for action in env.np_random.integers(2, size=5).tolist():
            before = info
            assert info["success"] == (info["count"] == (2, 7)[info["bit"]])
            _, reward, terminated, _, info = env.step(action)
            assert reward == float(info["count"] == (2, 7)[info["bit"]]) == float(info["is_success"])
            assert info["auxiliary"] == float(before["count"] == (2, 7)[before["bit"]])
            assert not terminated
            paid |= {(info["count"], info["bit"])} if reward else set()
    assert paid == {(2, 0), (7, 1)}


def test_reaching_the_target_that_the_bit_names_ends_the_episode_and_the_other_does_not():
    for seed in range(6):
        env = make_env(COUNTING, {"target": 2, "bit": "target", "bit_other_target": 4})
        _, info = env.reset(seed=seed, options={"count": 3})
        wrong, right = (ADD, REMOVE) if info["bit"] == 0 else (REMOVE, ADD)
        assert env.step(wrong)[2] is False
        env.step(right)
        assert env.step(right)[1:3] == (1.0, True)


def test_episodes_with_two_targets_are_long_enough_for_the_farther_one():
    env = TwoTargets(CountingEnv(target=4), other_target=7)
    assert env.unwrapped.episode_length == 7
    assert TwoTargets(CountingEnv(target=4, episode_length=30), other_target=7).unwrapped.episode_length == 30


def test_named_in_make_env_they_reach_the_wrappers_and_the_spec_makes_them_again():
    options = {"distractor": "pattern", "distractor_variance": 0.02, "distractor_size": 4, "distractor_period": 5}
    env = make_env(COUNTING, options | {"target": 2, "bit": "target", "bit_other_target": 6, "bit_variance": 0.1})
    again = env.spec.make()
    for each in (env, again):
        assert isinstance(each, Distractor)
        assert isinstance(each.env, TwoTargets)
        assert each.get_wrapper_attr("targets") == (2, 6)
        assert each.observation_space.shape == (80, 64, 3)
    first, second = env.reset(seed=5)[0], again.reset(seed=5)[0]
    assert np.array_equal(first, second)


def test_names_that_there_are_not_are_told_from_those_that_there_are():
    for options, message in [
        ({"distractor_variance": 0.1}, "distractor_variance is given, but no distractor"),
        ({"distractor": "nose"}, "one of noise, pattern, controllable, got 'nose'"),
        ({"distractor": "noise", "distractor_seize": 3}, "does not take distractor_seize; it takes distractor_variance, "),
        ({"bit": "goal"}, "bit must be one of reward, target, got 'goal'"),
        ({"bit": "target"}, "needs bit_other_target"),
        ({"bit": "reward", "bit_other_target": 3}, "ExogenousBit does not take bit_other_target; it takes bit_variance, "),
    ]:
        with pytest.raises(ValueError, match=message):
            make_env(COUNTING, options)


def test_an_environments_own_keyword_of_that_name_stays_its_own():
    class Bitten(CountingEnv):
        def __init__(self, bit=0, render_mode=None):
            super().__init__(target=bit)

    gymnasium.register("Bitten-v0", entry_point=Bitten)
    try:
        env = make_env("Bitten-v0", {"bit": 3})
        assert env.unwrapped.target == 3
        assert not env.has_wrapper_attr("bit")
    finally:
        del gymnasium.registry["Bitten-v0"]


def test_vector_environments_hold_them():
    def make():
        return make_env(COUNTING, {"distractor": "noise", "bit": "reward"})

    venv = DummyVecEnv([make, make])
    venv.seed(0)
    assert venv.reset().shape == (2, 80, 64, 3)
    _, _, _, infos = venv.step(np.array([0, 1]))
    assert [info["distractor"].shape for info in infos] == [(8,), (8,)]
    assert not np.array_equal(infos[0]["distractor"], infos[1]["distractor"])
    vector = gymnasium.vector.SyncVectorEnv([make, make])
    _, info = vector.reset(seed=0)
    assert info["distractor"].shape == (2, 8)
    assert set(info["bit"]) <= {0, 1}


@pytest.mark.parametrize(
    ("space", "way_out"),
    [
        (spaces.Dict(a=IMAGE), "FilterObservation"),
        (spaces.Discrete(4), "FlattenObservation"),
        (spaces.Box(0, 255, (3, 64, 64), np.uint8), "put the channels last"),
        (spaces.Box(0, 255, (64, 64), np.uint8), "TransformObservation"),
        (spaces.Box(-1, 1, (8, 8)), "FlattenObservation"),
    ],
)
def test_spaces_without_a_place_for_a_distractor_are_refused_with_a_way_out(space, way_out):
    with pytest.raises(ValueError, match=f"is shown beside images .*but the observation space is .*{way_out}"):
        Distractor(Still(space), kind="noise")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variance": -0.1}, r"variance must lie in \[0, 0.08333\]"),
        ({"variance": 0.09}, r"variance must lie in \[0, 0.08333\]"),
        ({"variance": float("nan")}, "variance must lie in"),
        ({"variance": 0.13, "kind": "pattern"}, r"variance must lie in \[0, 0.125\]"),
        ({"variance": 1e-6}, "variance must be 0 or at least 1.5e-05"),
        ({"predictability": 1.1}, r"predictability must lie in \[0, 1\], got 1.1"),
        ({"predictability": float("nan")}, "predictability must lie in"),
        ({"size": 0}, "size must be"),
        ({"size": 2.5}, "size must be"),
        ({"size": 65}, "65 components do not fit into the 64 columns"),
        ({"size": 2, "kind": "pattern"}, "at least 3 components"),
        ({"period": 2, "kind": "pattern"}, "period must be more than 2 steps"),
    ],
)
def test_knobs_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Distractor(Still(IMAGE), **{"kind": "noise"} | options)


@pytest.mark.parametrize(
    "space",
    [spaces.Discrete(1), spaces.Box(-np.inf, np.inf, (1,)), spaces.Tuple([spaces.Discrete(2)])],
)
def test_a_controllable_pattern_refuses_actions_that_have_no_direction(space):
    with pytest.raises(ValueError, match=r"a controllable pattern needs .*got action space"):
        Distractor(Still(FLOATS, space), kind="controllable")


def test_what_cannot_be_combined_is_refused():
    with pytest.raises(ValueError, match="has a distractor already"):
        Distractor(ExogenousBit(Distractor(Still(), kind="noise")), kind="pattern")
    with pytest.raises(ValueError, match="has a bit already"):
        ExogenousBit(ExogenousBit(Still()))
    with pytest.raises(TypeError, match=r"two targets need the counting environment.*ExogenousBit"):
        TwoTargets(Still(), other_target=3)
    with pytest.raises(ValueError, match=r"other_target must lie in 0\.\.8 and differ from target 4, got 4"):
        TwoTargets(CountingEnv(), other_target=4)
    with pytest.raises(ValueError, match="otherwise must be a finite"):
        ExogenousBit(Still(), otherwise=math.inf)
    with pytest.raises(TypeError, match=r"the bit of .* is a part of the state"):
        counting_table(make_env(COUNTING, {"bit": "target", "bit_other_target": 6}))
