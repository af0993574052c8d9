"""Settings, and the planner that they make."""

import dataclasses

import gymnasium as gym
import pytest
import tyro

from jepa_rl.planners import BoxActions, DiscreteActions, MultiDiscreteActions, PlannerConfig, make_planner
from jepa_rl.planners.action_value import ActionValuePlanner
from jepa_rl.planners.cem import CEMPlanner
from jepa_rl.planners.exhaustive import ExhaustivePlanner
from jepa_rl.planners.mppi import MPPIPlanner
from jepa_rl.planners.random_shooting import RandomShootingPlanner


@pytest.mark.parametrize("name", ["horizon", "max_leaves", "samples", "iterations", "elites"])
def test_counts_must_be_positive_whole_numbers(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        PlannerConfig(**{name: 0})
    with pytest.raises(ValueError, match=rf"{name} must be a whole number, got 2\.5"):
        PlannerConfig(**{name: 2.5})
    with pytest.raises(ValueError, match=f"{name} must be a whole number, got True"):
        PlannerConfig(**{name: True})


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(PlannerConfig) if field.type == "float"])
def test_what_is_no_number_is_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"planner\.{name} must be a number, got '0\.1'"):
        PlannerConfig(**{name: "0.1"})
    with pytest.raises(ValueError, match=rf"planner\.{name} must be a number, got True"):
        PlannerConfig(**{name: True})


@pytest.mark.parametrize("name", ["elite_carry_fraction", "momentum", "warm_probability", "trace"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_shares_must_lie_between_0_and_1(name, value):
    with pytest.raises(ValueError, match=rf"{name} must lie in \[0, 1\], got {value}"):
        PlannerConfig(**{name: value})


@pytest.mark.parametrize("name", ["temperature", "initial_std", "min_std"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_scales_must_be_positive_and_finite(name, value):
    with pytest.raises(ValueError, match=f"{name} must be positive and finite, got {value}"):
        PlannerConfig(**{name: value})


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match=r"planner\.elites must be at most planner\.samples=16, got 17"):
        PlannerConfig(samples=16, elites=17)
    with pytest.raises(ValueError, match=r"planner\.min_std must be at most planner\.initial_std=0\.3, got 0\.4"):
        PlannerConfig(initial_std=0.3, min_std=0.4)
    with pytest.raises(ValueError, match=r"kind 'value' imagines nothing: planner.horizon must be 1, got 4"):
        PlannerConfig(kind="value")
    with pytest.raises(ValueError, match=r"kind must be one of auto, exhaustive, .* got 'mcts'"):
        PlannerConfig(kind="mcts")


def test_the_settings_are_a_command_line_with_help(capsys):
    arguments = ["--kind", "mppi", "--horizon", "7", "--temperature", "0.25"]
    assert tyro.cli(PlannerConfig, args=arguments) == PlannerConfig(kind="mppi", horizon=7, temperature=0.25)
    with pytest.raises(SystemExit):
        tyro.cli(PlannerConfig, args=["--help"])
    text = capsys.readouterr().out
    for field in dataclasses.fields(PlannerConfig):
        assert f"--{field.name.replace('_', '-')}" in text
    assert "environment steps" in text  # the documentation of the fields reaches the reader


@pytest.mark.parametrize(
    ("kind", "planner"),
    [
        ("exhaustive", ExhaustivePlanner),
        ("cem", CEMPlanner),
        ("mppi", MPPIPlanner),
        ("random_shooting", RandomShootingPlanner),
        ("value", ActionValuePlanner),
    ],
)
def test_each_kind_makes_its_planner(kind, planner):
    assert type(make_planner(PlannerConfig(kind=kind, horizon=1), DiscreteActions(2), 0.9)) is planner


@pytest.mark.parametrize(
    ("actions", "horizon", "max_leaves", "planner"),
    [
        (DiscreteActions(2), 5, 32, ExhaustivePlanner),
        (DiscreteActions(2), 5, 31, CEMPlanner),
        (MultiDiscreteActions((2, 3)), 2, 36, ExhaustivePlanner),
        (MultiDiscreteActions((2, 3)), 2, 35, CEMPlanner),
        (BoxActions(1), 1, 1_000_000, CEMPlanner),
    ],
)
def test_auto_searches_exhaustively_up_to_max_leaves(actions, horizon, max_leaves, planner):
    config = PlannerConfig(horizon=horizon, max_leaves=max_leaves)
    assert type(make_planner(config, actions, 0.9)) is planner


def test_exhaustive_search_refuses_what_it_cannot_enumerate_with_the_numbers():
    config = PlannerConfig(kind="exhaustive", horizon=4, max_leaves=80)
    with pytest.raises(ValueError, match="3 actions and horizon 4 has 81 leaves, more than max_leaves=80; lower horizon"):
        make_planner(config, DiscreteActions(3), 0.9)
    with pytest.raises(ValueError, match=r"finitely many actions, got BoxActions\(size=2\); use 'cem'"):
        make_planner(config, BoxActions(2), 0.9)
    with pytest.raises(ValueError, match=r"kind 'value' needs finitely many actions, got BoxActions\(size=2\)"):
        make_planner(PlannerConfig(kind="value", horizon=1), BoxActions(2), 0.9)


def test_what_is_no_configuration_and_no_action_spec_is_refused_by_type():
    with pytest.raises(TypeError, match="config must be a PlannerConfig, got 'cem'"):
        make_planner("cem", DiscreteActions(3), 0.9)
    with pytest.raises(TypeError, match=r"actions must be an ActionSpec \(DiscreteActions, .*, got Discrete\(3\)"):
        make_planner(PlannerConfig(), gym.spaces.Discrete(3), 0.9)


@pytest.mark.parametrize("discount", [-0.1, 1.1, float("nan")])
def test_a_discount_outside_0_and_1_is_refused(discount):
    with pytest.raises(ValueError, match=rf"discount must lie in \[0, 1\], got {discount}"):
        make_planner(PlannerConfig(), DiscreteActions(2), discount)


def test_the_carried_elites_are_a_share_of_the_elites_and_at_least_the_best():
    def carried(fraction):
        return make_planner(PlannerConfig(kind="cem", elites=20, elite_carry_fraction=fraction), BoxActions(1), 0.9).carried

    assert [carried(0.0), carried(0.25), carried(1.0)] == [1, 5, 20]
