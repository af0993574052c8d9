"""From settings to a planner."""

from __future__ import annotations

from jepa_rl.planners.action_value import ActionValuePlanner
from jepa_rl.planners.actions import ActionSpec, BoxActions, DiscreteActions, FiniteActions, MultiDiscreteActions
from jepa_rl.planners.cem import CEMPlanner
from jepa_rl.planners.config import PlannerConfig
from jepa_rl.planners.exhaustive import ExhaustivePlanner
from jepa_rl.planners.mppi import MPPIPlanner
from jepa_rl.planners.random_shooting import RandomShootingPlanner
from jepa_rl.planners.types import Planner


def make_planner(config: PlannerConfig, actions: ActionSpec, discount: float) -> Planner:
    """Build the planner that ``config`` asks for.

    Raises ValueError for a discount outside [0, 1] and where the kind cannot serve the actions, TypeError for a ``config``
    and ``actions`` of other types.
    """
    if not isinstance(config, PlannerConfig):
        raise TypeError(f"config must be a PlannerConfig, got {config!r}")
    if not isinstance(actions, DiscreteActions | MultiDiscreteActions | BoxActions):
        expected = "an ActionSpec (DiscreteActions, MultiDiscreteActions or BoxActions)"
        raise TypeError(f"actions must be {expected}, got {actions!r}")
    if not 0.0 <= discount <= 1.0:
        raise ValueError(f"discount must lie in [0, 1], got {discount}")
    if config.kind == "exhaustive":
        return _exhaustive(config, _require_enumerable(config, actions), discount)
    if config.kind == "value":
        return ActionValuePlanner(space=_require_finite(config, actions), temperature=config.temperature)
    if config.kind == "auto" and not isinstance(actions, BoxActions) and _leaves(config, actions) <= config.max_leaves:
        return _exhaustive(config, actions, discount)
    if config.kind == "random_shooting":
        return RandomShootingPlanner(
            space=actions,
            horizon=config.horizon,
            discount=discount,
            samples=config.samples,
            proposals=config.proposals,
            elites=config.elites,
            temperature=config.temperature,
        )
    planner = MPPIPlanner if config.kind == "mppi" else CEMPlanner
    return planner(
        space=actions,
        horizon=config.horizon,
        discount=discount,
        samples=config.samples,
        proposals=config.proposals,
        iterations=config.iterations,
        elites=config.elites,
        carried=max(1, round(config.elite_carry_fraction * config.elites)),
        temperature=config.temperature,
        momentum=config.momentum,
        warm_probability=config.warm_probability,
        initial_std=config.initial_std,
        min_std=config.min_std,
    )


def needs_action_values(planner: Planner) -> bool:
    """Whether it asks a model for Q of every action, and not only for values of states."""
    return isinstance(planner, ActionValuePlanner) or (isinstance(planner, ExhaustivePlanner) and planner.trace < 1)


def _exhaustive(config: PlannerConfig, actions: FiniteActions, discount: float) -> ExhaustivePlanner:
    return ExhaustivePlanner(
        space=actions,
        horizon=config.horizon,
        discount=discount,
        temperature=config.temperature,
        trace=config.trace,
    )


def _leaves(config: PlannerConfig, actions: FiniteActions) -> int:
    return int(actions.joint_count**config.horizon)


def _require_finite(config: PlannerConfig, actions: ActionSpec) -> FiniteActions:
    if isinstance(actions, BoxActions):
        raise ValueError(
            f"kind {config.kind!r} needs finitely many actions, got {actions}; "
            "use 'cem', 'mppi', 'random_shooting' or 'auto'"
        )
    return actions


def _require_enumerable(config: PlannerConfig, actions: ActionSpec) -> FiniteActions:
    actions = _require_finite(config, actions)
    leaves = _leaves(config, actions)
    if leaves > config.max_leaves:
        raise ValueError(
            f"kind 'exhaustive' with {actions.joint_count} actions and horizon {config.horizon} has {leaves} leaves, "
            f"more than max_leaves={config.max_leaves}; lower horizon, raise max_leaves, or use 'auto' or a sampling kind"
        )
    return actions
