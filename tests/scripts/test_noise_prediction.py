"""The theory's moments and order, estimated from data whose moments are known."""

import functools
import itertools

import numpy as np
import pytest
from gymnasium import spaces

from jepa_rl.envs import make_env
from jepa_rl.envs.processes import ControllablePattern, Noise, Pattern
from jepa_rl.scripts.noise_study.prediction import (
    Mode,
    Transitions,
    as_observed,
    counting_factors,
    learning_order,
    learning_times,
    modes_of,
    random_transitions,
)
from jepa_rl.world_model.linear import Features, hitting_time
from jepa_rl.world_model.linear_flow import LinearProcess

# The two disagree: the first covaries more, the second is more influential. Deep enough, JEPA prefers the second.
COVARIANCE, INFLUENCE = np.array([1.0, 0.8]), np.array([0.4, 0.9])
DEPTH, SCALE = 3, 1e-2


def transitions(**factors):
    """From paths [N + 1, d], without an observation to speak of."""
    before, after = ({name: path[part] for name, path in factors.items()} for part in (np.s_[:-1], np.s_[1:]))
    number = len(next(iter(before.values())))
    return Transitions(before=before, after=after, observation=np.zeros((number, 1)))


def walk(process, steps, actions=None):
    rng = np.random.default_rng(0)
    actions = np.zeros(steps, int) if actions is None else actions
    return np.array([process.start(rng)] + [process.step(action, rng) for action in actions])


def noisy_autoregression(rotation):
    """Rows of 4,000 sequences of an AR(1) seen through noise, with the known moments along the columns of ``rotation``."""
    process = LinearProcess(kind="dynamic", covariance=COVARIANCE, influence=INFLUENCE, persistence=0.95)
    batches = itertools.islice(process.batches(1, 4_000, np.random.default_rng(0)), 15)
    x, y = (np.concatenate([part[0] for part in parts]) @ rotation.T for parts in zip(*batches, strict=True))
    return x, y


@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_moments_of_a_noisy_autoregression_are_found_along_any_axes(angle):
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    x, y = noisy_autoregression(rotation)
    modes = modes_of(Transitions(before={"pair": x}, after={"pair": y}, observation=x))
    assert [mode.covariance for mode in modes] == pytest.approx(COVARIANCE, rel=0.06)
    assert [mode.influence for mode in modes] == pytest.approx(INFLUENCE, rel=0.06)
    assert [mode.variance for mode in modes] == pytest.approx(COVARIANCE / INFLUENCE, rel=0.06)
    assert all(mode.is_predictable for mode in modes)


def test_jepa_learns_the_influential_factor_first_and_mae_the_covarying_one_at_the_theorys_times():
    x, y = noisy_autoregression(np.eye(2))
    given = Transitions(
        before={"covarying": x[:, :1], "influential": x[:, 1:]},
        after={"covarying": y[:, :1], "influential": y[:, 1:]},
        observation=x,
    )
    order = learning_order(modes_of(given), depth=DEPTH, scale=SCALE)
    assert list(order["jepa"]) == ["influential", "covarying"]
    assert list(order["mae"]) == ["covarying", "influential"]
    known = Features.of(covariance=COVARIANCE, influence=INFLUENCE, depth=DEPTH, scale=SCALE)
    for objective, times in order.items():
        expected = hitting_time(objective, known, 0.5)
        assert [times["covarying"], times["influential"]] == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("p", [0.36, 0.81])
def test_noise_has_the_correlation_that_its_predictability_is_the_square_of(p):
    modes = modes_of(transitions(noise=walk(Noise(3, p), 12_000)))
    assert [mode.influence for mode in modes] == pytest.approx([np.sqrt(p)] * 3, abs=0.05)
    assert [mode.variance for mode in modes] == pytest.approx([1.0] * 3, rel=0.15)


def test_fresh_noise_is_never_learned():
    modes = modes_of(transitions(noise=walk(Noise(3, 0.0), 4_000), slow=walk(Noise(1, 0.9), 4_000)))
    for order in learning_order(modes, depth=DEPTH, scale=1e-4).values():
        assert order["noise"] == np.inf
        assert np.isfinite(order["slow"])
        assert list(order) == ["slow", "noise"]


def test_a_drifting_wave_is_two_modes_as_predictable_as_the_wave_although_it_turns():
    modes = modes_of(transitions(wave=walk(Pattern(6, 0.49, 5), 12_000)))
    assert len(modes) == 2  # of six components
    assert [mode.variance for mode in modes] == pytest.approx([3.0, 3.0], rel=0.05)
    assert [mode.influence for mode in modes] == pytest.approx([0.7, 0.7], abs=0.03)


def test_a_controllable_wave_loses_what_only_the_action_would_tell():
    actions = np.random.default_rng(1).integers(2, size=12_000)
    modes = modes_of(transitions(wave=walk(ControllablePattern(6, 1.0, 8, spaces.Discrete(2)), 12_000, actions)))
    assert [mode.influence for mode in modes] == pytest.approx([np.cos(np.pi / 4)] * 2, abs=0.03)


def test_a_mode_that_would_end_where_it_starts_is_never_learned():
    mode = Mode(factor="faint", variance=10.0, covariance=1.0, error=0.01, influence=0.1)
    at = functools.partial(learning_times, modes=[mode], depth=2)
    assert at("jepa", scale=0.004).item() < np.inf  # half of 0.1^2 is 0.005
    assert at("jepa", scale=0.006).item() == np.inf
    assert at("mae", scale=0.006).item() < np.inf
    assert at("jepa", scale=0.006, fraction=0.9).item() < np.inf


def test_rollouts_keep_rows_within_episodes_and_read_every_factor():
    options = {"distractor": "noise", "bit": "target", "bit_other_target": 6, "bit_predictability": 0.5, "target": 2}
    factory = functools.partial(make_env, "jepa_rl/Counting-v0", options)
    found = random_transitions(factory, counting_factors, 400, seed=0)
    widths = {name: value.shape[1] for name, value in found.before.items()}
    assert widths == {"count": 9, "position": 2, "color": 3, "shape": 4, "distractor": 8, "bit": 1}
    assert found.observation.shape == (400, 80, 64, 3)
    count, following = (part["count"].argmax(1) for part in (found.before, found.after))
    assert set(np.unique(following - count)) == {-1, 0, 1}
    assert np.array_equal(found.before["color"], found.after["color"])  # drawn per episode
    new_episode = (found.before["color"][1:] != found.after["color"][:-1]).any(1)
    assert 30 < new_episode.sum() < 200
    assert np.array_equal(found.before["distractor"][1:][~new_episode], found.after["distractor"][:-1][~new_episode])
    again = random_transitions(factory, counting_factors, 400, seed=0)
    assert np.array_equal(found.observation, again.observation)


def test_in_units_of_the_observation_a_field_of_the_band_counts_with_all_of_its_pixels():
    options = {"distractor": "noise", "distractor_predictability": 0.64, "distractor_variance": 0.03, "episode_length": 20}
    factory = functools.partial(make_env, "jepa_rl/Counting-v0", options)
    given = random_transitions(factory, counting_factors, 1_000, seed=0)
    modes = [mode for mode in modes_of(as_observed(given)) if mode.factor == "distractor"]
    pixels = 8 * 8 * 3  # of one field
    assert len(modes) == 8
    assert np.mean([mode.variance for mode in modes]) == pytest.approx(0.03 * pixels, rel=0.1)
    assert np.mean([mode.influence for mode in modes]) == pytest.approx(0.8, abs=0.05)


def test_what_is_no_factor_is_refused():
    rows = np.zeros((4, 1))
    with pytest.raises(ValueError, match=r"factor 'a' must be \[N, d\]"):
        Transitions(before={"a": rows}, after={"a": np.zeros((4, 2))}, observation=rows)
    with pytest.raises(ValueError, match="factor 'a' must have 3 rows, got 4"):
        Transitions(before={"a": rows}, after={"a": rows}, observation=rows[:3])
    with pytest.raises(ValueError, match="factor 'a' is not finite"):
        Transitions(before={"a": rows}, after={"a": rows * np.nan}, observation=rows)
    with pytest.raises(TypeError, match="counting_factors read a CountingEnv"):
        random_transitions(functools.partial(make_env, "CartPole-v1"), counting_factors, 2, seed=0)
    with pytest.raises(ValueError, match="number must be at least 2"):
        random_transitions(functools.partial(make_env, "CartPole-v1"), counting_factors, 1, seed=0)
